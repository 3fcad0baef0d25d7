"""Lives of a partition of which it is known what closed each bar and where each tick went.

The workers are taken through the log one tick and one heartbeat at a time; what an engine has to
write after each step came of that step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import encode as encode_heartbeat
from barstream.codecs.topics.rules import RulesRow
from barstream.config import Settings
from barstream.explain.topics import Log
from barstream.kafka.flush import Flush
from barstream.kafka.topics.names import TopicNames
from barstream.log.rules import Regimes
from barstream.market.schedule import ScheduleIndex
from barstream.model.bar import Bar
from barstream.model.key import NameRule, series_key
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import NEVER_US
from tests.memory_kafka import MemoryKafka
from tests.property.engine_cases import Tick, deliver
from tests.property.rules_cases import Life, Workers, records
from tests.property.verify_cases import series_rows

Minute = tuple[str, int]
"""Symbol and start."""


@dataclass
class Step:
    """One thing that happened, and what came of it.

    Attributes:
        by: ``watermark``, ``late_tick``, ``heartbeat`` or ``grace``.
        offset: of the tick or the heartbeat; of a grace, the tick offset it held from.
        placed_us: the time that decides the minute of the tick, by the sessions in force.
        verdict: where the tick went: ``accepted``, ``merged``, or why it was rejected.
        passed: minutes closed without a bar, and why: ``off_session``, ``unpriced``, ``asleep``.
    """

    by: str
    offset: int
    flush: Flush
    symbol: str = ""
    placed_us: int = 0
    verdict: str | None = None
    passed: dict[Minute, str] = field(default_factory=dict)
    appended_us: int = 0


@dataclass(frozen=True)
class Version:
    """One version of a final, and what made it."""

    by: str
    offset: int
    bar: Bar


@dataclass
class NarratedWorkers(Workers):
    """One thing after the other; what was not flushed when a worker is killed did not happen."""

    steps: list[Step] = field(default_factory=list)
    _pending: list[Step] = field(default_factory=list)
    _now_us: int = 0

    def apply(self, end: int, *, starts_over: bool) -> None:
        if self.engine is None:
            rows = series_rows(self.store.series).series.values()
            before = {row.symbol: row.closed_until_us or NEVER_US for row in rows}
            self.engine = self.started(starts_over=starts_over)
            self._note("grace", self.position, before)
        ticks = {tick.offset: tick for tick in self.case.ticks}
        last = max((at for at, b in enumerate(self.case.beats) if b.barrier <= end), default=-1)
        while self.position < end:
            self._deliver(self.engine, last, behind=False)
            before, at = _closed(self.engine), self.position
            self.feed(self.engine, at + 1)
            self._note("watermark", at, before, ticks.get(at))
        self._deliver(self.engine, last, behind=True)

    def _deliver(self, engine: PartitionMachine, last: int, *, behind: bool) -> None:
        """Heartbeats that may be used; every third comes late, and holds up those behind it."""
        for beat in self.case.beats[: last + 1]:
            if beat.offset < self.beat_position:
                continue
            if beat.barrier > self.position or (beat.offset % 3 == 0 and not behind):
                return
            before = _closed(engine)
            deliver(engine, [beat])
            self.beat_position = beat.offset + 1
            self._now_us = max(self._now_us, beat.appended_us)
            self._note("heartbeat", beat.offset, before)

    def _note(
        self, by: str, offset: int, before: Mapping[str, int], tick: Tick | None = None
    ) -> None:
        engine = self.engine
        assert engine is not None
        counts = engine.take_counts()
        step = Step(by, offset, self.store.flush_of(engine))
        if tick is not None:
            self._now_us = max(self._now_us, appended(tick))
            refused = next(iter(counts.rejected), None)
            step.by = "late_tick" if counts.revised else by
            taken = "merged" if counts.revised else "accepted"
            step.symbol, step.verdict = self.name_of(tick), str(refused) if refused else taken
            step.placed_us = placed_us(self.schedule.provider.index, step.symbol, tick.time_us)
        step.passed = _passed(engine, before, {(b.symbol, b.bucket_start_us) for b in made(step)})
        self._pending.append(step)

    def name_of(self, tick: Tick) -> str:
        """The symbol as the rules spell it."""
        return NameRule(self.rules.fold_case is True).normalise(tick.symbol)

    def flush(self) -> None:
        if self.engine is None:
            return
        for step in self._pending:
            step.appended_us = self._now_us
            self.store.keep(step.flush)
        self.steps += self._pending
        self._pending = []

    def read_schedule(self) -> None:
        before = {} if self.engine is None else _closed(self.engine)
        super().read_schedule()
        if self.engine is not None:
            self._note("schedule", self.position, before)

    def change(self, rules: RulesRow) -> None:
        self._pending = []
        super().change(rules)


def placed_us(index: ScheduleIndex, symbol: str, time_us: int) -> int:
    """Where a tick is placed: at its own time, or before the close whose tolerance lets it in."""
    schedule = index.for_series("B", symbol)
    for session in () if schedule is None else schedule.sessions_between(0, time_us + MINUTE_US):
        close_us = session.close_us
        if session.open_us <= time_us < close_us + session.close_tolerance_us:
            return min(time_us, close_us - 1)
    return time_us


def _closed(engine: PartitionMachine) -> dict[str, int]:
    state = engine.state
    return {each.symbol: int(state.closed_until_us[each.slot]) for each in state}


def _passed(
    engine: PartitionMachine, before: Mapping[str, int], bars: set[Minute]
) -> dict[Minute, str]:
    """Minutes that were closed since ``before`` and have no bar."""
    found: dict[Minute, str] = {}
    for series in engine.state:
        start_us = before.get(series.symbol, NEVER_US)
        if start_us == NEVER_US:
            start_us = series.first_tick_us // MINUTE_US * MINUTE_US
        end_us = int(engine.state.closed_until_us[series.slot])
        if start_us < 0 or end_us < 0:
            continue
        for minute_us in range(start_us, end_us, MINUTE_US):
            if (series.symbol, minute_us) in bars:
                continue
            schedule = series.schedule
            session = None
            if schedule is not None:
                session = next(schedule.sessions_between(minute_us, minute_us + MINUTE_US), None)
            why = "off_session" if session is None else "asleep"
            if why == "asleep" and minute_us < series.first_tick_us // MINUTE_US * MINUTE_US:
                why = "unpriced"
            found[series.symbol, minute_us] = why
    return found


def made(step: Step, topic: str = "finals") -> list[Bar]:
    """The bars a step made final or revised: minutes, or those of a longer period."""
    return [decode_bar(row.value or b"") for row in step.flush.rows.get((topic, 0), ())]


@dataclass
class Truth:
    """What is known of a life, by minute."""

    versions: dict[Minute, list[Version]] = field(default_factory=dict)
    uppers: dict[tuple[str, Minute], Bar] = field(default_factory=dict)
    ticks: dict[Minute, dict[int, str]] = field(default_factory=dict)
    passed: dict[Minute, str] = field(default_factory=dict)
    in_time: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, life: Life) -> Truth:
        truth, workers = cls(), life.workers
        assert isinstance(workers, NarratedWorkers)
        garbage = {tick.offset for tick in life.case.ticks if tick.is_garbage}
        times = {tick.offset: tick.time_us for tick in life.case.ticks}
        seen = {step.symbol for step in workers.steps if step.verdict in ("accepted", "merged")}
        for step in workers.steps:
            for bar in made(step):
                version = Version(step.by, step.offset, bar)
                truth.versions.setdefault((bar.symbol, bar.bucket_start_us), []).append(version)
            for period in map(str, life.store.periods):
                for bar in made(step, period):
                    truth.uppers[period, (bar.symbol, bar.bucket_start_us)] = bar
            truth.passed |= step.passed
            if step.verdict is not None and step.offset not in garbage:
                # of a series that nobody has seen, ticks are named by their own times
                at_us = step.placed_us if step.symbol in seen else times[step.offset]
                minute = step.symbol, at_us // MINUTE_US * MINUTE_US
                truth.ticks.setdefault(minute, {})[step.offset] = step.verdict
                if step.verdict == "accepted":
                    truth.in_time.setdefault(step.symbol, []).append((step.offset, minute[1]))
        applied = {step.offset for step in workers.steps if step.verdict is not None}
        rows = series_rows(life.store.series).rules
        regimes = Regimes.of(rows, life.schedule.records, life.rules)
        for tick in life.case.ticks:
            if tick.offset not in applied and not tick.is_garbage:
                regime, name = regimes.at(tick.offset), workers.name_of(tick)
                index = regime.index if regime.is_told else regimes.now
                at_us = placed_us(index, name, tick.time_us) if name in seen else tick.time_us
                minute = name, at_us // MINUTE_US * MINUTE_US
                verdict = "invalid" if tick.price is None else "waiting"
                truth.ticks.setdefault(minute, {})[tick.offset] = verdict
        return truth


def settings_of(life: Life) -> Settings:
    """Those the last worker has."""
    rules = life.rules
    return Settings.model_validate(
        {
            "ticks": {"format": "json", "time_unit": "us", "fold_case": rules.fold_case is True},
            "bars": {
                "grace_s": rules.grace_us / SECOND_US,
                "max_future_skew_s": rules.max_future_skew_us / SECOND_US,
                "late_policy": rules.late_policy,
                "inactive_after": rules.inactive_after,
                "publish_off_session": rules.publish_off_session,
                "timeframes": [str(period) for period in life.store.periods],
            },
        }
    )


def log_of(life: Life) -> tuple[Log, MemoryKafka]:
    """The topics such a life leaves behind, and a log that reads them."""
    settings, kafka = settings_of(life), MemoryKafka()
    names = TopicNames.of(settings)
    for name in names.by_logical().values():
        kafka.topic(name)
    case, ticks = life.case, kafka.topic(names.ticks)
    chunk = records(case.ticks, 0, case.end)
    for offset, stamp_us, tick, value in zip(
        chunk.offsets.tolist(), chunk.timestamps_us.tolist(), case.ticks, chunk.values, strict=True
    ):
        ticks.end = offset
        ticks.append(stamp_us // 1000, series_key("B", tick.symbol), value)
    ticks.end = case.end
    beats = kafka.topic(names.heartbeats)
    for beat in case.beats:
        beats.end = beat.offset
        record = HeartbeatRecord("B", beat.symbol, beat.minute_us, beat.barrier, 0, "planner")
        beats.append(beat.appended_us // 1000, record.key, encode_heartbeat(record))
    schedule = kafka.topic(names.market_schedule)
    for row in life.schedule.records:
        schedule.append(row.appended_us // 1000, row.key, row.value)
    _write_flushes(life, names, kafka)
    now_us = max(appended(tick) for tick in case.ticks) if case.ticks else 0
    return Log(settings, clock=lambda: now_us + 3_600 * SECOND_US), kafka


def appended(tick: Tick) -> int:
    """When it was appended, microseconds."""
    return tick.time_us if tick.appended_us is None else tick.appended_us


def _write_flushes(life: Life, names: TopicNames, kafka: MemoryKafka) -> None:
    workers = life.workers
    assert isinstance(workers, NarratedWorkers)
    topics = {
        "finals": names.final_1m, "live": names.live_1m, "rejected": names.ticks_rejected,
        "series": names.series, "seen": names.series_seen,
    }  # fmt: skip
    topics |= {str(period): names.rollups[period] for period in life.store.periods}
    for step in workers.steps:
        for (name, _), rows in step.flush.rows.items():
            topic = kafka.topic(topics[name])
            for key, value, headers in rows:
                said = [(k, names.ticks.encode() if k == "topic" else v) for k, v in headers]
                topic.append(step.appended_us // 1000, key, value, said)
            topic.end += 1  # the marker of the transaction
