"""Sessions of one series: which instants, minutes and trading dates it has.

The rules, all of them half-open and in microseconds since the epoch, UTC:

* a time ``t`` is in a session when ``open_us <= t < close_us``, exactly;
* an *in-session minute* is a minute bucket that contains at least one such instant, so a
  session that opens or closes inside a minute has its partial minutes too;
* rows are never merged: FX days that touch stay two sessions;
* two sessions of a series neither overlap nor share a minute, and a later session never
  belongs to an earlier trading date;
* a session may have a *close tolerance*, for prints of a closing auction that come seconds after
  the close: a tick with ``close_us <= t < close_us + tolerance`` is *placed* at the last instant
  of the session, and so in its last minute.  Nothing opens before the tolerance has passed.

::

    open                        close   close + tolerance
    |====|====|====|====|====|===|..x..|          off session
                             ^ x is placed here: its minute ends with the tolerance
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from barstream.model.time import (
    DAY_US,
    MINUTE_US,
    SECOND_US,
    ceil_minute,
    floor_minute,
    iso_date_from_days,
    iso_micros_from_us,
)

OFF_SESSION = -1
"""What ``locate`` says of a time in no session."""

LONGEST_TOLERANCE_US: Final = 60 * MINUTE_US
"""A close tolerance is for prints of an auction: of more, the session closes later."""


class Session(NamedTuple):
    """One session of a series, as bars are judged by it; ``trading_date`` in days since 1970."""

    open_us: int
    close_us: int
    trading_date: int
    number: int
    close_tolerance_us: int = 0


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One row of the market schedule; broker and symbol are already normalised."""

    broker: str
    symbol: str
    trading_date: int
    session: int
    open_us: int
    close_us: int
    close_tolerance_us: int = 0

    def __str__(self) -> str:
        tolerance = self.close_tolerance_us
        return (
            f"trading_date={iso_date_from_days(self.trading_date)} session={self.session} "
            f"open={iso_micros_from_us(self.open_us)} close={iso_micros_from_us(self.close_us)}"
            + (f" close_tolerance={tolerance / SECOND_US:g}s" if tolerance else "")
        )


@dataclass(frozen=True, slots=True)
class Conflict:
    """Rows of one series that cannot stand together, and why."""

    reason: str
    rows: tuple[SessionRow, ...]

    @property
    def broker(self) -> str:
        return self.rows[0].broker

    @property
    def symbol(self) -> str:
        return self.rows[0].symbol

    def __str__(self) -> str:
        shown = " and ".join(f"[{row}]" for row in self.rows)
        return f"{self.broker} {self.symbol}: {self.reason}: {shown}"


class SeriesSchedule(Protocol):
    """What the engine asks of the schedule of one series."""

    @property
    def has_tolerance(self) -> bool:
        """Whether any session has a close tolerance."""
        ...

    def locate(self, ts_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Session id of each tick's time, ``OFF_SESSION`` where there is none; same shape.

        A time within the close tolerance belongs to the session before it.  Ids belong to this
        object alone: another version of the schedule has others.
        """
        ...

    def placed(self, ts_us: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where ticks are placed: at their time, those after the close at its last instant.

        Args:
            ts_us: event times, shape (n,).
            ids: what ``locate`` says of them; times off session stay as they are.
        """
        ...

    def minute_end(self, minute_us: int) -> int:
        """The ticks of this minute, and of those before it, have event times before this.

        The end of the minute; of one in which a session closes, or a minute after it, that of
        the close tolerance where that is later.
        """
        ...

    def ended_until(self, ts_us: int) -> int:
        """The first minute that has not ended at ``ts_us``, see ``minute_end``."""
        ...

    def session(self, session_id: int) -> Session:
        """The session of an id that ``locate`` gave."""
        ...

    def sessions_between(self, start_us: int, end_us: int) -> Iterator[Session]:
        """Sessions with an in-session minute ``start_us <= m < end_us``, ascending, lazily."""
        ...

    def asleep_from(self, last_trading_date: int, inactive_after: int) -> int | None:
        """When a series last seen on ``last_trading_date`` falls asleep, in microseconds.

        The first open after ``inactive_after`` whole trading dates without a tick; None
        while the schedule does not reach that far.
        """
        ...

    def start_of_dates(self, first_date: int, end_date: int) -> int | None:
        """When the first session with ``first_date <= trading_date < end_date`` opens.

        Microseconds; None when there is no such session.
        """
        ...

    def end_of_dates(self, first_date: int, end_date: int) -> int | None:
        """When the last session with ``first_date <= trading_date < end_date`` closes.

        Microseconds; None when there is no such session.
        """
        ...

    def reaches(self, trading_date: int) -> bool:
        """Whether there is a session of this trading date or of a later one."""
        ...


def session_minutes(session: Session) -> range:
    """Starts of the in-session minutes of ``session``, ascending."""
    return range(floor_minute(session.open_us), ceil_minute(session.close_us), MINUTE_US)


def minutes_between(
    schedule: SeriesSchedule, start_us: int, until_us: int
) -> Iterator[tuple[Session, range]]:
    """The in-session minutes in [start_us, until_us), session by session."""
    for session in schedule.sessions_between(start_us, until_us):
        minutes = session_minutes(session)
        yield session, range(max(minutes.start, start_us), min(minutes.stop, until_us), MINUTE_US)


def find_conflicts(rows: Sequence[SessionRow]) -> list[Conflict]:
    """Everything that forbids using ``rows``, which are of one series, in any order."""
    conflicts = [
        Conflict("close must be after open", (row,)) for row in rows if row.close_us <= row.open_us
    ]
    seen: dict[tuple[int, int], SessionRow] = {}
    for row in rows:
        first = seen.setdefault((row.trading_date, row.session), row)
        if first is not row:
            conflicts.append(Conflict("trading date and session number are twice", (first, row)))
    if conflicts:
        return conflicts
    # Sorted by open, any overlap at all shows in some neighbouring pair.
    ordered = sorted(rows, key=lambda row: row.open_us)
    for before, after in pairwise(ordered):
        if after.open_us < before.close_us:
            conflicts.append(Conflict("two sessions overlap", (before, after)))
        elif floor_minute(after.open_us) < ceil_minute(before.close_us):
            conflicts.append(Conflict("two sessions share a minute", (before, after)))
        elif after.trading_date < before.trading_date:
            conflicts.append(
                Conflict("a later session has an earlier trading date", (before, after))
            )
        elif after.open_us < before.close_us + before.close_tolerance_us:
            conflicts.append(
                Conflict("a session opens within the close tolerance before it", (before, after))
            )
    return conflicts


class RowsSchedule:
    """The schedule of a series that has rows; ids are positions in order of opening.

    Plain int64 columns, 40 bytes a session (48 with a close tolerance), so that it can be shared
    by every series that keeps the same hours: broker and symbol are not part of it.

    Raises:
        ValueError: the rows conflict (``find_conflicts``), or there are none.
    """

    __slots__ = (
        "_closes",
        "_closes_np",
        "_dates",
        "_ends",
        "_ends_np",
        "_first_opens",
        "_numbers",
        "_opens",
        "_opens_np",
        "_trading_dates",
        "fingerprint",
    )

    def __init__(self, rows: Sequence[SessionRow]) -> None:
        if not rows:
            raise ValueError("a series without rows has no schedule; found an empty list")
        if conflicts := find_conflicts(rows):
            raise ValueError("; ".join(str(conflict) for conflict in conflicts))
        ordered = sorted(rows, key=lambda row: row.open_us)
        self._opens = array("q", [row.open_us for row in ordered])
        self._closes = array("q", [row.close_us for row in ordered])
        # from when on no tick is of a session any more
        self._ends = self._closes
        if any(row.close_tolerance_us for row in ordered):
            self._ends = array("q", [row.close_us + row.close_tolerance_us for row in ordered])
        self._dates = array("q", [row.trading_date for row in ordered])
        self._numbers = array("q", [row.session for row in ordered])
        self._trading_dates = array("q", sorted(set(self._dates)))
        self._first_opens = array(
            "q", [self._opens[bisect_left(self._dates, d)] for d in self._trading_dates]
        )
        self._opens_np = np.frombuffer(self._opens, dtype=np.int64)
        self._closes_np = np.frombuffer(self._closes, dtype=np.int64)
        self._ends_np = np.frombuffer(self._ends, dtype=np.int64)
        digest = blake2b(digest_size=16)
        for column in (self._opens, self._closes, self._dates, self._numbers, self._ends):
            digest.update(column)
        self.fingerprint = digest.digest()

    def __len__(self) -> int:
        return len(self._opens)

    @property
    def has_tolerance(self) -> bool:
        return self._ends is not self._closes

    def locate(self, ts_us: NDArray[np.int64]) -> NDArray[np.int64]:
        ids = np.searchsorted(self._opens_np, ts_us, side="right").astype(np.int64) - 1
        # Before the first open the id is -1 and its end the last one: masked here too.
        ids[(ids >= 0) & (ts_us >= self._ends_np[ids])] = OFF_SESSION
        return ids

    def placed(self, ts_us: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self.has_tolerance:
            return ts_us
        last_us = np.minimum(ts_us, self._closes_np[ids] - 1)
        return np.where(ids == OFF_SESSION, ts_us, last_us)

    def minute_end(self, minute_us: int) -> int:
        end_us = minute_us + MINUTE_US
        if not self.has_tolerance:
            return end_us
        # an earlier session ended before this one opened
        session_id = bisect_right(self._closes, end_us) - 1
        return end_us if session_id < 0 else max(end_us, self._ends[session_id])

    def ended_until(self, ts_us: int) -> int:
        until_us = floor_minute(ts_us)
        if not self.has_tolerance or self.minute_end(until_us - MINUTE_US) <= ts_us:
            return until_us
        # the last minute of the session whose tolerance lasts, and all that follow it
        session_id = bisect_right(self._closes, until_us) - 1
        return floor_minute(self._closes[session_id] - 1)

    def session(self, session_id: int) -> Session:
        if session_id < 0:
            raise IndexError(f"a session id is 0 or more, found {session_id}: off session")
        return Session(
            self._opens[session_id],
            self._closes[session_id],
            self._dates[session_id],
            self._numbers[session_id],
            self._ends[session_id] - self._closes[session_id],
        )

    def sessions_between(self, start_us: int, end_us: int) -> Iterator[Session]:
        first_us, until_us = ceil_minute(start_us), ceil_minute(end_us)
        if first_us >= until_us:
            return
        # Aligned bounds make "has a minute in [first, until)" a comparison of exact times.
        for session_id in range(bisect_right(self._closes, first_us), len(self._opens)):
            if self._opens[session_id] >= until_us:
                return
            yield self.session(session_id)

    def asleep_from(self, last_trading_date: int, inactive_after: int) -> int | None:
        ordinal = bisect_right(self._trading_dates, last_trading_date) + inactive_after
        return self._first_opens[ordinal] if ordinal < len(self._first_opens) else None

    def start_of_dates(self, first_date: int, end_date: int) -> int | None:
        first = bisect_left(self._dates, first_date)
        inside = first < len(self._dates) and self._dates[first] < end_date
        return self._opens[first] if inside else None

    def end_of_dates(self, first_date: int, end_date: int) -> int | None:
        # dates ascend with the opens: two sessions in another order are refused
        last = bisect_left(self._dates, end_date) - 1
        return self._closes[last] if last >= 0 and self._dates[last] >= first_date else None

    def reaches(self, trading_date: int) -> bool:
        return self._dates[-1] >= trading_date


class UtcCalendar:
    """Always open: each UTC day is one session, number 0, its id the day since 1970.

    Times before 1970 are off session.
    """

    __slots__ = ()

    has_tolerance: Final = False

    def locate(self, ts_us: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.maximum(ts_us // DAY_US, OFF_SESSION)

    def placed(self, ts_us: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:  # noqa: ARG002 - no session has a tolerance
        return ts_us

    def minute_end(self, minute_us: int) -> int:
        return minute_us + MINUTE_US

    def ended_until(self, ts_us: int) -> int:
        return floor_minute(ts_us)

    def session(self, session_id: int) -> Session:
        if session_id < 0:
            raise IndexError(f"a session id is 0 or more, found {session_id}: off session")
        open_us = session_id * DAY_US
        return Session(open_us, open_us + DAY_US, session_id, 0)

    def sessions_between(self, start_us: int, end_us: int) -> Iterator[Session]:
        first_us, until_us = max(ceil_minute(start_us), 0), ceil_minute(end_us)
        if first_us < until_us:
            for day in range(first_us // DAY_US, -(-until_us // DAY_US)):
                yield self.session(day)

    def asleep_from(self, last_trading_date: int, inactive_after: int) -> int | None:
        return (max(last_trading_date, -1) + inactive_after + 1) * DAY_US

    def start_of_dates(self, first_date: int, end_date: int) -> int | None:
        return max(first_date, 0) * DAY_US if first_date < end_date else None

    def end_of_dates(self, first_date: int, end_date: int) -> int | None:
        return end_date * DAY_US if first_date < end_date else None

    def reaches(self, trading_date: int) -> bool:  # noqa: ARG002 - it never ends
        return True
