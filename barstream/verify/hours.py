"""The sessions of series as arrays: which rows stand, and which instants and minutes they hold.

Made of the rows as the topic has them.  Which of them contradict each other is decided here once
more, by columns: the core (`barstream.market.session`) looks at neighbouring pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.model.time import DAY_US, MINUTE_US
from barstream.verify.series_number import Name

if TYPE_CHECKING:
    from barstream.market.schedule import SessionRow

Longs = NDArray[np.int64]
_EVER = 1 << 60
#: What the schema of schedule rows allows at most.
LONGEST_TOLERANCE_US: Final = 60 * MINUTE_US
#: So many series are looked at together.
_AT_ONCE: Final = 100
_ROW: Final = {
    "series": pl.Int64, "open_us": pl.Int64, "close_us": pl.Int64, "trading_date": pl.Int64,
    "session": pl.Int64, "end_us": pl.Int64,
}  # fmt: skip


class Minutes(NamedTuple):
    """In-session minutes, ascending, all of shape (n,); ``ordinal`` counts trading dates."""

    start_us: Longs
    trading_date: Longs
    session: Longs
    ordinal: Longs
    open_us: Longs


class Hours:
    """Sessions by rows; they neither overlap nor share a minute.

    Args:
        open_us: shape (n,), ascending.
        close_us: exclusive.
        trading_date: days since 1970-01-01, ascending.
        session: numbers.
        end_us: the close, and the close tolerance after it; None: no session has one.
    """

    def __init__(
        self,
        open_us: Longs,
        close_us: Longs,
        trading_date: Longs,
        session: Longs,
        end_us: Longs | None = None,
    ) -> None:
        self.open_us = open_us
        self.close_us = close_us
        self.end_us = close_us if end_us is None else end_us
        self.trading_date = trading_date
        self.session = session
        self.dates, self._ordinal = np.unique(trading_date, return_inverse=True)

    def at(self, time_us: Longs) -> Longs:
        """The row of the session that takes a tick, -1 where there is none; same shape.

        That is the one with ``open <= t < close``, or whose close tolerance reaches past ``t``.
        """
        row = np.searchsorted(self.open_us, time_us, side="right") - 1
        outside = (row < 0) | (time_us >= self.end_us[np.maximum(row, 0)])
        return np.where(outside, -1, row).astype(np.int64)

    @property
    def is_tolerant(self) -> bool:
        """Whether a session takes ticks after its close."""
        return bool((self.end_us > self.close_us).any())

    def minutes_over_us(self, minute_us: Longs) -> Longs:
        """When each minute is over: no tick for it, or for one before it, is of a later time.

        The last minute of a session is so when the tolerance is over, and so is what follows it.
        """
        over_us = minute_us + MINUTE_US
        # of the sessions that have closed by then the last one decides
        row = np.searchsorted(self.close_us, over_us, side="right") - 1
        tolerated = np.where(row < 0, over_us, self.end_us[np.maximum(row, 0)])
        return np.maximum(over_us, tolerated)

    def is_like(self, other: Hours, from_us: int, until_us: int) -> bool:
        """Whether both have the same sessions in [from, until), by time and by trading date."""
        mine, theirs = self._near(from_us, until_us), other._near(from_us, until_us)
        return all(map(np.array_equal, mine, theirs))

    def _near(self, from_us: int, until_us: int) -> list[Longs]:
        near = (self.open_us < until_us) & (self.close_us > from_us)
        first, last = from_us // DAY_US, until_us // DAY_US
        near |= (self.trading_date >= first) & (self.trading_date <= last)
        columns = self.open_us, self.close_us, self.trading_date, self.session, self.end_us
        return [column[near] for column in columns]

    def at_minutes(self, start_us: Longs) -> Longs:
        """The first row with an instant of the minute at each start, -1 where there is none."""
        row = np.searchsorted(self.close_us, start_us, side="right")
        last = len(self.open_us) - 1
        outside = (row > last) | (self.open_us[np.minimum(row, last)] >= start_us + MINUTE_US)
        return np.where(outside, -1, row).astype(np.int64)

    def of_row(self, row: int) -> tuple[int, int]:
        """Trading date and session of a row."""
        return int(self.trading_date[row]), int(self.session[row])

    def bounds(self, row: int) -> tuple[int, int, int]:
        """Open and close of a row, and the close with its tolerance."""
        return int(self.open_us[row]), int(self.close_us[row]), int(self.end_us[row])

    def ordinals(self, trading_date: Longs) -> Longs:
        """Ordinal of the last trading date at or before each; -1 before the first."""
        return np.searchsorted(self.dates, trading_date, side="right").astype(np.int64) - 1

    def minutes(self, from_us: int, until_us: int) -> Minutes:
        """In-session minutes with ``from <= start < until``, partial ones included."""
        first = int(np.searchsorted(self.close_us, from_us, side="right"))
        last = int(np.searchsorted(self.open_us, until_us, side="left"))
        return _minutes(
            self.open_us[first:last], self.close_us[first:last], self.trading_date[first:last],
            self.session[first:last], self._ordinal[first:last], from_us, until_us,
        )  # fmt: skip

    def close_of(self, first_date: int, end_date: int) -> int | None:
        """When the last session with ``first <= trading_date < end`` closes; None: none."""
        last = int(np.searchsorted(self.trading_date, end_date, side="left")) - 1
        if last < 0 or self.trading_date[last] < first_date:
            return None
        return int(self.close_us[last])

    def open_of(self, first_date: int, end_date: int) -> int | None:
        """When the first session with ``first <= trading_date < end`` opens; None: none."""
        first = int(np.searchsorted(self.trading_date, first_date, side="left"))
        if first == len(self.trading_date) or self.trading_date[first] >= end_date:
            return None
        return int(self.open_us[first])

    @property
    def last_date(self) -> int:
        """The last trading date there is."""
        return int(self.trading_date[-1]) if len(self.trading_date) else -1


class AlwaysOpen(Hours):
    """The UTC calendar: each day since 1970 is one session, number 0; rows are days."""

    def __init__(self) -> None:
        none = np.empty(0, np.int64)
        super().__init__(none, none, none, none)

    def at(self, time_us: Longs) -> Longs:
        return np.maximum(time_us // DAY_US, -1)

    def at_minutes(self, start_us: Longs) -> Longs:
        return self.at(start_us)

    def of_row(self, row: int) -> tuple[int, int]:
        return row, 0

    def bounds(self, row: int) -> tuple[int, int, int]:
        return row * DAY_US, (row + 1) * DAY_US, (row + 1) * DAY_US

    def minutes_over_us(self, minute_us: Longs) -> Longs:
        return minute_us + MINUTE_US

    def ordinals(self, trading_date: Longs) -> Longs:
        return np.maximum(trading_date, -1)

    def minutes(self, from_us: int, until_us: int) -> Minutes:
        day = np.arange(max(0, from_us // DAY_US), max(0, -(-until_us // DAY_US)), dtype=np.int64)
        opens = day * DAY_US
        return _minutes(opens, opens + DAY_US, day, np.zeros_like(day), day, from_us, until_us)

    def close_of(self, first_date: int, end_date: int) -> int | None:
        return end_date * DAY_US if first_date < end_date else None

    def open_of(self, first_date: int, end_date: int) -> int | None:
        return max(first_date, 0) * DAY_US if first_date < end_date else None

    @property
    def last_date(self) -> int:
        return _EVER


class HoursIndex:
    """The hours of all series by their rows, immutable; series with the same hours share them.

    A series whose rows contradict each other keeps the hours it had.

    Args:
        hours: by series.
        shared: hours by what they are made of.
        changed: the series whose hours differ from those of the index this was made from.
        problems: the series whose rows contradict each other.
    """

    def __init__(
        self,
        hours: Mapping[Name, Hours] | None = None,
        shared: Mapping[bytes, Hours] | None = None,
        changed: frozenset[Name] = frozenset(),
        problems: frozenset[Name] = frozenset(),
    ) -> None:
        self._hours = dict(hours or {})
        self._shared = dict(shared or {})
        self.changed = changed
        self.problems = problems

    def of_series(self, name: Name) -> Hours | None:
        """The hours of a series by its normalised names; None: it has no rows."""
        return self._hours.get(name)

    def updated(self, rows_of: Mapping[Name, Sequence[SessionRow]]) -> HoursIndex:
        """A new index in which each series of ``rows_of`` has exactly those rows."""
        names, hours, shared = list(rows_of), dict(self._hours), dict(self._shared)
        problems = set(self.problems.difference(names))
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            rows = _in_order([rows_of[name] for name in some])
            wrong = rows.filter(_contradicts_others())["series"].unique().to_list()
            problems.update(some[number] for number in wrong)
            columns = [rows[column].to_numpy() for column in list(_ROW)[1:]]
            end = 0
            for name in some:
                begin, end = end, end + len(rows_of[name])
                if begin == end:
                    hours.pop(name, None)
                elif name not in problems:
                    # copies: a part would hold the columns of all
                    mine = [column[begin:end].copy() for column in columns]
                    digest = blake2b(b"".join(column.tobytes() for column in mine)).digest()
                    hours[name] = shared.setdefault(digest, Hours(*mine))
        changed = (name for name in names if hours.get(name) is not self._hours.get(name))
        return HoursIndex(hours, shared, frozenset(changed), frozenset(problems))


class AlwaysOpenHours(HoursIndex):
    """Of a pipeline without schedule: every series keeps the UTC calendar."""

    def __init__(self) -> None:
        super().__init__()
        self._always = AlwaysOpen()

    def of_series(self, name: Name) -> Hours:  # noqa: ARG002 - all alike
        return self._always


def _in_order(rows_of: Collection[Sequence[SessionRow]]) -> pl.DataFrame:
    """Columns `_ROW`, ascending by number of the series and opening."""
    counts = [len(some) for some in rows_of]

    def column(name: str) -> Longs:
        every = chain.from_iterable(rows_of)
        return np.fromiter(map(attrgetter(name), every), np.int64, sum(counts))

    closes_us = column("close_us")
    columns = {
        "series": np.repeat(np.arange(len(counts)), counts),
        "open_us": column("open_us"),
        "close_us": closes_us,
        "trading_date": column("trading_date"),
        "session": column("session"),
        "end_us": closes_us + column("close_tolerance_us"),
    }
    return pl.DataFrame(columns, schema=_ROW).sort("series", "open_us")


def _contradicts_others() -> pl.Expr:
    """Whether a row ends before it begins, or reaches into what those before it have claimed.

    A session claims its whole minutes and its close tolerance, and the trading dates before its
    own; and no two have one date and number.
    """

    def claimed(what: pl.Expr) -> pl.Expr:
        return what.cum_max().shift(1).over("series")

    opens, closes, date = pl.col("open_us"), pl.col("close_us"), pl.col("trading_date")
    minutes_end = (closes + (MINUTE_US - 1)) // MINUTE_US
    return (
        (closes <= opens)
        | pl.struct("series", "trading_date", "session").is_duplicated()
        | (opens // MINUTE_US < claimed(minutes_end)).fill_null(value=False)
        | (opens < claimed(pl.col("end_us"))).fill_null(value=False)
        | (date < claimed(date)).fill_null(value=False)
    )


def _minutes(
    opens: Longs,
    closes: Longs,
    dates: Longs,
    numbers: Longs,
    ordinals: Longs,
    from_us: int,
    until_us: int,
) -> Minutes:
    low = np.maximum(opens // MINUTE_US, -(-from_us // MINUTE_US))
    high = np.minimum(-(-closes // MINUTE_US), -(-until_us // MINUTE_US))
    counts = np.maximum(high - low, 0)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    place = np.arange(total, dtype=np.int64) - np.repeat(ends - counts, counts)
    return Minutes(
        (np.repeat(low, counts) + place) * MINUTE_US,
        np.repeat(dates, counts),
        np.repeat(numbers, counts),
        np.repeat(ordinals, counts).astype(np.int64),
        np.repeat(opens, counts),
    )
