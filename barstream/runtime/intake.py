"""What comes out of Kafka, into the engine of its partition."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from barstream.codecs.record_chunk import RecordChunk
from barstream.errors import LostChunk
from barstream.metrics import Metrics
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.runtime.assignment import Assignment
from barstream.runtime.partition_task import PartitionTask
from barstream.runtime.spellings import Spellings

if TYPE_CHECKING:
    from barstream.codecs.ticks.decoder import TickColumns, TickDecoder

log = logging.getLogger(__name__)

_LOOK_AGAIN_S: Final = 0.2
#: Series whose ticks stray are named in so many lines, whatever producers make up.
_MOST_STRAYS: Final = 100


class ReadControl(Protocol):
    """The consumer, as far as the engine steers it."""

    def stop(self, topic: str, partition: int) -> None:
        """Fetch no more of a partition; what was fetched already may be dropped."""
        ...

    async def resume(self, topic: str, partition: int, offset: int) -> None:
        """Fetch it again from ``offset``."""
        ...

    def goes_on(self, chunk: RecordChunk) -> bool:
        """Whether ``chunk`` was fetched since its partition was last told where to go on."""
        ...


class Intake:
    """Takes the events of the agents; those fetched under another assignment are left alone.

    Args:
        partitions: the partitions held.
        decoder: ticks from bytes, started.
        reading: stops and resumes the reading of a partition.
        metrics: numbers of this worker.
        spellings: told of names that differ in case alone.
    """

    def __init__(
        self,
        partitions: Assignment,
        decoder: TickDecoder,
        reading: ReadControl,
        metrics: Metrics,
        spellings: Spellings,
    ) -> None:
        self._partitions = partitions
        self._decoder = decoder
        self._reading = reading
        self._metrics = metrics
        self._spellings = spellings
        self._resuming: set[asyncio.Task[None]] = set()
        self._strays_told: set[tuple[str, str]] = set()
        self._full_told: set[int] = set()

    async def on_ticks(self, event: Any) -> None:
        """Decode and apply one chunk of ticks; its event is acknowledged when it is flushed."""
        chunk: RecordChunk = event.value
        if self._partitions.owner(event) is None or not self._reading.goes_on(chunk):
            return
        if missing := self._decoder.missing_schema_ids(chunk.values):
            await self._decoder.fetch_schemas(missing)
        columns = self._decoder.decode(
            chunk.values, chunk.timestamps_us, chunk.clock_us, chunk.too_large_at
        )
        if respelled := self._decoder.take_respelled():
            self._spellings.folded(respelled)
        owned = self._partitions.owner(event)
        if owned is None:
            return
        if not await self._continues(owned, chunk):
            await self._send_back(event, owned)
            return
        if self._partitions.owner(event) is not owned:
            return
        while not owned.engine.apply_ticks(chunk, columns, chunk.fetched_us, at_end=chunk.at_end):
            owned.wake()
            await owned.room()
            await asyncio.sleep(0)
            if self._partitions.owner(event) is not owned:
                return
        if owned.engine.gate.unscheduled:
            self._spellings.unscheduled(owned.engine.gate.unscheduled)
        self._tell_strays(owned)
        self._tell_full(owned)
        self._show_delay(chunk, columns, owned)
        # up to 64 events a partition wait when nothing can be written, megabytes each
        chunk.mark_applied()
        owned.applied(event)
        await owned.room()

    async def _continues(self, owned: PartitionTask, chunk: RecordChunk) -> bool:
        """Whether a chunk goes on with the very log that was applied so far; else it is read again.

        Raises:
            TicksGone: the topic no longer holds what comes next.
            TailLost: it holds something else of what was applied.
        """
        position, last = owned.engine.position, owned.engine.last_batch
        if position is None:
            return True
        is_elsewhere = chunk.start != position
        if is_elsewhere:
            # seldom harmless: a topic made again, or cut, sends its readers somewhere else
            await self._partitions.monitor.check(owned.partition, position)
        if last is not None and (is_elsewhere or not chunk.comes_after(last)):
            # another leader, or the one of before after a failure: it may have lost what it had
            await self._partitions.check_last({owned.partition: (position, last)})
        return chunk.start >= position

    async def _send_back(self, event: Any, owned: PartitionTask) -> None:
        """Have the reader go on where the log that was applied goes on."""
        chunk: RecordChunk = event.value
        position = owned.engine.position or 0
        if self._partitions.owner(event) is not owned:
            return
        log.warning(
            "what was read last is where it was, but the reader was sent to another place, and "
            "goes on from the position: partition=%d offset=%d position=%d",
            owned.partition, chunk.start, position,
        )  # fmt: skip
        try:
            await self._reading.resume(chunk.topic, owned.partition, position)
        except Exception:
            if self._partitions.owner(event) is owned:
                raise  # else another assignment reads on by its own position

    def _tell_strays(self, owned: PartitionTask) -> None:
        """Say once for each series that its ticks come in a second partition."""
        for series, home in owned.engine.gate.strays.items():
            if series not in self._strays_told and len(self._strays_told) < _MOST_STRAYS:
                self._strays_told.add(series)
                log.warning(
                    "ticks of %s come in partition %d and are rejected, because its home is "
                    "partition %d, where it was seen first: all producers of a series need the "
                    "same key and partitioner",
                    " ".join(series),
                    owned.partition,
                    home,
                )

    def _tell_full(self, owned: PartitionTask) -> None:
        """Say once of a partition that it takes no other series, when one comes."""
        other, partition = owned.engine.gate.one_too_many, owned.partition
        if other is not None and partition not in self._full_told:
            self._full_told.add(partition)
            log.warning(
                "ticks of %s and of every other new series are rejected as too_many_series: "
                "partition %d has as many as bars.max_series allows; drop those that are garbage "
                "(barstream series drop --asleep-for), or raise it",
                " ".join(other),
                partition,
            )

    def _show_delay(self, chunk: RecordChunk, columns: TickColumns, owned: PartitionTask) -> None:
        """Append time less event time of the newest tick: what `feed_delay` should cover."""
        if chunk.append_time and len(columns):
            at = -1 if columns.index is None else int(columns.index[-1])
            delay_us = int(chunk.timestamps_us[at]) - int(columns.time_us[-1])
            broker, symbol = columns.names[int(columns.series[-1])]
            if owned.engine.state.get(broker, symbol) is None:
                return  # rejected; a number for each name that garbage spells would have no end
            self._metrics.event_delay.labels(broker).set(delay_us / 1e6)

    def on_heartbeats(self, event: Any) -> None:
        """Take one chunk of heartbeats; they close what they may and wait with the rest."""
        owned = self._partitions.owner(event)
        chunk: RecordChunk = event.value
        if owned is None or not self._reading.goes_on(chunk):
            return
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
        ignored: list[tuple[int, ValueError]] = []
        for offset, key, value, stamp in zip(
            chunk.offsets.tolist(), chunk.keys, chunk.values, stamps, strict=True
        ):
            if offset in chunk.too_large:
                ignored.append((offset, ValueError(chunk.too_large[offset])))
                continue
            if offset < expected or value is None:
                continue
            if engine.waiting.is_full:
                engine.heartbeats_read(offset)
                if engine.waiting.is_full:
                    self._ignore(ignored, owned.partition)
                    self._stop_reading(event, owned)
                    return
            try:
                appended_us = stamp if chunk.append_time else None
                beat = QueuedHeartbeat.decode(offset, key, value, appended_us)
            except ValueError as error:
                ignored.append((offset, error))
                continue
            engine.add_heartbeat(beat)
        self._ignore(ignored, owned.partition)
        engine.heartbeats_read(max(chunk.next_offset, expected))
        chunk.mark_applied()
        owned.applied(event)

    def _ignore(self, ignored: list[tuple[int, ValueError]], partition: int) -> None:
        """Count records that are no heartbeats; one line of log for all that came together."""
        if ignored:
            self._metrics.heartbeats_undecodable.inc(len(ignored))
            offset, error = ignored[0]
            log.warning(
                "no heartbeats, ignored: partition=%d count=%d first_offset=%d error=%s",
                partition, len(ignored), offset, error,
            )  # fmt: skip

    def _stop_reading(self, event: Any, owned: PartitionTask) -> None:
        """Read no more heartbeats until ticks have released half of those that wait."""
        waiting = owned.engine.waiting
        waiting.stopped = True
        self._reading.stop(self._partitions.settings.heartbeat_topic, owned.partition)
        log.warning(
            "too many heartbeats wait for ticks, reading them stops: partition=%d offset=%d",
            owned.partition,
            waiting.next_offset,
        )
        task = asyncio.create_task(self._resume_reading(event, owned))
        self._resuming.add(task)
        task.add_done_callback(self._resuming.discard)

    async def _resume_reading(self, event: Any, owned: PartitionTask) -> None:
        waiting = owned.engine.waiting
        while not waiting.has_room:
            await asyncio.sleep(_LOOK_AGAIN_S)
            if self._partitions.owner(event) is not owned:
                return  # another assignment starts anew from the position row
        topic = self._partitions.settings.heartbeat_topic
        try:
            await self._reading.resume(topic, owned.partition, waiting.next_offset)
        except Exception as error:
            if self._partitions.owner(event) is not owned:
                return
            log.exception("heartbeats cannot be read on: partition=%d", owned.partition)
            await self._partitions.crash(error)
            return
        waiting.stopped = False
