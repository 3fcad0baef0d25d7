"""The market schedule of all series: an immutable index, and the provider that holds it.

An index is built from rows and never changes; a new one replaces it in one assignment, so
a reader that took an index keeps one consistent answer for as long as it holds on to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from barstream.market.session import (
    OFF_SESSION,
    Conflict,
    RowsSchedule,
    SeriesSchedule,
    Session,
    SessionRow,
    UtcCalendar,
    find_conflicts,
    minutes_between,
    session_minutes,
)
from barstream.model.key import FOLDED, NameRule

__all__ = [
    "OFF_SESSION",
    "AlwaysOpenIndex",
    "Conflict",
    "MarketScheduleProvider",
    "RowsSchedule",
    "ScheduleIndex",
    "Series",
    "SeriesSchedule",
    "Session",
    "SessionRow",
    "UtcCalendar",
    "find_conflicts",
    "minutes_between",
    "session_minutes",
]

Series = tuple[str, str]
"""Broker and symbol, both normalised."""

UTC_CALENDAR: Final = UtcCalendar()


class RowsRead(NamedTuple):
    """What of the topic of the rows an index was made of.

    Attributes:
        ends: by partition, up to where they were read.
        rows: how many there were.
        kept: of the series whose rows are refused, the ends of the rows by which they go.
    """

    ends: Mapping[int, int] = MappingProxyType({})
    rows: int = 0
    kept: Mapping[Series, Mapping[int, int]] = MappingProxyType({})


_NOTHING_READ: Final = RowsRead()


class ScheduleIndex:
    """Schedules by series, immutable; series that keep the same hours share one object.

    Attributes:
        version: rises with every index that replaces another.
        changed: the series whose schedule differs from the index this one was made from.
        problems: row sets refused, by series; such a series keeps the schedule it had.
        ends, rows, kept: see `RowsRead`.
    """

    always_open: bool = False

    def __init__(
        self,
        schedules: Mapping[Series, RowsSchedule] | None = None,
        version: int = 0,
        *,
        changed: frozenset[Series] = frozenset(),
        problems: Mapping[Series, tuple[Conflict, ...]] | None = None,
        read: RowsRead = _NOTHING_READ,
    ) -> None:
        self._schedules = dict(schedules or {})
        self.version = version
        self.changed = changed
        self.problems: Mapping[Series, tuple[Conflict, ...]] = dict(problems or {})
        self.ends, self.rows, self.kept = read

    @classmethod
    def build(cls, rows: Iterable[SessionRow], version: int = 1) -> ScheduleIndex:
        """An index of ``rows``, in any order; refused series are in ``problems``."""
        by_series: dict[Series, list[SessionRow]] = {}
        for row in rows:
            by_series.setdefault((row.broker, row.symbol), []).append(row)
        return ScheduleIndex().updated(by_series, version)

    def updated(
        self, rows_of: Mapping[Series, Sequence[SessionRow]], version: int | None = None
    ) -> ScheduleIndex:
        """A new index in which each series of ``rows_of`` has exactly those rows.

        A series with no rows leaves the index; one whose rows conflict keeps the schedule
        it has here and is reported in ``problems``.
        """
        schedules, problems = dict(self._schedules), dict(self.problems)
        shared = {schedule.fingerprint: schedule for schedule in schedules.values()}
        changed: set[Series] = set()
        for series, rows in rows_of.items():
            problems.pop(series, None)
            if not rows:
                if schedules.pop(series, None) is not None:
                    changed.add(series)
                continue
            if conflicts := find_conflicts(rows):
                problems[series] = tuple(conflicts)
                continue
            schedule = RowsSchedule(rows)
            schedule = shared.setdefault(schedule.fingerprint, schedule)
            if schedules.get(series) is not schedule:
                schedules[series] = schedule
                changed.add(series)
        return ScheduleIndex(
            schedules,
            self.version + 1 if version is None else version,
            changed=frozenset(changed),
            problems=problems,
        )

    def succeeding(
        self, current: ScheduleIndex, ends: Mapping[int, int] | None = None, rows: int = 0
    ) -> ScheduleIndex:
        """This index as the one that replaces ``current``: next version, ``changed`` against it.

        Args:
            current: the one in force.
            ends: see `ScheduleIndex`.
            rows: likewise.
        """
        return ScheduleIndex(
            self._schedules,
            current.version + 1,
            changed=frozenset(
                series
                for series in self._schedules.keys() | current._schedules.keys()
                if self._schedules.get(series) is not current._schedules.get(series)
            ),
            problems=self.problems,
            read=RowsRead(
                dict(ends or {}),
                rows,
                {
                    series: current.kept.get(series, current.ends)
                    if series in current.problems
                    else current.ends
                    for series in self.problems
                },
            ),
        )

    def for_series(self, broker: str, symbol: str) -> SeriesSchedule | None:
        """The schedule of a series by its normalised names; None when it has no rows."""
        return self._schedules.get((broker, symbol))

    def series(self) -> Iterable[Series]:
        """Every series that has a schedule."""
        return self._schedules.keys()

    def __len__(self) -> int:
        return len(self._schedules)


class AlwaysOpenIndex(ScheduleIndex):
    """The index of a pipeline without schedule: every series keeps the UTC calendar."""

    always_open = True

    def for_series(self, broker: str, symbol: str) -> SeriesSchedule:  # noqa: ARG002 - all alike
        return UTC_CALENDAR


class MarketScheduleProvider:
    """Holds the current index and judges by it; reading and reloading are done elsewhere.

    Args:
        name_rule: how names are spelled in the index.
    """

    def __init__(self, name_rule: NameRule = FOLDED) -> None:
        self._name_rule = name_rule
        self._index = ScheduleIndex()
        self._ready = False
        self._listeners: list[Callable[[ScheduleIndex], None]] = []

    @classmethod
    def always_open(cls) -> MarketScheduleProvider:
        """A provider, ready at once, for a pipeline that runs 24x7 on the UTC calendar."""
        provider = cls()
        provider.swap(AlwaysOpenIndex())
        return provider

    @property
    def index(self) -> ScheduleIndex:
        """The current index; take it once per batch, so that a batch has one answer."""
        return self._index

    @property
    def ready(self) -> bool:
        """Whether the schedule was read to its end once; before that, judge nothing."""
        return self._ready

    def swap(self, index: ScheduleIndex) -> None:
        """Make ``index`` the current one, then tell every listener."""
        self._index = index
        self._ready = True
        for listener in tuple(self._listeners):
            listener(index)

    def on_change(self, listener: Callable[[ScheduleIndex], None]) -> None:
        """Call ``listener(index)`` after every later swap; ``index.changed`` says of what."""
        self._listeners.append(listener)

    def is_in_session(self, broker: str, symbol: str, ts_us: int) -> bool:
        """Whether ``open <= ts_us < close`` for a session of the series.

        A tick within a close tolerance is taken all the same, see `SeriesSchedule.locate`.  Names
        may come in any spelling; a series without schedule is never in session.
        """
        schedule = self._index.for_series(*self._name_rule.series(broker, symbol))
        if schedule is None:
            return False
        found = int(schedule.locate(np.array([ts_us], dtype=np.int64))[0])
        return found != OFF_SESSION and ts_us < schedule.session(found).close_us
