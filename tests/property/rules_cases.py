"""Lives of a partition in which rules and schedule change, and what the log keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, cast

from hypothesis import strategies as st

from barstream.codecs.bar import decode_bar
from barstream.codecs.session import encode_session, session_key
from barstream.core.period import MINUTE, Period
from barstream.core.schedule import MarketScheduleProvider, SessionRow
from barstream.core.state import Rules
from barstream.core.time import MINUTE_US, SECOND_US
from barstream.engine.book import FinalsBook
from barstream.engine.local import LocalPartition
from barstream.engine.offsets import Extent
from barstream.engine.partition import PartitionEngine
from barstream.engine.rows import build_flush
from barstream.engine.starts import restore_engine
from barstream.history.schedule import ScheduleRecord
from tables.schedule import ScheduleRows
from tests.property.engine_cases import TOPICS, Beat, Case, Store, Tick, cuts, deliver, feed
from tests.property.verify_cases import rules_row

_TURNS_S: Final = (0, 630, 1_200, 1_500, 2_415, 3_600, 5_400, 9_000, 14_400)
_GRACES_US: Final = (0, 5_000_000, 60_000_000, 200_000_000)

Rows = Mapping[str, Sequence[SessionRow]]


@dataclass
class ScheduleTopic:
    """Topic ``market_schedule``, and a reader of it that keeps a provider in step."""

    provider: MarketScheduleProvider = field(default_factory=MarketScheduleProvider)
    records: list[ScheduleRecord] = field(default_factory=list)
    _rows: ScheduleRows = field(default_factory=ScheduleRows)
    _in_force: dict[str, dict[tuple[int, int], SessionRow]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.read()

    def load(self, rows: Rows) -> None:
        """Replace all that is in force, as ``schedule load`` does: tombstones, then rows."""
        for symbol, some in rows.items():
            wanted = {
                (row.trading_date, row.session): SessionRow(
                    "B", symbol, row.trading_date, row.session, row.open_us, row.close_us
                )
                for row in some
            }
            before = self._in_force.get(symbol, {})
            for place in before.keys() - wanted.keys():
                self._append(before[place], None)
            for place, row in wanted.items():
                if before.get(place) != row:
                    self._append(row, encode_session(row))
            self._in_force[symbol] = wanted

    def _append(self, row: SessionRow, value: bytes | None) -> None:
        offset = len(self.records)
        self.records.append(ScheduleRecord(0, offset, offset, session_key(row), value))

    def start_over(self) -> None:
        """A worker that has just started knows nothing of before."""
        self.provider, self._rows = MarketScheduleProvider(), ScheduleRows()
        self.read()

    def read(self) -> None:
        """Read to the end, and swap where that changes anything."""
        seen = self._rows.ends.get(0, 0)
        for record in self.records[seen:]:
            self._rows.apply(record.key, record.value, 0, record.offset, record.appended_us)
        current = self.provider.index
        dirty = self._rows.take_dirty()
        index = current.updated({name: self._rows.rows_of(name) for name in dirty})
        index = index.succeeding(current, self._rows.ends, len(self._rows))
        if index.changed or index.problems != current.problems or not self.provider.ready:
            self.provider.swap(index)


@dataclass
class Topics(Store):
    """What the transactions of a partition have left, upper bars as well."""

    periods: Sequence[Period] = ()
    uppers: dict[Period, list[tuple[bytes | None, bytes | None]]] = field(default_factory=dict)

    def flush(self, engine: PartitionEngine) -> None:
        rollups = {period: str(period) for period in self.periods}
        flush = build_flush(engine.take(), engine.state, 0, replace(TOPICS, rollups=rollups), None)
        for period, name in rollups.items():
            rows = flush.rows.pop((name, 0), [])
            self.uppers.setdefault(period, []).extend((row.key, row.value) for row in rows)
        self.keep(flush)


@dataclass
class Life:
    """What became of a log under rules that changed.

    Attributes:
        case: the log; its rules are those in force at the end.
        store: what was written.
        schedule: the topic of the sessions.
    """

    case: Case
    store: Topics
    schedule: ScheduleTopic


@st.composite
def hours(draw: st.DrawFn) -> list[SessionRow]:
    """Sessions of the first hour and a half of time, most of it: some left out, ends moved."""
    found: list[SessionRow] = []
    day = 0
    for number, (open_s, close_s) in enumerate(pairwise(_TURNS_S)):
        day += draw(st.sampled_from([0, 0, 1]))
        if draw(st.integers(0, 4)) == 0:
            continue
        # two sessions may not share a minute
        close_us = (close_s - draw(st.sampled_from([0, 0, 60, 90, 135]))) * SECOND_US
        open_us = (open_s + draw(st.sampled_from([0, 0, 0, 15, 60]))) * SECOND_US
        found.append(SessionRow("B", "", day, number, open_us, close_us))
    return found


@st.composite
def logs(draw: st.DrawFn) -> Case:
    """Ticks of two series that go forward in steps of seconds and minutes, mostly."""
    rows = {name: draw(hours()) for name in ("ALPHA", "BETA")[: draw(st.integers(1, 2))]}
    ticks: list[Tick] = []
    beats: list[Beat] = []
    clock = draw(st.integers(0, 20)) * MINUTE_US
    offset = beat_offset = 0
    for _ in range(draw(st.integers(10, 60))):
        name = draw(st.sampled_from(sorted(rows)))
        offset += draw(st.sampled_from([1, 1, 1, 3]))
        clock += draw(st.sampled_from([1, 9, 20, 40, 60, 150, 420])) * SECOND_US
        if draw(st.integers(0, 4)) == 0:
            beat_offset += draw(st.integers(1, 2))
            minute = clock // MINUTE_US * MINUTE_US - draw(st.integers(1, 3)) * MINUTE_US
            barrier = max(0, offset - draw(st.sampled_from([0, 0, 1, 5])))
            beats.append(Beat(beat_offset, name, max(0, minute), barrier, clock))
            continue
        back = draw(st.sampled_from([0, 0, 0, 0, 5, 70, 300])) * SECOND_US
        price = draw(st.integers(90, 110)) / 10
        size = draw(st.sampled_from([0.0, 1.0, 0.1, 0.3, 1e17, 3e-9]))
        garbage = draw(st.integers(0, 19)) == 0
        ticks.append(Tick(offset, name, max(0, clock - back), None if garbage else price, size))
    end = offset + draw(st.integers(1, 3))
    return Case(
        rows, Rules(draw(st.sampled_from(_GRACES_US)), draw(st.integers(1, 3))), ticks, beats, end
    )


@st.composite
def lives(
    draw: st.DrawFn,
    policies: Sequence[str] = ("reject", "revise"),
    periods: Sequence[Period] = (),
) -> Life:
    """A log, applied by workers that come and go; at any place rules or sessions change."""
    case = draw(logs())
    schedule, store = ScheduleTopic(), Topics(periods=periods)
    if draw(st.integers(0, 4)):
        schedule.load(case.rows)
        schedule.read()
    rules = replace(case.rules, late_policy=draw(st.sampled_from(policies)))
    life = _Workers(case, rules, schedule, store)
    for _, end in cuts(draw, 0, case.end):
        life.apply(end, starts_over=draw(st.booleans()))
        match draw(st.integers(0, 7)):
            case 0:
                life.flush()
            case 1 | 2:
                schedule.load(_others(draw, case.rows))
                life.read_schedule()
            case 3 | 4:
                life.flush()
                life.change(_changed(draw, life.rules, policies))
            case 5:
                # killed: what was not flushed is judged again, by the rules of the next
                life.change(_changed(draw, life.rules, policies))
                schedule.load(_others(draw, case.rows))
            case _:
                pass
    life.flush()
    return Life(replace(case, rules=life.rules), store, schedule)


@dataclass
class _Workers:
    """The workers of one partition, one after the other."""

    case: Case
    rules: Rules
    schedule: ScheduleTopic
    store: Topics
    _engine: PartitionEngine | None = None
    _position: int = 0
    _beat_position: int = 0

    def apply(self, end: int, *, starts_over: bool) -> None:
        """Ticks up to an offset, and the heartbeats that may be used by then."""
        if self._engine is None:
            self._engine = self._started(starts_over=starts_over)
        beats = self.case.beats
        due = [at for at, beat in enumerate(beats) if beat.barrier <= end]
        # in log order: one whose barrier is not reached yet holds back those behind it
        given = [b for b in beats[: max(due, default=-1) + 1] if b.offset >= self._beat_position]
        deliver(self._engine, given)
        self._beat_position = max([self._beat_position, *(b.offset + 1 for b in given)])
        feed(self._engine, self.case.ticks, self._position, end)
        self._position = end

    def _started(self, *, starts_over: bool) -> PartitionEngine:
        if starts_over:
            self.schedule.start_over()
        else:
            self.schedule.read()  # it held another partition before
        engine = PartitionEngine(
            0, self.rules, self.schedule.provider, lambda _broker, _symbol: None,
            book=self._book(), periods=self.store.periods, judged_by=rules_row(self.rules),
        )  # fmt: skip
        engine.state.use_schedule(self.schedule.provider.index)
        rows = cast("LocalPartition", self.store.series)  # what is asked of it, a dict has
        everything = Extent(0, 1 << 40)
        start = restore_engine(engine, rows, "ticks", None, everything, everything)
        self._position, self._beat_position = start
        return engine

    def _book(self) -> FinalsBook:
        """What was written, as the local store has it."""
        book = FinalsBook({})
        for bar in (decode_bar(value or b"") for _, value in self.store.finals):
            book.put(MINUTE, bar)
        for period, rows in self.store.uppers.items():
            for bar in (decode_bar(value or b"") for _, value in rows):
                book.put(period, bar)
        return book

    def flush(self) -> None:
        """Write what there is."""
        if self._engine is not None:
            self.store.flush(self._engine)

    def read_schedule(self) -> None:
        """Rows of the schedule have come."""
        self.schedule.read()
        if self._engine is not None:
            self._engine.schedule_changed()

    def change(self, rules: Rules) -> None:
        """The worker ends, and another one begins by these rules."""
        self.rules, self._engine = rules, None


def _changed(draw: Any, rules: Rules, policies: Sequence[str]) -> Rules:
    return replace(
        rules,
        grace_us=draw(st.sampled_from(_GRACES_US)),
        late_policy=draw(st.sampled_from(policies)),
        inactive_after=draw(st.integers(1, 3)),
    )


def _others(draw: Any, rows: Rows) -> dict[str, list[SessionRow]]:
    """Other sessions of some series: none, those it was to have, a part of them, new ones."""
    found: dict[str, list[SessionRow]] = {}
    for symbol in sorted(rows):
        some = list(rows[symbol])
        match draw(st.integers(0, 7)):
            case 0:
                found[symbol] = []
            case 1 | 2:
                found[symbol] = some
            case 3 | 4:
                found[symbol] = [row for row in some if draw(st.booleans())]
            case _:
                found[symbol] = draw(hours())
    return found
