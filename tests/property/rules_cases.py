"""Lives of a partition in which rules and schedule change, and what the log keeps of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import numpy as np
import orjson
from hypothesis import strategies as st

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickDecoder
from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.rules import RulesRow
from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session import NO_REGISTRY, encode_session, session_key
from barstream.config.sections import TickSettings
from barstream.kafka.flush import Flush
from barstream.log.rules import Regimes
from barstream.log.schedule import ScheduleRecord
from barstream.log.selection import Selection
from barstream.log.tick_decoder import Decoders
from barstream.market.schedule import MarketScheduleProvider, SessionRow
from barstream.model.key import FOLDED, NameRule
from barstream.model.period import MINUTE, Period
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.flush import build_flush
from barstream.verify.task import Outcome
from tests.property.engine_cases import TOPICS, Beat, Case, Store, Tick, cuts, deliver
from tests.property.test_batch_laws import close_edges, tolerant
from tests.property.verify_cases import EVERYTHING, Parts, Told, verdict

#: Sessions may begin and end here; each stretch lies in the day of `_DAYS`, as its date does.
_TURNS_S: Final = (0, 630, 1_200, 1_500, 2_415, 3_600, 5_400, 9_000, 14_400)
_DAYS: Final = (0, 0, 1, 1, 2, 2, 3, 3)
_GRACES_US: Final = (0, 5_000_000, 60_000_000, 200_000_000)
_SKEWS_US: Final = (0, 5_000_000, 100_000_000)
#: Records are decoded as a worker does it: by settings, and not by hand.
TICKS: Final = TickSettings(format="json", time_unit="us")

Rows = Mapping[str, Sequence[SessionRow]]


@dataclass
class ScheduleTopic:
    """Topic ``market_schedule``, and a reader of it that keeps a provider in step."""

    name_rule: NameRule = FOLDED
    provider: MarketScheduleProvider = field(default_factory=MarketScheduleProvider)
    records: list[ScheduleRecord] = field(default_factory=list)
    #: When the next record is appended.
    now_us: int = 0
    _rows: ScheduleRows = field(default_factory=ScheduleRows)
    _in_force: dict[str, dict[tuple[int, int], SessionRow]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start_over()

    def load(self, rows: Rows) -> None:
        """Replace all that is in force, as ``schedule load`` does: tombstones, then rows."""
        for symbol, some in rows.items():
            wanted = {(row.trading_date, row.session): replace(row, symbol=symbol) for row in some}
            before = self._in_force.get(symbol, {})
            for place in before.keys() - wanted.keys():
                self._append(before[place], None)
            for place, row in wanted.items():
                if before.get(place) != row:
                    self._append(row, encode_session(row))
            self._in_force[symbol] = wanted

    def _append(self, row: SessionRow, value: bytes | None) -> None:
        offset = len(self.records)
        appended_us = self.now_us + offset
        self.records.append(ScheduleRecord(0, offset, appended_us, session_key(row), value))

    def start_over(self) -> None:
        """A worker that has just started knows nothing of before."""
        self.provider = MarketScheduleProvider(self.name_rule)
        self._rows = ScheduleRows(NO_REGISTRY.spelled(self.name_rule))
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

    def flush(self, engine: PartitionMachine) -> None:
        self.keep(self.flush_of(engine))

    def flush_of(self, engine: PartitionMachine) -> Flush:
        """What ``engine`` has to write."""
        rollups = {period: str(period) for period in self.periods}
        topics = replace(TOPICS, rollups=rollups)
        return build_flush(engine.take(), engine.state, 0, topics, None)

    def keep(self, flush: Flush) -> None:
        minutes = dict(flush.rows)
        for period in self.periods:
            rows = minutes.pop((str(period), 0), [])
            self.uppers.setdefault(period, []).extend((row.key, row.value) for row in rows)
        super().keep(Flush(minutes))


@dataclass
class Life:
    """What became of a log under rules that changed.

    Attributes:
        case: the log.
        rules: in force at the end.
        store: what was written.
        schedule: the topic of the sessions.
        workers: who applied it.
    """

    case: Case
    rules: RulesRow
    store: Topics
    schedule: ScheduleTopic
    workers: Workers

    @property
    def told(self) -> Told:
        """What the log says of the rules."""

        def decoded(regimes: Regimes[Any], start: int, end: int) -> Parts:
            decoders = Decoders(TICKS, regimes)
            for part in decoders.parts(self.workers.records(start, end)):
                yield part, decoders.decode(part)

        return Told(self.schedule.records, self.rules, decoded)


def records(ticks: Iterable[Tick], start: int, end: int) -> RecordChunk:
    """The records of [start, end) as a fetch brings them."""
    inside = [tick for tick in ticks if start <= tick.offset < end]
    return RecordChunk(
        "ticks", 0, start, end, [tick.symbol.encode() for tick in inside],
        [value_of(tick) for tick in inside], np.array([tick.offset for tick in inside], np.int64),
        np.array([tick.appended_us for tick in inside], np.int64), True,
    )  # fmt: skip


def value_of(tick: Tick) -> bytes:
    if tick.is_garbage:
        return b"no tick"
    price, size = (1.0, -1.0) if tick.price is None else (tick.price, tick.size)
    return orjson.dumps(
        {"broker": "B", "symbol": tick.symbol, "time": tick.time_us, "price": price, "size": size}
    )


@cache
def _decoder(skew_us: int, *, fold_case: bool) -> TickDecoder:
    settings = TICKS.model_copy(update={"fold_case": fold_case})
    return TickDecoder(settings, max_future_skew_us=skew_us)


def engine_rules(row: RulesRow) -> Rules:
    """What an engine is given of the rules."""
    return Rules(row.grace_us, row.inactive_after, late_policy=row.late_policy)


def _placed(time_us: int) -> int:
    """A time of the stretches, as if they followed each other at once, in its day."""
    turn = bisect_right(_TURNS_S, time_us // SECOND_US) - 1
    return time_us + _DAYS[min(max(turn, 0), len(_DAYS) - 1)] * DAY_US


@st.composite
def hours(draw: st.DrawFn) -> list[SessionRow]:
    """Sessions of four hours in as many days, most of it: some left out, ends moved."""
    found: list[SessionRow] = []
    date = 0
    for number, (open_s, close_s) in enumerate(pairwise(_TURNS_S)):
        date = max(date, _DAYS[number] + draw(st.sampled_from([0, 0, 1])))
        if draw(st.integers(0, 4)) == 0:
            continue
        # two sessions may not share a minute
        close_us = (close_s - draw(st.sampled_from([0, 0, 60, 90, 135]))) * SECOND_US
        open_us = (open_s + draw(st.sampled_from([0, 0, 0, 15, 60]))) * SECOND_US
        day_us = _DAYS[number] * DAY_US
        found.append(SessionRow("B", "", date, number, day_us + open_us, day_us + close_us))
    return draw(tolerant(found))


@st.composite
def logs(draw: st.DrawFn) -> Case:
    """Ticks of a few series that go forward in steps of seconds and minutes, mostly.

    One of them may be spelled in two ways: it hangs on the rules whether that is another.
    """
    names = draw(st.sampled_from([("ALPHA",), ("ALPHA", "BETA"), ("ALPHA", "Alpha")]))
    rows = {name: draw(hours()) for name in names}
    ticks: list[Tick] = []
    beats: list[Beat] = []
    clock = draw(st.integers(0, 20)) * MINUTE_US
    offset = beat_offset = appended_us = 0
    for _ in range(draw(st.integers(10, 60))):
        name = draw(st.sampled_from(sorted(rows)))
        offset += draw(st.sampled_from([1, 1, 1, 3]))
        clock += draw(st.sampled_from([1, 9, 20, 40, 60, 150, 420])) * SECOND_US
        if draw(st.integers(0, 4)) == 0:
            beat_offset += draw(st.integers(1, 2))
            minute = clock // MINUTE_US * MINUTE_US - draw(st.integers(1, 3)) * MINUTE_US
            barrier = max(0, offset - draw(st.sampled_from([0, 0, 1, 5])))
            minute = _placed(max(0, minute))
            beats.append(Beat(beat_offset, name, minute, barrier, _placed(clock)))
            continue
        back = draw(st.sampled_from([0, 0, 0, 0, 5, 70, 300, -3, -50])) * SECOND_US
        price = draw(st.integers(90, 110)) / 10
        size = draw(st.sampled_from([0.0, 1.0, 0.1, 0.3, 1e17, 3e-9]))
        garbage = draw(st.integers(0, 19)) == 0
        now_us = _placed(clock)
        # not tomorrow's: a stretch that ends goes on the next day
        time_us = min(_placed(max(0, clock - back)), now_us + 50 * SECOND_US)
        if rows[name] and draw(st.integers(0, 4)) == 0:
            time_us = draw(close_edges(rows[name], now_us))
            now_us = max(now_us, -(-time_us // 1_000) * 1_000)  # Kafka counts milliseconds
        appended_us = max(appended_us, now_us)  # append times do not go back
        ticks.append(Tick(offset, name, time_us, None if garbage else price, size, appended_us))
    end = offset + draw(st.integers(1, 3))
    return Case(rows, Rules(), ticks, beats, end)


@st.composite
def rules_rows(draw: st.DrawFn, policies: Sequence[str], *, folded: bool = True) -> RulesRow:
    """Rules of a worker; once names are kept in their case there is no way back."""
    return RulesRow(
        draw(st.sampled_from(_GRACES_US)), draw(st.sampled_from(_SKEWS_US)),
        cast("Any", draw(st.sampled_from(policies))), draw(st.integers(1, 3)),
        draw(st.booleans()), "tests", fold_case=folded and draw(st.integers(0, 3)) > 0,
    )  # fmt: skip


class Turn(NamedTuple):
    """Ticks that are applied, and what happens then.

    Attributes:
        end: ticks below are applied.
        starts_over: whether a worker that has to be started knows nothing of the schedule.
        then: ``flush``; ``schedule``, rows of it come; ``change``, the worker ends and another
            begins by other rules; ``killed``, the same before it has flushed, and rows come;
            ``nothing``.
        rules: of those who begin then, one after the other: all but the last come and go without a
            tick, but close what their grace has passed.
        rows: of the schedule.
    """

    end: int
    starts_over: bool
    then: str
    rules: Sequence[RulesRow] = ()
    rows: Rows = MappingProxyType({})


@dataclass(frozen=True)
class Script:
    """How a log is applied by workers that come and go.

    Attributes:
        rules: of the first worker.
        is_loaded: whether the schedule is there when it begins.
        turns: one after the other.
    """

    rules: RulesRow
    is_loaded: bool
    turns: Sequence[Turn]

    def play(
        self,
        case: Case,
        periods: Sequence[Period] = (),
        workers: type[Workers] | None = None,
        meanwhile: tuple[int, Callable[[Topics], None]] | None = None,
    ) -> Life:
        """Apply it.

        Args:
            case: the log.
            periods: of upper bars.
            workers: who does.
            meanwhile: a turn, and what is done to the topics while no worker runs before it.
        """
        schedule = ScheduleTopic(NameRule(self.rules.fold_case is True))
        store = Topics(periods=periods)
        if self.is_loaded:
            schedule.load(case.rows)
            schedule.read()
        life = (workers or Workers)(case, self.rules, schedule, store)
        for number, turn in enumerate(self.turns):
            if meanwhile is not None and number == meanwhile[0]:
                life.flush()
                life.change(life.rules)
                meanwhile[1](store)
            life.apply(turn.end, starts_over=turn.starts_over)
            schedule.now_us = max((t.time_us for t in case.ticks if t.offset < turn.end), default=0)
            self._then(turn, life)
        life.flush()
        return Life(case, life.rules, store, schedule, life)

    def _then(self, turn: Turn, life: Workers) -> None:
        if turn.then == "schedule":
            life.schedule.load(turn.rows)
            life.read_schedule()
        if turn.then in ("flush", "change"):
            life.flush()
        for number, rules in enumerate(turn.rules):
            if number:
                life.apply(turn.end, starts_over=turn.starts_over)
                life.flush()
            life.change(rules)
        if turn.then == "killed":
            life.schedule.load(turn.rows)


@st.composite
def scripts(draw: st.DrawFn, case: Case, policies: Sequence[str] = ("reject", "revise")) -> Script:
    """At any place rules or sessions change."""
    rules = first = draw(rules_rows(policies))
    is_loaded = draw(st.integers(0, 4)) > 0
    turns: list[Turn] = []
    for _, end in cuts(draw, 0, case.end):
        then = draw(st.sampled_from(["flush", "schedule", "schedule", "change", "change", "killed",
                                     "nothing", "nothing"]))  # fmt: skip
        begun: list[RulesRow] = []
        if then in ("change", "killed"):
            # what a killed one has not flushed is judged again, by the rules of the next
            for _ in range(1 + (then == "change" and draw(st.booleans()))):
                rules = _changed(draw, rules, policies)
                begun.append(rules)
        rows = _others(draw, case.rows) if then in ("schedule", "killed") else {}
        turns.append(Turn(end, draw(st.booleans()), then, begun, rows))
    return Script(first, is_loaded, turns)


@st.composite
def lives(
    draw: st.DrawFn,
    policies: Sequence[str] = ("reject", "revise"),
    periods: Sequence[Period] = (),
    workers: type[Workers] | None = None,
) -> Life:
    """A log, applied by workers that come and go; at any place rules or sessions change."""
    case = draw(logs())
    return draw(scripts(case, policies)).play(case, periods, workers)


@dataclass
class Workers:
    """The workers of one partition, one after the other."""

    case: Case
    rules: RulesRow
    schedule: ScheduleTopic
    store: Topics
    engine: PartitionMachine | None = None
    position: int = 0
    beat_position: int = 0
    max_series: int | None = None

    def apply(self, end: int, *, starts_over: bool) -> None:
        """Ticks up to an offset, and the heartbeats that may be used by then."""
        if self.engine is None:
            self.engine = self.started(starts_over=starts_over)
        beats = self.case.beats
        due = [at for at, beat in enumerate(beats) if beat.barrier <= end]
        # in log order: one whose barrier is not reached yet holds back those behind it
        given = [b for b in beats[: max(due, default=-1) + 1] if b.offset >= self.beat_position]
        deliver(self.engine, given)
        self.beat_position = max([self.beat_position, *(b.offset + 1 for b in given)])
        self.feed(self.engine, end)

    def feed(self, engine: PartitionMachine, end: int) -> None:
        """Ticks up to an offset, decoded by the rules."""
        chunk, rules = self.records(self.position, end), self.rules
        chunk.fetched_us = self.clock_us(end)
        decoder = _decoder(rules.max_future_skew_us, fold_case=rules.fold_case is True)
        columns = decoder.decode(chunk.values, chunk.timestamps_us, chunk.clock_us)
        while not engine.apply_ticks(chunk, columns, 0, at_end=False):
            self.flush()  # late ticks rewrote so many bars that others have their turn
        self.position = end

    def records(self, start: int, end: int) -> RecordChunk:
        """The records of [start, end) as a fetch brings them."""
        return records(self.case.ticks, start, end)

    def clock_us(self, end: int) -> int:
        """What the clock says when everything below an offset has been fetched."""
        return max((t.appended_us or 0 for t in self.case.ticks if t.offset < end), default=0) + 1

    def started(self, *, starts_over: bool) -> PartitionMachine:
        name_rule = NameRule(self.rules.fold_case is True)
        if starts_over or name_rule != self.schedule.name_rule:
            self.schedule.name_rule = name_rule
            self.schedule.start_over()
        else:
            self.schedule.read()  # it held another partition before
        engine, self.position, self.beat_position = self.store.restored(
            engine_rules(self.rules), self.schedule.provider, lambda _broker, _symbol: None,
            MachineOptions(
                self.store.periods, publish_off_session=self.rules.publish_off_session,
                judged_by=self.rules, max_series=self.max_series,
            ), book=self._book(),
        )  # fmt: skip
        return engine

    def _book(self) -> FinalsView:
        """What was written, as the local store has it."""
        book = FinalsView({})
        for period, rows in {MINUTE: self.store.finals, **self.store.uppers}.items():
            for value in standing(rows).values():
                book.put(period, decode_bar(value))
        return book

    def flush(self) -> None:
        """Write what there is."""
        if self.engine is not None:
            self.store.flush(self.engine)

    def read_schedule(self) -> None:
        """Rows of the schedule have come."""
        self.schedule.read()
        if self.engine is not None:
            self.engine.schedule_changed()

    def change(self, rules: RulesRow) -> None:
        """The worker ends, and another one begins by these rules."""
        self.rules, self.engine = rules, None


def standing(rows: Iterable[tuple[bytes | None, bytes | None]]) -> dict[bytes, bytes]:
    """The newest value of each key, without those that were withdrawn."""
    found: dict[bytes, bytes] = {}
    for key, value in rows:
        if key is not None and value is not None:
            found[key] = value
        else:
            found.pop(key or b"", None)
    return found


class WorkersByClock(Workers):
    """Those of a tick topic whose timestamps are the producers': as wrong as the tick, or none."""

    def records(self, start: int, end: int) -> RecordChunk:
        chunk = super().records(start, end)
        times = {tick.offset: tick.time_us for tick in self.case.ticks}
        said = [max(times[offset], 0) for offset in chunk.offsets.tolist()]
        kind = chunk.offsets % 3
        stamps = np.where(kind == 0, np.array(said, np.int64), chunk.timestamps_us)
        return replace(
            chunk, timestamps_us=np.where(kind == 1, -1, stamps).astype(np.int64), append_time=False
        )

    def clock_us(self, end: int) -> int:
        """Half a minute behind, so that a good many ticks are ahead of it."""
        return super().clock_us(end) - 30 * SECOND_US


def _changed(draw: Any, rules: RulesRow, policies: Sequence[str]) -> RulesRow:
    return cast("RulesRow", draw(rules_rows(policies, folded=rules.fold_case is True)))


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


def judged(
    life: Life, parts: list[tuple[int, int]] | None = None, wanted: Selection = EVERYTHING
) -> Outcome:
    """What verifying says of a life."""
    store = life.store
    return verdict(
        life.case, store.finals, store.rejected, store.series, parts or [(0, life.case.end)],
        {period: store.uppers[period] for period in store.periods if period in store.uppers},
        told=life.told, wanted=wanted,
    )  # fmt: skip


def differences(outcome: Outcome) -> list[object]:
    return [each for each in outcome.findings.kept if each.kind == "difference"]
