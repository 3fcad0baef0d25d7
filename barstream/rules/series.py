"""What a partition remembers of its series.

What every tick is judged by stands in columns, one slot per series, so that a batch is judged
without touching Python objects; what changes once per bar stands in `SeriesState`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from barstream.market.schedule import ScheduleIndex, SeriesSchedule, Session
from barstream.model.bar import PartialBar
from barstream.model.key import series_key
from barstream.model.time import floor_minute

#: "Never": earlier than any time a tick can have, and safe to subtract a grace from.
NEVER_US: Final = -(1 << 60)
#: "No end": later than any time a tick can have.
FOREVER_US: Final = 1 << 60
#: A series is live when one of its last so many accepted ticks was timely.
LIVENESS_TICKS: Final = 16


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide what a bar is."""

    grace_us: int = 5_000_000
    inactive_after: int = 5
    feed_delay_us: Mapping[str, int] = field(default_factory=dict)
    late_policy: Literal["reject", "revise"] = "reject"

    def timely_within_us(self, broker: str) -> int:
        """How long after its event time a tick of a live feed may be appended to Kafka."""
        return self.feed_delay_us.get(broker, 0) + self.grace_us


@dataclass(slots=True)
class SeriesState:
    """One series in the partition where its ticks are seen."""

    broker: str
    symbol: str
    slot: int
    open_bars: dict[int, PartialBar] = field(default_factory=dict)
    previous_close: float | None = None
    #: Trading date of the last final with ticks; None before the first.
    filled_date: int | None = None
    first_tick_us: int = NEVER_US
    #: Trading date of the accepted tick with the latest event time; None before the first.
    last_trading_date: int | None = None
    schedule: SeriesSchedule | None = None
    #: The session looked up last for one of its bars.
    session: Session | None = None
    #: From here on it is asleep, unless a tick comes; follows from date and schedule.
    asleep_us: int = FOREVER_US
    #: Likewise of ``filled_date``: after that final nothing is filled from here on.
    filled_until_us: int = FOREVER_US

    @property
    def key(self) -> bytes:
        """``broker NUL symbol``."""
        return series_key(self.broker, self.symbol)


class PartitionState:
    """All series of one tick partition.

    Columns, each of shape (capacity,), valid up to ``len(self)``:

    - ``closed_until_us``: every minute before it is closed (final, or passed without a bar);
    - ``watermark_us``: latest event time of an accepted tick, as it is placed in its session;
    - ``since_timely``: accepted ticks since the last timely one, `LIVENESS_TICKS` at most;
    - ``session_open_us``, ``session_end_us``: the session looked at last, its end with tolerance;
    - ``session_last_us``: the last instant before its close;
    - ``timely_within_us``: see `Rules.timely_within_us`.

    Attributes:
        tolerant: slots of series with a close tolerance in any session.
        unpriced_minutes: in-session minutes that were closed without a bar, because no price
            came before them; counted up.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.series: list[SeriesState] = []
        self._slot_of: dict[tuple[str, str], int] = {}
        self._index: ScheduleIndex | None = None
        self.tolerant: set[int] = set()
        self.unpriced_minutes = 0
        self.closed_until_us = np.empty(0, np.int64)
        self.watermark_us = np.empty(0, np.int64)
        self.since_timely = np.empty(0, np.int64)
        self.session_open_us = np.empty(0, np.int64)
        self.session_end_us = np.empty(0, np.int64)
        self.session_last_us = np.empty(0, np.int64)
        self.timely_within_us = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[SeriesState]:
        return iter(self.series)

    def get(self, broker: str, symbol: str) -> SeriesState | None:
        """The series, or None when no tick of it was seen here."""
        slot = self._slot_of.get((broker, symbol))
        return None if slot is None else self.series[slot]

    def slot(self, broker: str, symbol: str) -> int:
        """The slot of a series, made when it is new."""
        slot = self._slot_of.get((broker, symbol))
        return self.add(broker, symbol).slot if slot is None else slot

    def add(self, broker: str, symbol: str) -> SeriesState:
        """A new series with nothing closed and nothing seen."""
        slot = len(self.series)
        if slot == len(self.closed_until_us):
            self._grow(max(64, 2 * slot))
        self.closed_until_us[slot] = self.watermark_us[slot] = NEVER_US
        self.since_timely[slot] = LIVENESS_TICKS
        self.timely_within_us[slot] = self.rules.timely_within_us(broker)
        state = SeriesState(broker, symbol, slot)
        self.series.append(state)
        self._slot_of[broker, symbol] = slot
        self.rejoin_schedule(state)
        return state

    def _grow(self, capacity: int) -> None:
        for name in (
            "closed_until_us", "watermark_us", "since_timely", "session_open_us",
            "session_end_us", "session_last_us", "timely_within_us",
        ):  # fmt: skip
            old: NDArray[np.int64] = getattr(self, name)
            new = np.zeros(capacity, np.int64)
            new[: len(old)] = old
            setattr(self, name, new)

    def is_live(self, state: SeriesState) -> bool:
        """Whether one of the last 16 accepted ticks was timely (and not a file of old ticks)."""
        return bool(self.since_timely[state.slot] < LIVENESS_TICKS)

    def uses(self, index: ScheduleIndex) -> bool:
        """Whether ``index`` is what is judged by."""
        return index is self._index

    def use_schedule(self, index: ScheduleIndex) -> None:
        """Judge by ``index`` from here on; bars that are final or begun keep what they have."""
        if self.uses(index):
            return
        self._index = index
        # By identity and not by `index.changed`: several indexes may have come since the last
        # use, and a series whose hours are the same keeps its object through all of them.
        for state in self.series:
            if index.for_series(state.broker, state.symbol) is not state.schedule:
                self.rejoin_schedule(state)

    def use_rules(self, rules: Rules) -> None:
        """Go on by other rules, as a worker does that is started with them."""
        self.rules = rules
        for state in self.series:
            self.timely_within_us[state.slot] = rules.timely_within_us(state.broker)
            self.rejoin_schedule(state)

    def rejoin_schedule(self, state: SeriesState) -> None:
        """Look the series up in the schedule again."""
        index = self._index  # an index may be empty and yet open always, so no truth test
        found = None if index is None else index.for_series(state.broker, state.symbol)
        state.schedule, state.session = found, None
        # an empty window: the next tick looks its session up
        self.session_open_us[state.slot] = FOREVER_US
        self.session_end_us[state.slot] = self.session_last_us[state.slot] = NEVER_US
        if found is not None and found.has_tolerance:
            self.tolerant.add(state.slot)
        else:
            self.tolerant.discard(state.slot)
        self.saw_trading_date(state, state.last_trading_date)
        self.saw_final(state, state.filled_date)

    def saw_trading_date(self, state: SeriesState, trading_date: int | None) -> None:
        """The latest accepted tick is of ``trading_date``: when will the series fall asleep?"""
        state.last_trading_date = trading_date
        state.asleep_us = self.asleep_from(state, trading_date)

    def saw_final(self, state: SeriesState, trading_date: int | None) -> None:
        """The last final with ticks is of ``trading_date``: how far is it filled after that?"""
        state.filled_date = trading_date
        state.filled_until_us = self.asleep_from(state, trading_date)

    def asleep_from(self, state: SeriesState, trading_date: int | None) -> int:
        """From when on the series is asleep if its last tick is of ``trading_date``."""
        if trading_date is None or state.schedule is None:
            return FOREVER_US
        asleep_us = state.schedule.asleep_from(trading_date, self.rules.inactive_after)
        # a session that opens inside a minute: of that minute nothing is filled either
        return FOREVER_US if asleep_us is None else floor_minute(asleep_us)

    def session_at(self, state: SeriesState, ts_us: int) -> Session:
        """The session of an accepted tick, by the time at which it is placed.

        Raises:
            LookupError: the schedule has no session at that time.
        """
        session = state.session
        if session is not None and session.open_us <= ts_us < session.close_us:
            return session
        schedule = state.schedule
        found = -1 if schedule is None else int(schedule.locate(np.array([ts_us], np.int64))[0])
        if schedule is None or found < 0:
            raise LookupError(f"no session of {state.broker} {state.symbol} at {ts_us} us")
        state.session = schedule.session(found)
        return state.session
