"""Which heartbeats are due: pure planning from schedule, universe, last emitted and now.

A minute ``k`` of a series is due when ``k + 1m + grace + feed_delay <= now``.  Planned is
every due in-session minute of every live series after its mark (the last minute emitted),
oldest minutes first, whether or not it had ticks, so that a late wake-up leaves no hole::

    mark            k+1       k+2       now - grace - feed_delay
    |=== emitted ===|== due ==|== due ==|..|  still running
                                        ^ floor_minute

The last minute of a session with a close tolerance ends with that, and so is due later: ticks
still come for it.
A series that is asleep gets nothing from the first open it sleeps through; minutes before
that are still planned.  Where a week or month ended after the schedule did, the last minute is
planned once more, see `barstream.rules.repeat_heartbeat`.  No clock is read here and nothing is
sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from barstream.market.schedule import SeriesSchedule, minutes_between
from barstream.market.universe import SeriesName, SeriesSeen, standing
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US, floor_minute
from barstream.rules.heartbeat_due import HeartbeatRules
from barstream.rules.repeat_heartbeat import Repeat, Repeats

__all__ = [
    "HeartbeatPlan",
    "HeartbeatRules",
    "Index",
    "due_ranges",
    "first_missing",
    "plan",
    "recovery_windows",
]

Int64s = NDArray[np.int64]

#: Nothing was heard of a series: earlier than any append time.
_NEVER_US: Final = -(1 << 60)


class Index(Protocol):
    """What planning asks of the schedule index."""

    def for_series(self, broker: str, symbol: str) -> SeriesSchedule | None: ...


@dataclass(frozen=True, slots=True)
class HeartbeatPlan:
    """Heartbeats due, oldest minute first; ``series[index[i]]`` is due for ``minute[i]``."""

    now_us: int
    series: tuple[SeriesSeen, ...]
    index: Int64s
    minute: Int64s
    remaining: int
    """Due as well, but beyond ``max_catch_up``: left for the next round."""
    began: Mapping[SeriesName, int]
    """Marks of series met for the first time with nothing known about them."""
    historical: int
    """Series skipped because their feed is not live."""
    asleep: int
    unscheduled: int
    repeats: tuple[Repeat, ...] = ()
    """Minutes emitted before, to be sent once more as evidence; they move no mark."""
    held_until_us: int | None = None
    """When the first minute comes due that waits for nothing but its close tolerance."""

    def __len__(self) -> int:
        return len(self.minute) + len(self.repeats)

    def __iter__(self) -> Iterator[tuple[SeriesSeen, int]]:
        """Everything to be sent, repeats last."""
        yield from self.minutes()
        for repeat in self.repeats:
            yield repeat.series, repeat.minute_us

    def minutes(self) -> Iterator[tuple[SeriesSeen, int]]:
        """The minutes that are due for the first time."""
        for i, minute_us in zip(self.index.tolist(), self.minute.tolist(), strict=True):
            yield self.series[i], minute_us

    def head(self, count: int) -> HeartbeatPlan:
        """The first ``count`` heartbeats; the others count as remaining."""
        return replace(
            self,
            index=self.index[:count],
            minute=self.minute[:count],
            repeats=self.repeats[: max(0, count - len(self.minute))],
            remaining=self.remaining + max(0, len(self) - count),
        )

    def partitions(self) -> set[int]:
        """Tick partitions the planned series live in."""
        found = {self.series[i].partition for i in np.unique(self.index).tolist()}
        return found | {repeat.series.partition for repeat in self.repeats}

    def marks(self) -> dict[SeriesName, int]:
        """The newest planned minute of each series that has one due for the first time."""
        return {row.name: minute_us for row, minute_us in self.minutes()}


def plan(
    now_us: int,
    universe: Iterable[SeriesSeen],
    schedule_index: Index,
    last_emitted: Mapping[SeriesName, int],
    rules: HeartbeatRules,
    periods: Sequence[Period] = (),
    heard: Mapping[SeriesName, int] = MappingProxyType({}),
) -> HeartbeatPlan:
    """The heartbeats due at ``now_us``: ascending per series, oldest minutes first across.

    The union of the plans of any sequence of wake-ups, each given the marks of the one
    before, is every due in-session minute exactly once; with ``heard`` given likewise, every
    repeat is planned once.

    Args:
        now_us: the instant.
        universe: the series.
        schedule_index: their sessions.
        last_emitted: marks, the last minute emitted of each series.
        rules: when a minute is due.
        periods: of the upper bars, for those of them that need evidence.
        heard: append time of the newest heartbeat of each series, as far as known.
    """
    series = tuple(universe)
    evidence = Repeats(now_us, periods, rules)
    repeats: list[Repeat] = []
    starts: list[int] = []
    ends: list[int] = []
    owner: list[int] = []
    began: dict[SeriesName, int] = {}
    skipped = dict.fromkeys(("active", "historical", "asleep", "unscheduled"), 0)
    held: list[int] = []
    for i, row in enumerate(series):
        schedule = schedule_index.for_series(row.broker, row.symbol) if row.live else None
        skipped[standing(row, schedule, now_us, rules.inactive_after)] += 1
        if schedule is None:
            continue
        newest = rules.newest_due(row.broker, now_us, schedule)
        if schedule.has_tolerance and newest < rules.newest_due(row.broker, now_us):
            held.append(rules.due_us(row.broker, newest + MINUTE_US, schedule))
        first = first_missing(row, last_emitted.get(row.name))
        if first is None:
            began[row.name] = newest - rules.backfill_minutes * MINUTE_US
            first = began[row.name] + MINUTE_US
        repeat = evidence.due(row, schedule, first, heard.get(row.name, _NEVER_US))
        if repeat is not None:
            repeats.append(repeat)
        for start, end in due_ranges(row, schedule, first, newest, rules.inactive_after):
            starts.append(start)
            ends.append(end)
            owner.append(i)
    index, minute, total = _oldest(starts, ends, owner, rules.max_catch_up)
    every = HeartbeatPlan(
        now_us,
        series,
        index,
        minute,
        total - len(minute),
        began,
        skipped["historical"],
        skipped["asleep"],
        skipped["unscheduled"],
        tuple(repeats),
        min(held, default=None),
    )
    return every.head(rules.max_catch_up)


def first_missing(row: SeriesSeen, mark: int | None) -> int | None:
    """The first minute of a series that may still lack a heartbeat; None: nothing is known.

    What is closed needs none, so a series that woke up is not caught up through the
    stretch it slept; before its first tick it has no bars at all.
    """
    known = [floor_minute(us) for us in (row.closed_until_us,) if us >= 0]
    if mark is not None:
        known.append(mark + MINUTE_US)
    if not known and row.first_tick_us >= 0:
        known.append(floor_minute(row.first_tick_us))
    return max(known, default=None)


def due_ranges(
    row: SeriesSeen, schedule: SeriesSchedule, first: int, newest: int, inactive_after: int
) -> Iterator[tuple[int, int]]:
    """In-session minutes of ``[first, newest]`` while awake, as half-open ``(start, end)``."""
    if first > newest:
        return
    asleep_us = schedule.asleep_from(row.last_trading_date, inactive_after)
    for session, minutes in minutes_between(schedule, first, newest + MINUTE_US):
        # By the open and not by the minute: a session may open inside its first minute.
        if asleep_us is not None and session.open_us >= asleep_us:
            return
        if minutes:
            yield minutes.start, minutes.stop


def recovery_windows(
    now_us: int,
    universe: Iterable[SeriesSeen],
    schedule_index: Index,
    rules: HeartbeatRules,
    width_us: int,
) -> list[tuple[int, int]]:
    """Spans of time in which the newest heartbeat of each live series was sent, if in time.

    A series whose session ended on Friday has its last heartbeat there and not in the last
    minutes of the topic; reading these spans finds it without reading the days between.
    Half-open ``(from_us, to_us)``, ascending, disjoint.
    """
    instants: set[int] = set()
    for row in universe:
        schedule = schedule_index.for_series(row.broker, row.symbol) if row.live else None
        first = first_missing(row, None)
        if schedule is None or first is None:
            continue
        newest = rules.newest_due(row.broker, now_us, schedule)
        last = _last_due(row, schedule, first, newest, rules.inactive_after)
        if last is not None:
            instants.add(rules.due_us(row.broker, last, schedule))
    windows: list[tuple[int, int]] = []
    for instant in sorted(instants):
        if windows and instant <= windows[-1][1]:
            windows[-1] = windows[-1][0], instant + width_us
        else:
            windows.append((instant, instant + width_us))
    return windows


def _last_due(
    row: SeriesSeen, schedule: SeriesSchedule, first: int, newest: int, inactive_after: int
) -> int | None:
    # Looked for from the end, a day and then ever more: `first` may be years ago.
    span_us = DAY_US
    while True:
        start = max(first, newest - span_us)
        ranges = list(due_ranges(row, schedule, start, newest, inactive_after))
        if ranges:
            return ranges[-1][1] - MINUTE_US
        if start <= first:
            return None
        span_us *= 4


def _oldest(
    starts: list[int], ends: list[int], owner: list[int], bound: int
) -> tuple[Int64s, Int64s, int]:
    """Of all minutes in the ranges the ``bound`` oldest: owners, minutes, and how many in all.

    After a long outage the ranges hold millions of minutes: the newest minute needed is
    found by bisection over their lengths before any range is spelled out.
    """
    start = np.asarray(starts, dtype=np.int64) // MINUTE_US
    end = np.asarray(ends, dtype=np.int64) // MINUTE_US
    who = np.asarray(owner, dtype=np.int64)
    total = int((end - start).sum())
    if total > bound:
        low, high = int(start.min()), int(end.max())
        while low < high:  # the smallest cut with at least `bound` minutes before it
            middle = (low + high) // 2
            if int(np.clip(middle - start, 0, end - start).sum()) >= bound:
                high = middle
            else:
                low = middle + 1
        end = np.minimum(end, low)
    count = np.maximum(end - start, 0)
    within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    minute = np.repeat(start, count) + within
    index = np.repeat(who, count)
    order = np.lexsort((index, minute))[:bound]
    return index[order], minute[order] * MINUTE_US, total
