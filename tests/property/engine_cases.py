"""Logs of a partition, generated: ticks, heartbeats with barriers, and ways of delivering them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
from hypothesis import strategies as st

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import Rejected, TickColumns
from barstream.kafka.flush import Flush
from barstream.kafka.offsets import Extent
from barstream.kafka.topics.outputs import OutputTopics
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.model.period import Period
from barstream.model.rejection import Reason
from barstream.partition.finals_view import FinalsView
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.partition.series_gate import PartitionOf
from barstream.rules.series import Rules
from barstream.runtime.flush import build_flush
from barstream.runtime.restored_state import restore_engine
from barstream.store.rocksdb import LocalPartition
from tests.property.test_batch_laws import NAMES, close_edges, schedules
from tests.reference.log import Event, LoggedHeartbeat, LoggedTick, applied, events
from tests.reference.series import MINUTE, PlainSeries

TOPICS = OutputTopics("ticks", "finals", "live", "rejected", "series", "seen")


class Tick(NamedTuple):
    """One record of the tick partition; a price of None makes it garbage, or an invalid tick.

    ``appended_us`` is its timestamp in Kafka, None the event time.
    """

    offset: int
    symbol: str
    time_us: int
    price: float | None
    size: float = 1.0
    appended_us: int | None = None

    @property
    def is_garbage(self) -> bool:
        """Whether it does not even say of which series it is."""
        return self.price is None and self.offset % 2 == 0

    @property
    def value(self) -> bytes:
        return repr(tuple(self)).encode()


class Beat(NamedTuple):
    """One record of the heartbeat partition; ``appended_us`` early makes it illegal."""

    offset: int
    symbol: str
    minute_us: int
    barrier: int
    appended_us: int


@dataclass
class Case:
    """A log and the rules it is read by; ``end`` is the end offset, control records included."""

    rows: dict[str, list[SessionRow]]
    rules: Rules
    ticks: list[Tick]
    beats: list[Beat]
    end: int

    def waits(self, beat: Beat) -> bool:
        """Whether a heartbeat waits for its barrier: by the clock alone its minute was over."""
        return beat.minute_us + MINUTE + self.rules.grace_us <= beat.appended_us

    def legal(self, beat: Beat) -> bool:
        """Whether it closes anything: also where a session has a close tolerance."""
        series = PlainSeries(self.rows[beat.symbol], 0, 0)
        return series.over(beat.minute_us) + self.rules.grace_us <= beat.appended_us

    @property
    def provider(self) -> MarketScheduleProvider:
        provider = MarketScheduleProvider()
        provider.swap(
            ScheduleIndex.build(
                replace(r, symbol=name) for name, rows in self.rows.items() for r in rows
            )
        )
        return provider

    def engine(self, periods: Sequence[Period] = ()) -> PartitionMachine:
        return PartitionMachine(
            0,
            self.rules,
            self.provider,
            lambda _broker, _symbol: None,
            MachineOptions(periods=periods),
        )

    def plain(self, delivered_at: Sequence[int] | None = None) -> dict[str, PlainSeries]:
        """The definition: each legal heartbeat closes at its barrier, those before it first.

        ``delivered_at[i]`` is the position at which heartbeat i arrived, if later.
        """
        series = {name: self.series(name) for name in self.rows}
        return series | applied(self.log(delivered_at), lambda tick: series[tick.symbol])

    def series(self, name: str) -> PlainSeries:
        """The definition of a series before its first event."""
        rules = self.rules
        return PlainSeries(
            self.rows[name],
            rules.grace_us,
            rules.inactive_after,
            revises=rules.late_policy == "revise",
        )

    def log(self, delivered_at: Sequence[int] | None = None) -> Iterator[Event]:
        """What happens in it, see `tests.reference.log`; garbage is left out."""
        ticks = [
            LoggedTick(tick.offset, tick.symbol, tick.time_us, tick.price, tick.size)
            for tick in self.ticks
            if tick.price is not None
        ]
        beats = [
            LoggedHeartbeat(
                beat.symbol, beat.minute_us, beat.barrier, beat.appended_us,
                delivered_at[i] if delivered_at else 0, self.legal(beat), beat.offset,
            )
            for i, beat in enumerate(self.beats)
            if self.waits(beat)
        ]  # fmt: skip
        return events(ticks, beats, self.end)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows = {name: draw(schedules()) for name in NAMES[: draw(st.integers(1, 3))]}
    end_us = max(row.close_us for part in rows.values() for row in part)
    grace = draw(st.sampled_from([0, 5_000_000, 60_000_000]))
    clock = draw(st.integers(0, end_us // 2))
    ticks: list[Tick] = []
    beats: list[Beat] = []
    offset = beat_offset = 0
    for _ in range(draw(st.integers(2, 40))):
        name = draw(st.sampled_from(sorted(rows)))
        offset += draw(st.sampled_from([1, 1, 1, 2, 4]))  # gaps: control and aborted records
        if draw(st.integers(0, 2)) == 0:
            beat_offset += draw(st.integers(1, 2))
            minute = clock // MINUTE * MINUTE - draw(st.integers(0, 3)) * MINUTE
            over = PlainSeries(rows[name], grace, 0).over(minute)
            due = draw(st.sampled_from([over, over, over, minute + MINUTE])) + grace
            early = draw(st.integers(0, 5)) == 0
            # sent by then: mostly the end there is, but two senders may be out of step
            barrier = max(0, offset - draw(st.sampled_from([0, 0, 1, 5])))
            beats.append(Beat(beat_offset, name, minute, barrier, due - 1 if early else due))
            continue
        clock += draw(st.sampled_from([0, 1, 1_000_000, 20_000_000, MINUTE, 7 * MINUTE]))
        back = draw(st.sampled_from([0, 0, 0, 1_000_000, 30_000_000, 3 * MINUTE]))
        time = max(0, clock - back)
        if draw(st.integers(0, 3)) == 0:
            time = draw(close_edges(rows[name], clock))
            clock = max(clock, time)
        price = draw(st.integers(-20, 110)) / 10  # also of a spread
        size = draw(st.sampled_from([0.0, 1.0, 0.1, 0.3, 1e17, 3e-9]))
        garbage = draw(st.integers(0, 9)) == 0
        ticks.append(Tick(offset, name, time, None if garbage else price, size))
    end = offset + draw(st.integers(1, 3))
    return Case(rows, Rules(grace, draw(st.integers(1, 3))), ticks, beats, end)


def cuts(draw: Callable[..., Any], start: int, end: int) -> list[tuple[int, int]]:
    """[start, end) as consecutive chunks, cut anywhere, also where there is no record."""
    inner = draw(st.lists(st.integers(start + 1, max(start + 1, end - 1)), max_size=8))
    at = sorted({start, end, *(cut for cut in inner if start < cut < end)})
    return list(pairwise(at))


def chunk(
    ticks: Iterable[Tick], start: int, end: int, *, appended_us: int | None = None
) -> tuple[RecordChunk, TickColumns]:
    """The chunk [start, end) and its decoded columns; all appended at one time, if it is given."""
    inside = [tick for tick in ticks if start <= tick.offset < end]
    stamps = [tick.time_us if tick.appended_us is None else tick.appended_us for tick in inside]
    if appended_us is not None:
        stamps = [appended_us] * len(inside)
    good = [i for i, tick in enumerate(inside) if tick.price is not None]
    names = sorted({inside[i].symbol for i in good})
    columns = TickColumns(
        np.array([names.index(inside[i].symbol) for i in good], np.int32),
        [("B", name) for name in names],
        np.array([inside[i].time_us for i in good], np.int64),
        np.array([inside[i].price for i in good], np.float64),
        np.array([inside[i].size for i in good], np.float64),
        None if len(good) == len(inside) else np.array(good, np.intp),
        [
            Rejected(i, Reason.INVALID, "not a tick")
            for i, tick in enumerate(inside)
            if tick.price is None
        ],
    )
    records = RecordChunk(
        "ticks", 0, start, end, [tick.symbol.encode() for tick in inside],
        [tick.value for tick in inside], np.array([t.offset for t in inside], np.int64),
        np.array(stamps, np.int64), True,
    )  # fmt: skip
    return records, columns


def feed(engine: PartitionMachine, ticks: Iterable[Tick], start: int, end: int) -> None:
    engine.apply_ticks(*chunk(ticks, start, end), 0, at_end=False)


def deliver(engine: PartitionMachine, beats: Iterable[Beat]) -> None:
    """Heartbeats in log order, as the worker hands them over: one chunk a call."""
    for beat in beats:
        engine.add_heartbeat(
            QueuedHeartbeat(
                beat.offset, "B", beat.symbol, beat.minute_us, beat.barrier, beat.appended_us
            )
        )
        engine.heartbeats_read(beat.offset + 1)


@dataclass
class Store:
    """What the transactions of a partition have left in Kafka."""

    finals: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    live: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    rejected: list[tuple[bytes | None, bytes | None, dict[str, bytes]]] = field(
        default_factory=list
    )
    seen: list[bytes | None] = field(default_factory=list)
    series: dict[bytes, bytes] = field(default_factory=dict)

    def flush(self, engine: PartitionMachine) -> None:
        """Write what ``engine`` has, as one flush does."""
        self.keep(build_flush(engine.take(), engine.state, 0, TOPICS, None))

    def keep(self, flush: Flush) -> None:
        """The rows of a flush."""
        for (topic, _), some in flush.rows.items():
            for row in some:
                if topic == "finals":
                    self.finals.append((row.key, row.value))
                elif topic == "live":
                    self.live.append((row.key, row.value))
                elif topic == "rejected":
                    self.rejected.append((row.key, row.value, dict(row.headers)))
                elif topic == "seen":
                    self.seen.append(row.value)
                else:
                    self.series[row.key or b""] = row.value or b""

    def restored(
        self,
        rules: Rules,
        provider: MarketScheduleProvider,
        partition_of: PartitionOf,
        options: MachineOptions = MachineOptions(),  # noqa: B008  it is frozen
        book: FinalsView | None = None,
    ) -> tuple[PartitionMachine, int, int]:
        """A new engine from the rows, and the offsets of ticks and heartbeats to go on at."""
        engine = PartitionMachine(0, rules, provider, partition_of, options, book=book)
        engine.state.use_schedule(provider.index)
        rows = cast("LocalPartition", self.series)  # what is asked of it, a dict has
        start = restore_engine(engine, rows, "ticks", None, Extent(0, 1 << 40), Extent(0, 1 << 40))
        return engine, start.ticks, start.heartbeats


def finals_of(engine: PartitionMachine) -> dict[str, list[Any]]:
    """Finals not written yet, by symbol."""
    found: dict[str, list[Any]] = {}
    for bar in engine.take().finals:
        found.setdefault(bar.symbol, []).append(bar)
    return found
