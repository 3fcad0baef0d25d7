"""The tick partitions this worker holds: taken over, fed, flushed and given up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiokafka import TopicPartition

from barstream.core.schedule import MarketScheduleProvider
from barstream.core.state import NEVER_US, Rules
from barstream.core.universe import SeriesSeen, Universe
from barstream.engine.errors import LostChunk, ReadingStalled, TicksGone
from barstream.engine.finals import FinalsPartition
from barstream.engine.local import LocalPartition
from barstream.engine.offsets import extents
from barstream.engine.owned import OwnedPartition
from barstream.engine.partition import PartitionEngine
from barstream.engine.restore import restore
from barstream.engine.rows import OutputTopics
from barstream.engine.stall import StallWatch
from barstream.engine.starts import restore_engine
from barstream.engine.tally import Tally
from barstream.engine.transaction import PartitionProducer
from barstream.engine.waiting import Waiting
from barstream.engine.watch import TopicWatch
from barstream.metrics import Metrics
from barstream.transport.chunk import RecordChunk

if TYPE_CHECKING:
    from barstream.codecs.ticks import TickColumns, TickDecoder

log = logging.getLogger(__name__)

#: A fenced worker that sees no rebalance within this time does not know what it holds: it stops.
_FENCED_GRACE_S: Final = 60.0

Crash = Callable[[BaseException], Awaitable[None]]


class Reading(Protocol):
    """The consumer, as far as the engine steers it."""

    def stop(self, topic: str, partition: int) -> None:
        """Fetch no more of a partition; what was fetched already may be dropped."""
        ...

    async def resume(self, topic: str, partition: int, offset: int) -> None:
        """Fetch it again from ``offset``."""
        ...


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine needs of the settings, in its own units."""

    app_id: str
    rules: Rules
    live_interval_s: float
    publish_off_session: bool
    ticks_topic: str
    heartbeat_topic: str
    outputs: OutputTopics
    options: Mapping[str, Any]


class Partitions:
    """Everything between the agents and the partitions.

    Args:
        settings: see `EngineSettings`.
        stores: RocksDB store by table topic: the series table and the finals.
        decoder: ticks from bytes, started.
        provider: the market schedule.
        universe: where series of all partitions are seen.
        metrics: numbers of this worker.
        crash: ends the worker with an error.
        reading: stops and resumes the reading of a partition.
    """

    def __init__(
        self,
        settings: EngineSettings,
        stores: Mapping[str, Callable[[], Any]],
        decoder: TickDecoder,
        provider: MarketScheduleProvider,
        universe: Universe,
        metrics: Metrics,
        crash: Crash,
        reading: Reading,
    ) -> None:
        self.settings = settings
        self.generation = -1
        self.restoring = False
        self.rows_remaining = 0
        self.tally = Tally(metrics, settings.rules)
        self._stores = stores
        self._decoder = decoder
        self._provider = provider
        self._universe = universe
        universe.on_conflict(self._claimed_twice)
        self._metrics = metrics
        self._crash = crash
        self._reading = reading
        self._owned: dict[int, OwnedPartition] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._starts: dict[tuple[str, int], int] = {}
        self._watch = TopicWatch(settings.options, settings.ticks_topic)
        self._stalls = StallWatch(settings.options, settings.ticks_topic)
        self._watching: asyncio.Task[None] | None = None

    # --- assignment ---------------------------------------------------------------------------

    @property
    def owned(self) -> Mapping[int, OwnedPartition]:
        """The partitions held, by number."""
        return self._owned

    @property
    def start_positions(self) -> Mapping[tuple[str, int], int]:
        """Where to read on, by (topic, partition) of ticks and heartbeats."""
        return self._starts

    async def assign(self, partitions: Collection[int], generation: int) -> None:
        """Take over ``partitions``: fence, restore, and know where to read on.

        Raises:
            TicksGone: the tick topic does not hold what comes next.
            StateUnusable: a local store contradicts its changelog.
        """
        await self.revoke()
        self.generation = generation
        self.restoring = True
        try:
            await self._assign(sorted(partitions))
        finally:
            self.restoring = False
        self._metrics.partitions.set(len(self._owned))

    async def _assign(self, partitions: list[int]) -> None:
        settings = self.settings
        producers = {
            partition: PartitionProducer(settings.options, f"{settings.app_id}-{partition}")
            for partition in partitions
        }
        # first of all: from here on no one else can write to these partitions
        await asyncio.gather(*(producer.start() for producer in producers.values()))
        stores = {topic: store() for topic, store in self._stores.items()}
        tables = {
            partition: {
                topic: FinalsPartition(store, partition)
                if topic == settings.outputs.finals
                else LocalPartition(store, partition)
                for topic, store in stores.items()
            }
            for partition in partitions
        }
        places = {
            TopicPartition(topic, partition): place
            for partition, parts in tables.items()
            for topic, place in parts.items()
        }
        began = time.monotonic()
        rows = 0

        def progress(read: int, left: int) -> None:
            nonlocal rows
            rows += read
            self._metrics.restore_rows.inc(read)
            self.rows_remaining = left
            self._metrics.restore_remaining.set(left)

        await restore(settings.options, places, progress)
        log.info(
            "tables restored: partitions=%s rows=%d seconds=%.1f",
            partitions, rows, time.monotonic() - began,
        )  # fmt: skip
        await self._watch.identify()
        ticks = await extents(settings.options, settings.ticks_topic, partitions)
        beats = await extents(settings.options, settings.heartbeat_topic, partitions)
        self._starts = {}
        for partition in partitions:
            engine = PartitionEngine(
                partition,
                settings.rules,
                self._provider,
                self._home_of,
                publish_off_session=settings.publish_off_session,
            )
            engine.state.use_schedule(self._provider.index)
            rows_of = tables[partition][settings.outputs.series]
            start = restore_engine(
                engine, rows_of, settings.ticks_topic, self._watch.identity, ticks[partition],
                beats[partition],
            )  # fmt: skip
            self._starts[settings.ticks_topic, partition] = start.ticks
            self._starts[settings.heartbeat_topic, partition] = start.heartbeats
            owned = OwnedPartition(
                engine,
                producers[partition],
                tables[partition],
                settings.outputs,
                self.tally,
                settings.live_interval_s,
                self._watch.identity,
            )
            self._owned[partition] = owned
            self._tasks[partition] = asyncio.create_task(self._run(owned))
        self._watching = asyncio.create_task(self._watched())

    async def revoke(self) -> None:
        """Give up everything: wait for flushes under way, drop the memory."""
        watching, self._watching = self._watching, None
        if watching is not None and watching is not asyncio.current_task():
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        owned, self._owned = self._owned, {}
        tasks, self._tasks = self._tasks, {}
        await asyncio.gather(
            *(part.stop(tasks.get(partition)) for partition, part in owned.items())
        )
        for partition in owned:
            self._metrics.forget_partition(partition)
        self._metrics.partitions.set(0)

    async def _run(self, owned: OwnedPartition) -> None:
        try:
            await owned.run(self._fenced)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            log.exception("flush failed: partition=%d", owned.partition)
            await self._crash(error)

    async def _watched(self) -> None:
        try:
            async with asyncio.TaskGroup() as watches:
                watches.create_task(self._watch.run(self._reached))
                watches.create_task(self._stalls.run(self._positions))
        except* (TicksGone, ReadingStalled) as group:
            await self._crash(group.exceptions[0])

    def _positions(self) -> dict[int, int]:
        """By partition: the first offset not applied yet."""
        return {
            partition: owned.engine.position or 0
            for partition, owned in self._owned.items()
            if not owned.fenced
        }

    def _reached(self) -> dict[int, int]:
        """By partition: the end offset that the ticks applied, or a barrier, call for."""
        return {
            partition: max(owned.engine.position or 0, owned.engine.waiting.barrier() or 0)
            for partition, owned in self._owned.items()
        }

    async def _fenced(self, owned: OwnedPartition) -> None:
        """Another worker took over while this one was frozen or cut off: write nothing more."""
        log.warning(
            "another worker took the partition over, nothing was written: partition=%d",
            owned.partition,
        )
        generation = self.generation
        await asyncio.sleep(_FENCED_GRACE_S)
        if self.generation == generation and self._owned.get(owned.partition) is owned:
            await self._crash(
                LostChunk(
                    f"partition {owned.partition} was taken over by another worker and no "
                    f"rebalance followed within {_FENCED_GRACE_S:.0f} s: this worker stops"
                )
            )

    def _home_of(self, broker: str, symbol: str) -> int | None:
        """Where a series is at home: as everyone has read it, else as it was accepted here."""
        if (row := self._universe.get(broker, symbol)) is not None:
            return row.partition
        for owned in self._owned.values():
            series = owned.engine.state.get(broker, symbol)
            if series is not None and series.first_tick_us != NEVER_US:
                return owned.partition
        return None

    def _claimed_twice(self, kept: SeriesSeen) -> None:
        """A series was seen in a second partition: its home says so again, so that it lasts."""
        owned = self._owned.get(kept.partition)
        if owned is not None:
            owned.engine.outbox.show_again(kept.broker, kept.symbol)
            owned.wake()

    # --- input --------------------------------------------------------------------------------

    def _owner(self, event: Any) -> OwnedPartition | None:
        """The partition an event is for; None when it was fetched under another assignment."""
        if event.message.generation_id != self.generation:
            return None
        owned = self._owned.get(event.message.partition)
        return None if owned is None or owned.fenced else owned

    async def on_ticks(self, event: Any) -> None:
        """Decode and apply one chunk of ticks; its event is acknowledged when it is flushed."""
        if self._owner(event) is None:
            return
        chunk: RecordChunk = event.value
        if missing := self._decoder.missing_schema_ids(chunk.values):
            await self._decoder.fetch_schemas(missing)
        columns = self._decoder.decode(chunk.values, chunk.timestamps_us)
        self._show_delay(chunk, columns)
        owned = self._owner(event)
        if owned is None:
            return
        position = owned.engine.position
        if position is not None and chunk.start != position:
            # seldom harmless: a topic made again, or cut, sends its readers somewhere else
            await self._watch.check(owned.partition, position)
            if self._owner(event) is not owned:
                return
        while not owned.engine.apply_ticks(chunk, columns, chunk.fetched_us, at_end=chunk.at_end):
            owned.wake()
            await owned.room()
            if self._owner(event) is not owned:
                return
        owned.applied(event)
        waiting = owned.engine.waiting
        if waiting.stopped and waiting.has_room:
            await self._reading.resume(
                self.settings.heartbeat_topic, owned.partition, waiting.next_offset
            )
            waiting.stopped = False
        await owned.room()

    def _show_delay(self, chunk: RecordChunk, columns: TickColumns) -> None:
        """Append time less event time of the newest tick: what `feed_delay` should cover."""
        if chunk.append_time and len(columns):
            at = -1 if columns.index is None else int(columns.index[-1])
            delay_us = int(chunk.timestamps_us[at]) - int(columns.time_us[-1])
            broker, _ = columns.names[int(columns.series[-1])]
            self._metrics.event_delay.labels(broker).set(delay_us / 1e6)

    def on_heartbeats(self, event: Any) -> None:
        """Take one chunk of heartbeats; they close what they may and wait with the rest."""
        owned = self._owner(event)
        if owned is None:
            return
        chunk: RecordChunk = event.value
        engine = owned.engine
        expected = engine.waiting.next_offset
        if engine.waiting.stopped:
            return  # read again from where taking them stopped
        if chunk.start > expected:
            raise LostChunk(
                f"heartbeat partition {owned.partition} must go on at offset {expected}, "
                f"the next chunk starts at {chunk.start}: the worker starts again from there"
            )
        stamps = chunk.timestamps_us.tolist()
        for offset, value, stamp in zip(chunk.offsets.tolist(), chunk.values, stamps, strict=True):
            if offset < expected or value is None:
                continue
            if engine.waiting.is_full:
                engine.waiting.stopped = True
                engine.heartbeats_read(offset)
                self._reading.stop(self.settings.heartbeat_topic, owned.partition)
                log.warning(
                    "too many heartbeats wait for ticks, reading them stops: partition=%d "
                    "offset=%d",
                    owned.partition,
                    offset,
                )
                return
            try:
                beat = Waiting.decode(offset, value)
            except ValueError as error:
                self._metrics.heartbeats_undecodable.inc()
                log.warning(
                    "heartbeat ignored: %s partition=%d offset=%d", error, owned.partition, offset
                )
                continue
            engine.add_heartbeat(beat, stamp if chunk.append_time else None)
        engine.heartbeats_read(max(chunk.next_offset, expected))
        owned.applied(event)
