"""The stretches of a partition that were judged by the same rules, as the log says them.

::

    ticks       0 ........ 412 ........ 980 .......... end
    rules       | regime 0  | regime 1   | regime 2
    schedule    none yet      rows below 14   ... below 20   of topic market_schedule

What a worker of a release that did not write rules has judged comes before the first row: of that
it is not *told*, and the settings of now and the rows of now are the best there is.  So it is with
what came before a switch-over to a replay: bars were made anew by rules that stand nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Final, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.topics.rules import RulesRow
from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session import NO_REGISTRY, read_session
from barstream.log.schedule import ScheduleRecord
from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex, Series, SessionRow
from barstream.model.key import NameRule
from barstream.model.time import DAY_US

Longs = NDArray[np.int64]


class SeriesSessions(Protocol):
    """The sessions of all series, immutable, as somebody makes them of rows.

    Bars are made by a `ScheduleIndex`; `barstream.verify` has one of its own.
    """

    @property
    def changed(self) -> frozenset[Series]:
        """The series whose sessions differ from those of the index this was made from."""
        ...

    @property
    def problems(self) -> object:
        """What of the rows cannot stand together."""
        ...

    def updated(self, rows_of: Mapping[Series, Sequence[SessionRow]]) -> Self:
        """A new index in which each series of ``rows_of`` has exactly those rows."""
        ...


Index = TypeVar("Index", bound=SeriesSessions)
#: Sessions reach into the days beside their trading date.
_DAYS_AROUND: Final = 1


@dataclass(frozen=True, slots=True)
class Regime(Generic[Index]):
    """Rules, and from where on they held.

    Attributes:
        begin: ticks from this offset on.
        heartbeat_begin: heartbeats from this offset on.
        rules: as the log says them.
        index: the schedule.
        is_told: whether the log says so; False: judged before it did.
        lost: trading dates of which compaction may have taken the row that was in force.
    """

    begin: int
    heartbeat_begin: int
    rules: RulesRow
    index: Index
    is_told: bool = True
    lost: frozenset[tuple[Series, int]] = field(default=frozenset())

    @property
    def place(self) -> tuple[int, int]:
        """Where it begins."""
        return self.begin, self.heartbeat_begin

    def is_like(self, other: Regime[Index]) -> bool:
        """Whether the same is judged alike."""
        return (
            self.index is other.index
            and self.is_told == other.is_told
            and self.lost == other.lost
            and _without_schedule(self.rules) == _without_schedule(other.rules)
        )


def _without_schedule(rules: RulesRow) -> tuple[object, ...]:
    return (
        rules.grace_us, rules.max_future_skew_us, rules.late_policy, rules.inactive_after,
        rules.publish_off_session, rules.decoding, rules.fold_case, rules.is_full,
    )  # fmt: skip


class Regimes(Generic[Index]):
    """The regimes of one partition, the first from offset 0 on.

    Args:
        regimes: ascending; of those that begin at one place, in order: by the last of them what
            comes there was judged, and each has closed what its own grace had passed.
        now: the schedule as it is.
    """

    def __init__(self, regimes: Sequence[Regime[Index]], now: Index) -> None:
        self.all: list[Regime[Index]] = []
        for regime in regimes:
            if self.all and not self.all[-1].is_told and self.all[-1].place == regime.place:
                self.all.pop()  # nothing was judged before the log said so
            if not self.all or not regime.is_like(self.all[-1]):
                self.all.append(regime)
        self.now = now
        #: A replay was switched over to: what came before is not told.
        self.is_rewritten = False
        #: Makes those of every series, where these know the sessions of one.
        self._every: Callable[[], Regimes[Index]] | None = None
        self.begin = np.array([each.begin for each in self.all], np.int64)
        self.heartbeat_begin = np.array([each.heartbeat_begin for each in self.all], np.int64)
        #: Ticks from here on were judged by rules the log says.
        self.told_from = next((each.begin for each in self.all if each.is_told), 1 << 62)

    @staticmethod
    def of(
        rows: Sequence[RulesRow],
        records: Sequence[ScheduleRecord],
        otherwise: RulesRow,
        series: Series | None = None,
    ) -> Regimes[ScheduleIndex]:
        """As the log says them, with the sessions that bars are made by; see `made_by`."""
        return Regimes.made_by(ScheduleIndex(), AlwaysOpenIndex(), rows, records, otherwise, series)

    @classmethod
    def made_by(
        cls,
        none: Index,
        always: Index,
        rows: Sequence[RulesRow],
        records: Sequence[ScheduleRecord],
        otherwise: RulesRow,
        series: Series | None = None,
    ) -> Self:
        """As the log says them.

        Args:
            none: an index without a row, from which the others are made.
            always: that of a market that never closes.
            rows: of the partition, in the order in which they followed each other.
            records: of topic ``market_schedule``.
            otherwise: what ruled before the first of ``rows``, as far as anybody knows.
            series: whose sessions will be asked for, by its normalised names; None: those of any.
                A schedule has hundreds of rows a series: those of others are not read then.
        """
        readings: dict[bool | None, _Schedules[Index]] = {}

        def reading(row: RulesRow) -> _Schedules[Index]:
            if row.fold_case not in readings:
                name_rule = NameRule(row.fold_case is not False)
                readings[row.fold_case] = _Schedules(none, always, records, name_rule, series)
            return readings[row.fold_case]

        told = []
        for row in told_rows(rows):
            if row.fold_case is None:
                row = replace(row, fold_case=otherwise.fold_case)
            index, lost = reading(row).index_of(row)
            told.append(Regime(row.from_offset, row.heartbeat_offset, row, index, True, lost))
        now = always if otherwise.schedule is None else reading(otherwise).newest()
        found = cls([Regime(0, 0, otherwise, now, is_told=False), *told], now)
        found.is_rewritten = any(row.rewritten for row in rows)
        if series is not None:
            found._every = partial(cls.made_by, none, always, rows, records, otherwise)
        return found

    @cached_property
    def _whole(self) -> Regimes[Index]:
        """Those of every series: only from all rows is known how many there are."""
        return self if self._every is None else self._every()

    @property
    def is_told(self) -> bool:
        """Whether the log says of every tick by which rules it was judged."""
        return self.told_from == 0

    def __len__(self) -> int:
        return len(self.all)

    def numbers(self, offsets: Longs) -> Longs:
        """The regime each tick was judged in, shape (n,)."""
        return np.searchsorted(self.begin, offsets, side="right").astype(np.int64) - 1

    def at(self, offset: int) -> Regime[Index]:
        """The one a tick at ``offset`` was judged in."""
        return self.all[self.number_at(offset)]

    def number_at(self, offset: int) -> int:
        """The number of the one a tick at ``offset`` was judged in."""
        return int(np.searchsorted(self.begin, offset, side="right")) - 1

    def begins_at(self, offset: int) -> bool:
        """Whether other rules held from a tick at ``offset`` on."""
        return bool((self.begin == offset).any())

    def number_of_heartbeat(self, offset: int) -> int:
        """The regime a heartbeat at ``offset`` was taken in."""
        return int(np.searchsorted(self.heartbeat_begin, offset, side="right")) - 1

    def numbers_of_heartbeats(self, offsets: Longs) -> Longs:
        """The regime each heartbeat was taken in, shape (n,)."""
        return np.searchsorted(self.heartbeat_begin, offsets, side="right").astype(np.int64) - 1

    def may_have_lost(self, name: Series, bucket_us: int, offset: int) -> bool:
        """Whether the row by which something was judged at ``offset`` may be gone."""
        day = bucket_us // DAY_US
        lost = self._whole.at(offset).lost
        return bool(lost) and any(
            (name, date) in lost for date in range(day - _DAYS_AROUND, day + _DAYS_AROUND + 1)
        )

    @property
    def revises(self) -> bool:
        """Whether late ticks ever revised."""
        return any(each.rules.late_policy == "revise" for each in self.all)

    @property
    def current(self) -> Regime[Index]:
        """The last one."""
        return self.all[-1]


def told_rows(rows: Sequence[RulesRow]) -> Sequence[RulesRow]:
    """Those of ``rows`` that still say something: none of before a switch-over to a replay."""
    return rows[max((at for at, row in enumerate(rows) if row.rewritten), default=0) :]


class _Schedules(Generic[Index]):
    """The schedule at places of its topic, ascending; what they share is one object.

    Args:
        none: without a row.
        always: of a market that never closes.
        records: of its topic.
        name_rule: how names are spelled.
        series: the only one whose rows are read; None: all are.  Where rows of others changed, it
            is another object all the same: there the log says what came after what.
    """

    def __init__(
        self,
        none: Index,
        always: Index,
        records: Sequence[ScheduleRecord],
        name_rule: NameRule,
        series: Series | None = None,
    ) -> None:
        self._none, self._always = none, always
        self._series = series
        self._records: dict[int, list[ScheduleRecord]] = {}
        for record in sorted(records, key=lambda each: (each.partition, each.offset)):
            self._records.setdefault(record.partition, []).append(record)
        schemas = records[0].schemas if records else NO_REGISTRY
        self._schemas = schemas.spelled(name_rule)
        self._start_over()

    def _start_over(self) -> None:
        self._rows, self._index = ScheduleRows(self._schemas), self._none
        self._ends: dict[int, int] = {}
        self._read_of: dict[int, int] = {}
        #: Of other series, the newest record of each key; and how many sessions there were.
        self._others: dict[tuple[int, bytes], bytes | None] = {}
        self._count = 0
        self._have_others_changed = False

    def newest(self) -> Index:
        """By all there is."""
        self._read(dict.fromkeys(self._records, 1 << 62))
        self._take({name: self._rows.rows_of(name) for name in self._rows.take_dirty()})
        return self._index

    def index_of(self, row: RulesRow) -> tuple[Index, frozenset[tuple[Series, int]]]:
        """The index a worker had, and of which dates it may have been another."""
        if row.schedule is None:
            return self._always, frozenset()
        if any(row.schedule.get(part, 0) < end for part, end in self._ends.items()):
            self._start_over()  # its topic was made again
        self._have_others_changed |= row.sessions != self._count
        self._read(row.schedule)
        self._count = row.sessions
        wanted = {name: self._rows.rows_of(name) for name in self._rows.take_dirty()}
        self._take(wanted | {name: self._rows_below(name, row.kept[name]) for name in row.kept})
        lost: frozenset[tuple[Series, int]] = frozenset()
        if self._series is None and len(self._rows) != row.sessions:
            lost = self._came_later(row)
        return self._index, lost

    def _is_wanted(self, record: ScheduleRecord) -> bool:
        return self._series is None or record.may_be_of(*self._series)

    def _rows_below(self, name: Series, ends: Mapping[int, int]) -> list[SessionRow]:
        """Of a series whose rows contradicted each other, those it kept."""
        rows = ScheduleRows(self._schemas)
        for partition, records in self._records.items():
            for one in records:
                if one.offset < ends.get(partition, 0) and self._is_wanted(one):
                    rows.apply(one.key, one.value, partition, one.offset, one.appended_us)
        return rows.rows_of(name)

    def _take(self, wanted: Mapping[Series, list[SessionRow]]) -> None:
        """The rows of some series; what changes nothing leaves the index."""
        index = self._index.updated(wanted)
        of_others = self._series is not None and self._have_others_changed
        if index.changed or index.problems != self._index.problems or of_others:
            self._index = index
        self._have_others_changed = False

    def _read(self, ends: Mapping[int, int]) -> None:
        for partition in self._records.keys() | ends.keys():
            records = self._records.get(partition, [])
            at, end = self._read_of.get(partition, 0), ends.get(partition, 0)
            begin, first = self._ends.get(partition, 0), at
            while at < len(records) and records[at].offset < end:
                one = records[at]
                if self._is_wanted(one):
                    self._rows.apply(one.key, one.value, partition, one.offset, one.appended_us)
                elif self._others.get((partition, one.key)) != one.value:
                    self._others[partition, one.key] = one.value
                    self._have_others_changed = True
                at += 1
            # compaction may have taken what changed
            self._have_others_changed |= at - first < end - begin
            self._read_of[partition] = at
        self._ends = dict(ends)

    def _came_later(self, row: RulesRow) -> frozenset[tuple[Series, int]]:
        """What is left of some dates was written later: before, there may have been other rows."""
        first: set[tuple[int, bytes]] = set()
        found: set[tuple[Series, int]] = set()
        ends = row.schedule or {}
        for record in (one for records in self._records.values() for one in records):
            place = record.partition, record.key
            if place in first:
                continue
            first.add(place)
            if record.offset < ends.get(record.partition, 0):
                continue
            try:
                identity, _ = read_session(record.key, record.value, self._schemas)
            except ValueError:
                continue
            broker, symbol, date, _ = identity
            found.add(((broker, symbol), date))
        return frozenset(found)
