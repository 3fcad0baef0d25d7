"""Warm copies of partitions that other workers hold.

One consumer follows the changelogs of all standby partitions of this worker and writes committed
rows to the same local tables the partition will be served from, in bulk and with the offset they
reach.  When the partition is assigned to this worker the follower has been stopped and waited
for, so that never two write to one store, and the restore reads what is missing since.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.batch_mark import BatchMark
from barstream.errors import ReadingStalled
from barstream.kafka.changelog import changelog_consumer
from barstream.kafka.clients import KafkaConsumer, KafkaError, TopicPartition
from barstream.kafka.cluster import Cluster
from barstream.kafka.continuity import replaced
from barstream.kafka.offsets import ends_of
from barstream.kafka.topic_monitor import Progress
from barstream.runtime.restore import check_not_ahead, rows_of
from barstream.runtime.table_restore import keep_continued, places_of
from barstream.store.finals import FinalsPartition
from barstream.store.rocksdb import LocalPartition
from barstream.store.tables import LocalStores, Tables

log = logging.getLogger(__name__)

#: Small: what is written at once keeps the partitions this worker serves waiting.
_FETCH_BYTES: Final = 256 << 10
_POLL_MS: Final = 500
_SETTLED_POLL_S: Final = 0.1
_AGAIN_S: Final = 5.0
_STOP_WITHIN_S: Final = 5.0
_LOOK_S: Final = 15.0
#: So many looks in a row a partition may stand still.
_STILL_LOOKS: Final = 3

Crash = Callable[[BaseException], Awaitable[None]]


class StandbyPartition:
    """The local tables of a partition another worker holds.

    Attributes:
        fenced: this worker does not follow it any more; nothing may be written for it.
    """

    def __init__(self, partition: int, tables: Tables) -> None:
        self.partition = partition
        self.tables = tables
        self.fenced = False

    @property
    def finals(self) -> dict[str, FinalsPartition]:
        """Local stores of the finals by topic, minutes first."""
        return {
            topic: table
            for topic, table in self.tables.items()
            if isinstance(table, FinalsPartition)
        }


class Standbys:
    """Follows the changelogs of the standby partitions of this worker.

    Args:
        cluster: where the topics are.
        stores: where the tables of a partition are.
        settled: whether the assignment under way is complete; nothing is followed before, so
            that a copy never delays what is served, and Faust has let go of what was revoked.
        crash: ends the worker with an error.
        look_s: how often the ends are asked for, to tell a follower that stands still.
    """

    def __init__(
        self,
        cluster: Cluster,
        stores: LocalStores,
        settled: Callable[[], bool],
        crash: Crash,
        look_s: float = _LOOK_S,
    ) -> None:
        self.rows = 0
        self.reopened = 0
        self._cluster = cluster
        self._stores = stores
        self._settled = settled
        self._crash = crash
        self._look_s = look_s
        self._held: dict[int, StandbyPartition] = {}
        self._task: asyncio.Task[None] | None = None
        #: First offset not written, and end offset when it was asked for last.
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}

    @property
    def held(self) -> Mapping[int, StandbyPartition]:
        """The partitions followed, by number."""
        return self._held

    @property
    def lag(self) -> Mapping[int, int]:
        """Changelog rows not copied yet, by partition; absent while its end is not known."""
        lags: Counter[int] = Counter()
        for tp, end in self._ends.items():
            lags[tp.partition] += max(0, end - self._positions[tp])
        return lags

    def start(self, partitions: Collection[int]) -> None:
        """Follow ``partitions``; the call before was stopped."""
        if partitions:
            self._task = asyncio.create_task(self._run(sorted(partitions)))

    async def stop(self) -> None:
        """Follow nothing any more; when this returns nothing is being written."""
        task, self._task = self._task, None
        for standby in self._held.values():
            standby.fenced = True
        if task is not None:
            task.cancel()
            # it writes between two awaits, so not any more; only its connection may take long to
            # close when no broker answers
            await asyncio.wait({task}, timeout=_STOP_WITHIN_S)
        self._held, self._positions, self._ends = {}, {}, {}

    async def _run(self, partitions: list[int]) -> None:
        try:
            while not self._settled():  # noqa: ASYNC110  Faust has no event for it
                await asyncio.sleep(_SETTLED_POLL_S)
            self._held = held = {
                partition: StandbyPartition(partition, self._stores.open(partition))
                for partition in partitions
            }
            log.debug("following as standby: partitions=%s", partitions)
            while not _is_over(held):
                error = await self._failure(held)
                self.reopened += 1
                log.warning("standby partitions are followed anew: %r", error)
                await asyncio.sleep(_AGAIN_S)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # a disk that fails here fails what is served, too
            log.exception("standby partitions cannot be followed")
            await self._crash(error)

    async def _failure(self, held: Mapping[int, StandbyPartition]) -> BaseException | None:
        """Follow until the brokers fail, and how they did; None when it is over."""
        try:
            await self._follow(held)
        except (KafkaError, TimeoutError, OSError, ReadingStalled) as error:
            return error
        except asyncio.CancelledError as error:
            # a client that loses its connection cancels what it was asked for: nobody would hear
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return error
        return None

    async def _follow(self, held: Mapping[int, StandbyPartition]) -> None:
        tables = {partition: standby.tables for partition, standby in held.items()}
        await keep_continued(self._cluster, self._stores, tables)
        if _is_over(held):
            return
        for partition, standby in held.items():
            standby.tables = tables[partition]
        places = places_of(tables)
        consumer = changelog_consumer(self._cluster, places, _FETCH_BYTES)
        try:
            await consumer.start()
            await self._begin(consumer, places)
            await self._copy(consumer, places, held)
        finally:
            # without a broker it waits without end
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_WITHIN_S):
                    await consumer.stop()

    async def _begin(
        self, consumer: KafkaConsumer, places: Mapping[TopicPartition, LocalPartition]
    ) -> None:
        # Those of uncommitted readers: a worker that held the partition has rows of a commit
        # whose marker a reader of committed records is not shown yet.
        ends = await ends_of(self._cluster, list(places))
        begins = await consumer.beginning_offsets(list(places))
        consumer.assign(list(places))
        for tp, place in places.items():
            offset = place.offset()
            check_not_ahead(tp, offset, ends[tp])
            start = max(begins[tp], 0 if offset is None else offset + 1)
            consumer.seek(tp, start)
            self._positions[tp] = start
        self._ends = ends

    async def _copy(
        self,
        consumer: KafkaConsumer,
        places: Mapping[TopicPartition, LocalPartition],
        held: Mapping[int, StandbyPartition],
    ) -> None:
        """Copy until it is stopped: a consumer that is being closed drops a cancellation."""
        still = Progress[TopicPartition](_STILL_LOOKS)
        look_at = time.monotonic() + self._look_s
        while not _is_over(held):
            for tp, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                for record in records:
                    if _is_over(held):
                        return
                    chunk: RecordChunk = record.value
                    check_place(chunk, self._positions[tp])
                    if not chunk.comes_after(last := places[tp].last_batch()):
                        await self._check_continued(tp, last)
                        if _is_over(held):
                            return
                    last_batch = chunk.last_batch(chunk.next_offset)
                    places[tp].write(rows_of(chunk), chunk.next_offset - 1, last_batch)
                    self._positions[tp] = chunk.next_offset
                    self._ends[tp] = max(self._ends[tp], chunk.next_offset)
                    self.rows += len(chunk)
                    await asyncio.sleep(0)
            if time.monotonic() >= look_at:
                ends = await ends_of(self._cluster, list(places), committed=True)
                if _is_over(held):
                    return
                self._ends = ends
                check_moves(still, self._positions, self._ends)
                look_at = time.monotonic() + self._look_s

    async def _check_continued(self, tp: TopicPartition, last: BatchMark | None) -> None:
        """After another leader took over: whether what was copied from the one before is there."""
        if last is not None and await replaced(self._cluster, {tp: last}):
            raise ReadingStalled(
                f"{tp.topic}[{tp.partition}] must hold what was copied of it, but Kafka has lost "
                "its tail and it has grown again: the copy is begun anew"
            )


def check_place(chunk: RecordChunk, position: int) -> None:
    """Refuse to copy what does not come next: a log that was cut sends its readers elsewhere.

    Raises:
        ReadingStalled: it does not.
    """
    if chunk.start != position:
        raise ReadingStalled(
            f"{chunk.topic}[{chunk.partition}] must go on at offset {position}, but what came "
            f"begins at {chunk.start}: Kafka has lost its tail, or deleted what comes next; the "
            "copy is looked at and begun anew"
        )


def _is_over(held: Mapping[int, StandbyPartition]) -> bool:
    return any(standby.fenced for standby in held.values())


def check_moves(
    still: Progress[TopicPartition],
    positions: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> None:
    """Notice a consumer that has gone quiet before the end of a partition.

    Raises:
        ReadingStalled: it has, for too long.
    """
    for tp in still.look(positions, ends):
        raise ReadingStalled(
            f"{tp.topic}[{tp.partition}] must be followed up to offset {ends[tp]}, but the "
            f"standby stands still at {positions[tp]}"
        )
