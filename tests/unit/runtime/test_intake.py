"""A worker that is hours behind does not keep hours of heartbeats in memory, and loses none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.heartbeat import HeartbeatRecord, encode
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.metrics import Metrics
from barstream.model.key import FOLDED
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.intake import Intake
from barstream.runtime.spellings import Spellings

MINUTE = 60_000_000
SPELLINGS = Spellings(FOLDED, ScheduleIndex, Metrics())


@dataclass
class Held:
    """A partition held, as far as heartbeats go."""

    engine: PartitionMachine
    partition: int = 0
    acked: int = 0

    def applied(self, _event: object) -> None:
        self.acked += 1


@dataclass
class Consumer:
    """Says which offset it was told to read from again."""

    stopped: bool = False
    resumed_at: list[int] = field(default_factory=list)
    resumed: asyncio.Event = field(default_factory=asyncio.Event)
    before: set[int] = field(default_factory=set)

    def stop(self, _topic: str, _partition: int) -> None:
        self.stopped = True

    async def resume(self, _topic: str, _partition: int, offset: int) -> None:
        self.stopped = False
        self.resumed_at.append(offset)
        self.resumed.set()

    def goes_on(self, chunk: RecordChunk) -> bool:
        return chunk.seek not in self.before


def beats(start: int, count: int) -> Any:
    """An event with heartbeats at offsets from ``start``; the one at offset k waits for tick k."""
    offsets = np.arange(start, start + count, dtype=np.int64)
    records = [HeartbeatRecord("B", "X", at * MINUTE, at, 0, "planner") for at in offsets.tolist()]
    keys, values = [record.key for record in records], list(map(encode, records))
    return SimpleNamespace(
        value=RecordChunk(
            "hb_1m", 0, start, start + count, list(keys), list(values), offsets,
            np.full(count, 1 << 55), True,
        )
    )  # fmt: skip


def test_a_series_whose_ticks_come_in_a_second_partition_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def home(_broker: str, symbol: str) -> int | None:
        return 3 if symbol.startswith("STRAY") else None

    engine = PartitionMachine(0, Rules(), MarketScheduleProvider.always_open(), home)
    intake = Intake(cast("Any", None), cast("Any", None), Consumer(), Metrics(), SPELLINGS)
    for start, symbol in enumerate(["HOME", "STRAY", "STRAY", "STRAY2"]):
        at = np.array([start], np.int64)
        chunk = RecordChunk("ticks", 0, start, start + 1, [None], [None], at, at, True)
        columns = TickColumns(
            np.zeros(1, np.int32), [("B", symbol)], at, np.ones(1), np.ones(1), None, []
        )
        assert engine.apply_ticks(chunk, columns, 0, at_end=False)
        intake._tell_strays(cast("Any", Held(engine)))
    said = [record.getMessage().partition(" and are")[0] for record in caplog.records]
    assert said == [f"ticks of B {name} come in partition 0" for name in ("STRAY", "STRAY2")]
    assert all("home is partition 3" in record.getMessage() for record in caplog.records)


def test_reading_stops_when_too_many_wait_and_goes_on_from_the_first_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barstream.partition.heartbeat_queue.FULL", 10)

    async def run() -> None:
        engine = PartitionMachine(
            0, Rules(), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None
        )
        engine.position = 0
        held, consumer = Held(engine), Consumer()
        partitions = SimpleNamespace(
            owner=lambda _event: held, settings=SimpleNamespace(heartbeat_topic="hb_1m")
        )
        intake = Intake(cast("Any", partitions), cast("Any", None), consumer, Metrics(), SPELLINGS)
        intake.on_heartbeats(beats(0, 30))
        # the one for tick 0 is released at once, ten wait
        assert (consumer.stopped, len(engine.waiting), engine.waiting.next_offset) == (True, 10, 11)
        intake.on_heartbeats(beats(30, 5))  # what was fetched before it stopped
        assert engine.waiting.next_offset == 11
        engine.position = 6
        engine.release()
        async with asyncio.timeout(5):
            await consumer.resumed.wait()
        assert (consumer.stopped, consumer.resumed_at) == (False, [11])
        intake.on_heartbeats(beats(11, 3))
        assert engine.waiting.next_offset == 14

    asyncio.run(run())


def test_heartbeats_fetched_before_a_seek_are_read_again_behind_it() -> None:
    """They would be taken for a gap, which ends the worker."""
    engine = PartitionMachine(
        0, Rules(), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None
    )
    engine.position = 0
    held, consumer = Held(engine), Consumer(before={0})
    partitions = SimpleNamespace(owner=lambda _event: held)
    intake = Intake(cast("Any", partitions), cast("Any", None), consumer, Metrics(), SPELLINGS)
    intake.on_heartbeats(beats(30, 5))
    assert (engine.waiting.next_offset, held.acked) == (0, 0)
    behind = beats(0, 5)
    behind.value.seek = 1
    intake.on_heartbeats(behind)
    assert (engine.waiting.next_offset, held.acked) == (5, 1)


class LostConsumer(Consumer):
    """Cannot be told to read on."""

    async def resume(self, _topic: str, _partition: int, offset: int) -> None:
        raise ConnectionError(f"cannot seek to {offset}")


@pytest.mark.parametrize("is_held", [True, False])
def test_heartbeats_that_cannot_be_read_on_end_the_worker_that_still_holds_them(
    monkeypatch: pytest.MonkeyPatch, *, is_held: bool
) -> None:
    monkeypatch.setattr("barstream.partition.heartbeat_queue.FULL", 10)

    async def run() -> list[str]:
        engine = PartitionMachine(
            0, Rules(), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None
        )
        engine.position = 0
        held, crashed = [Held(engine)], list[str]()

        async def crash(error: BaseException) -> None:
            crashed.append(str(error))

        partitions = SimpleNamespace(
            owner=lambda _event: held[0] if held else None, crash=crash,
            settings=SimpleNamespace(heartbeat_topic="hb_1m"),
        )  # fmt: skip
        intake = Intake(
            cast("Any", partitions), cast("Any", None), LostConsumer(), Metrics(), SPELLINGS
        )
        intake.on_heartbeats(beats(0, 30))
        engine.position = 30
        engine.release()
        if not is_held:
            held.clear()
        resuming = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        async with asyncio.timeout(5):
            await asyncio.gather(*resuming)
        return crashed

    assert asyncio.run(run()) == (["cannot seek to 11"] if is_held else [])


def test_heartbeats_that_need_not_wait_never_stop_the_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barstream.partition.heartbeat_queue.FULL", 10)
    engine = PartitionMachine(
        0, Rules(), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None
    )
    engine.position = 1000
    held, consumer = Held(engine), Consumer()
    partitions = SimpleNamespace(
        owner=lambda _event: held, settings=SimpleNamespace(heartbeat_topic="hb_1m")
    )
    intake = Intake(cast("Any", partitions), cast("Any", None), consumer, Metrics(), SPELLINGS)
    intake.on_heartbeats(beats(0, 500))
    assert (consumer.stopped, len(engine.waiting), held.acked) == (False, 0, 1)


class Decoder:
    """Each record is a tick of the symbol it names."""

    def missing_schema_ids(self, _values: Any) -> set[int]:
        return set()

    def decode(self, values: list[bytes], _stamps: Any, *_more: Any) -> TickColumns:
        count = len(values)
        return TickColumns(
            np.arange(count, dtype=np.int32), [(each.decode(), "X") for each in values],
            np.full(count, MINUTE), np.ones(count), np.ones(count), None, [],
        )  # fmt: skip

    def take_respelled(self) -> list[Any]:
        return []


@dataclass
class Applying(Held):
    """A partition that has room."""

    async def room(self) -> None:
        pass

    def wake(self) -> None:
        pass


def test_a_delay_is_shown_of_brokers_with_series_and_not_of_every_name_there_is() -> None:
    row = SessionRow("GOOD", "X", 0, 0, 0, 10 * MINUTE)
    provider = MarketScheduleProvider()
    provider.swap(ScheduleIndex.build([row]))
    engine = PartitionMachine(0, Rules(), provider, lambda _broker, _symbol: None)
    held = Applying(engine)
    partitions = SimpleNamespace(owner=lambda _event: held)
    metrics = Metrics()
    intake = Intake(cast("Any", partitions), cast("Any", Decoder()), Consumer(), metrics, SPELLINGS)
    for offset, broker in enumerate(["GARBAGE1", "GOOD", "GARBAGE2"]):
        chunk = RecordChunk(
            "ticks", 0, offset, offset + 1, [b"k"], [broker.encode()], np.array([offset]),
            np.array([2 * MINUTE]), append_time=True,
        )  # fmt: skip
        asyncio.run(intake.on_ticks(SimpleNamespace(value=chunk)))
    (shown,) = metrics.event_delay.collect()
    assert [(each.labels, each.value) for each in shown.samples] == [({"broker": "GOOD"}, 60.0)]


def test_ticks_fetched_before_a_seek_are_read_again_behind_it() -> None:
    """They would be taken for a gap, which ends the worker."""
    engine = PartitionMachine(
        0, Rules(), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None
    )
    engine.position = 1
    held = Applying(engine)
    partitions = SimpleNamespace(owner=lambda _event: held)
    intake = Intake(
        cast("Any", partitions), cast("Any", Decoder()), Consumer(before={0}), Metrics(), SPELLINGS
    )

    def ticks(offset: int, seek: int) -> Any:
        at = np.array([offset])
        return SimpleNamespace(
            value=RecordChunk(
                "ticks", 0, offset, offset + 1, [b"k"], [b"B"], at, at, append_time=True, seek=seek
            )
        )

    asyncio.run(intake.on_ticks(ticks(9, seek=0)))
    assert (engine.position, held.acked) == (1, 0)
    asyncio.run(intake.on_ticks(ticks(1, seek=1)))
    assert (engine.position, held.acked) == (2, 1)


def test_heartbeats_that_wait_share_the_names_of_their_series() -> None:
    # a hundred thousand may wait in each partition
    beats = [HeartbeatRecord("B", "a long name", at * MINUTE, 10, MINUTE, "t") for at in (1, 2)]
    one, other = (QueuedHeartbeat.decode(0, beat.key, encode(beat)) for beat in beats)
    assert one.symbol is other.symbol
    assert one.broker is other.broker
