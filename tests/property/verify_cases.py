"""What an engine wrote, given to `barstream.verify` as if it had been read from Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import polars as pl

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.rules import RulesRow, decode_rules, is_rules_key
from barstream.codecs.topics.state import POSITION_KEY, decode_position, decode_series
from barstream.codecs.topics.withdrawal import decode_withdrawal, is_withdrawal_key
from barstream.kafka.topics.outputs import OutputTopics
from barstream.log import heartbeats as heartbeats_history
from barstream.log import rejections as rejected_history
from barstream.log.finals import frame_of
from barstream.log.rules import Regime, Regimes
from barstream.log.schedule import ScheduleRecord
from barstream.log.selection import Selection
from barstream.log.series import PartitionRows, SeriesRow
from barstream.log.snapshot import Span
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.model.period import Period
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import NEVER_US, Rules
from barstream.runtime.flush import build_flush
from barstream.verify.graces import Graces
from barstream.verify.hours import AlwaysOpenHours, HoursIndex
from barstream.verify.judgement import JudgedBy, Judgement, Snapshot
from barstream.verify.proof import Heartbeats
from barstream.verify.published_bars import PublishedReading
from barstream.verify.rejection_comparison import Refusals
from barstream.verify.rollups import in_order
from barstream.verify.schedule_changes import ScheduleChanges
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.task import Outcome
from barstream.verify.tick_class import Judge
from tests.property.engine_cases import Beat, Tick, chunk

Row = tuple[bytes | None, bytes | None]
Parts = Iterable[tuple[RecordChunk, TickColumns]]


class Begins(NamedTuple):
    """First offsets that retention has left."""

    ticks: int = 0
    beats: int = 0
    rejected: int = 0


ALL_THERE = Begins()
EVERYTHING = Selection()


@dataclass(frozen=True)
class Told:
    """A log that says by which rules it was judged.

    Attributes:
        records: of the schedule's topic.
        now: the rules of the settings.
        decoded: by the regimes, what a range of the tick topic holds.
    """

    records: Sequence[ScheduleRecord]
    now: RulesRow
    decoded: Callable[[Regimes[Any], int, int], Parts]


class Logged(Protocol):
    """A log, the rules and the hours it is read by."""

    rules: Rules
    ticks: list[Tick]
    beats: list[Beat]
    end: int

    @property
    def provider(self) -> MarketScheduleProvider: ...


def verdict(
    case: Logged,
    finals: Sequence[Row],
    rejected: Iterable[tuple[bytes | None, bytes | None, dict[str, bytes]]],
    series: dict[bytes, bytes],
    parts: Sequence[tuple[int, int]],
    uppers: dict[Period, Sequence[Row]] | None = None,
    begins: Begins = ALL_THERE,
    told: Told | None = None,
    wanted: Selection = EVERYTHING,
) -> Outcome:
    """What verifying says of the rows an engine left behind.

    Args:
        told: what the log says of the rules; None: nothing.
        wanted: series and time.
    """
    numbers, outcome = SeriesNumbers(), Outcome()
    rows = series_rows(series)
    position = 0 if rows.position is None else rows.position.next_offset
    names = [*rows.series]
    for name in names:
        numbers.number(name)
    regimes = _regimes(case, rows, told)
    graces = Graces.in_force(regimes)
    published = _published(finals, numbers, outcome, "1m", wanted)
    judge = Judge(0, numbers, wanted, regimes, {})
    snapshot = Snapshot(
        partition=0, series=numbers, rows=rows, rows_now=PartitionRows(), position=position,
        published=published,
        uppers={
            period: _published(some, numbers, outcome, period.timeframe, wanted)
            for period, some in (uppers or {}).items()
        },
        refusals=Refusals(_since(_refused(rejected), begins.rejected), 0, begins.rejected),
        beats=Heartbeats(
            _since(beats_of(case.beats), begins.beats), graces, begins.beats, judge,
            withdrawn=rows.withdrawn(0),
        ),
        judge=judge,
        changes=ScheduleChanges([] if told is None else told.records, 0, regimes),
        ticks=Span(begins.ticks, case.end),
    )  # fmt: skip
    judgement = Judgement(
        snapshot,
        JudgedBy(graces, regimes, wanted),
        outcome,
        block=1,  # each part is compared by itself
    )
    end = judgement.span().end
    for start, stop in parts:
        low, high = max(start, begins.ticks), min(stop, end)
        if low >= high:
            continue
        for part in (
            [chunk(case.ticks, low, high)] if told is None else told.decoded(regimes, low, high)
        ):
            judgement.take(*part)
    judgement.finish()
    return outcome


def rules_row(rules: Rules) -> RulesRow:
    """The rules as a row of the log says them."""
    return RulesRow(
        rules.grace_us, 0, rules.late_policy, rules.inactive_after, False, "tests", fold_case=True
    )


def untold() -> Regimes[HoursIndex]:
    """Of a market that never closes, and a log that does not say by which rules it was judged."""
    index: HoursIndex = AlwaysOpenHours()
    return Regimes([Regime(0, 0, rules_row(Rules()), index, is_told=False)], index)


def _regimes(case: Logged, rows: PartitionRows, told: Told | None) -> Regimes[HoursIndex]:
    if told is not None:
        return Regimes.made_by(HoursIndex(), AlwaysOpenHours(), rows.rules, told.records, told.now)
    index = hours_of(case.provider.index)
    return Regimes([Regime(0, 0, rules_row(case.rules), index, is_told=False)], index)


def hours_of(index: ScheduleIndex) -> HoursIndex:
    """What verifying makes of the rows of an index."""
    if index.always_open:
        return AlwaysOpenHours()
    rows_of: dict[tuple[str, str], list[SessionRow]] = {}
    for name in index.series():
        schedule = index.for_series(*name)
        assert schedule is not None
        rows_of[name] = [
            SessionRow(
                *name, each.trading_date, each.number, each.open_us, each.close_us,
                each.close_tolerance_us,
            )
            for each in schedule.sessions_between(-(1 << 60), 1 << 60)
        ]  # fmt: skip
    return HoursIndex().updated(rows_of)


def _since(rows: pl.DataFrame, begin: int) -> pl.DataFrame:
    return rows.filter(pl.col("offset") >= begin)


def _published(
    rows: Sequence[Row], numbers: SeriesNumbers, outcome: Outcome, name: str, wanted: Selection
) -> Any:
    reading, upto = PublishedReading(wanted), replace(wanted, from_us=None)
    asked = [rows[at] for at in upto.positions([key for key, _ in rows])]
    if asked:
        reading.add(versions(asked, name))
    return reading.published(Span(0, len(rows)), 0, numbers, outcome.findings, name)


def versions(rows: Sequence[Row], name: str = "finals") -> pl.DataFrame:
    """Rows of a topic of finals as they are read."""
    records = RecordChunk(
        name, 0, 0, len(rows), [key for key, _ in rows], [value for _, value in rows],
        np.arange(len(rows)), np.zeros(len(rows), np.int64), True,
    )  # fmt: skip
    return frame_of(records, list(range(len(rows))))


def series_rows(series: dict[bytes, bytes]) -> PartitionRows:
    found = PartitionRows()
    for key, value in series.items():
        if key == POSITION_KEY:
            found.position = decode_position(value)
            continue
        if is_rules_key(key):
            found.rules.append(decode_rules(key, value))
            continue
        if is_withdrawal_key(key):
            withdrawal = decode_withdrawal(key, value)
            found.withdrawals[withdrawal.name] = withdrawal
            continue
        row = decode_series(value)
        closed_us = row["closed_until"]
        found.series[row["broker"], row["symbol"]] = SeriesRow(
            row["broker"], row["symbol"], None if closed_us == NEVER_US else closed_us,
            row["watermark"], row["previous_close"], row["first_tick"],
            row["last_trading_date"], row["since_timely"], (),
        )  # fmt: skip
    found.rules.sort(key=lambda each: each.key)
    return found


@dataclass
class Written:
    """What flushes of an engine with upper bars left in each topic."""

    periods: Sequence[Period]
    rows: dict[str, list[Any]] = field(default_factory=dict)

    def flush(self, engine: PartitionMachine) -> None:
        """Write what ``engine`` has."""
        topics = OutputTopics(
            "ticks", "finals", "live", "rejected", "series", "seen",
            {period: str(period) for period in self.periods},
        )  # fmt: skip
        for (topic, _), rows in build_flush(
            engine.take(), engine.state, 0, topics, None
        ).rows.items():
            self.rows.setdefault(topic, []).extend(rows)

    def verdict(self, case: Logged, parts: Sequence[tuple[int, int]]) -> Outcome:
        """What verifying says of it."""
        return verdict(
            case,
            [(row.key, row.value) for row in self.rows.get("finals", [])],
            [(row.key, row.value, dict(row.headers)) for row in self.rows.get("rejected", [])],
            {row.key: row.value for row in self.rows.get("series", [])},
            parts,
            {
                period: [(row.key, row.value) for row in self.rows.get(str(period), [])]
                for period in in_order(self.periods)
            },
        )


def _refused(
    rows: Iterable[tuple[bytes | None, bytes | None, dict[str, bytes]]],
) -> pl.DataFrame:
    found = [
        (
            0,
            at,
            0,
            int(headers.get("partition", b"0")),
            int(headers["offset"]),
            headers["reason"].decode(),
            "",
        )
        for at, (_, _, headers) in enumerate(rows)
    ]
    return pl.DataFrame(found, schema=cast("Any", rejected_history.SCHEMA), orient="row")


def beats_of(beats: Sequence[Beat]) -> pl.DataFrame:
    found = [
        (0, b.offset, b.appended_us, "B", b.symbol, b.minute_us, b.barrier, 0, "planner")
        for b in beats
    ]
    return pl.DataFrame(found, schema=cast("Any", heartbeats_history.SCHEMA), orient="row")
