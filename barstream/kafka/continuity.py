"""Whether a log still holds what was read of it.

Offsets do not tell: a partition that lost its tail (an unclean leader election, a power failure
without a second replica) grows over the same offsets again, with other records.  The batch that
was read last is looked up instead: it is what it was, or compaction or retention has taken it, or
another one stands in its place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.batch_mark import (
    UNKNOWN,
    BatchMark,
    FoundBatch,
    found_of,
    is_another,
)
from barstream.errors import ReadingStalled, TailLost
from barstream.kafka.clients import make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.fetch_columns import ColumnarTopics, install
from barstream.kafka.offsets import ANEW, extents_of

_FOUND_WITHIN_S: Final = 30.0
_STOP_WITHIN_S: Final = 5.0
_POLL_MS: Final = 200


class _Lookup:
    """Batches by offset.

    Args:
        consumer: started, of records of any kind, in columns.
        wanted: what it unpacks them with.
    """

    def __init__(self, consumer: AIOKafkaConsumer, wanted: ColumnarTopics) -> None:
        self._consumer = consumer
        self._wanted = wanted

    async def at(
        self, places: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, FoundBatch | None]:
        """The first batch that ends behind each of ``places``; None: it has no header.

        Left out are those whose offset the partition does not hold.

        Raises:
            ReadingStalled: the brokers do not give them.
        """
        consumer = self._consumer
        held = await extents_of(consumer, places)
        asked = {tp: at for tp, at in places.items() if held[tp].begin <= at < held[tp].end}
        found: dict[TopicPartition, FoundBatch | None] = {}
        if not asked:
            return found
        # a fetch brings as much as its bytes allow, and of that one batch is wanted
        self._wanted.ends = {tp: at + 1 for tp, at in asked.items()}
        consumer.assign(list(asked))
        for tp, at in asked.items():
            consumer.seek(tp, at)
        deadline = time.monotonic() + _FOUND_WITHIN_S
        while len(found) < len(asked):
            left = [tp for tp in asked if tp not in found]
            for tp, records in (await consumer.getmany(*left, timeout_ms=_POLL_MS)).items():
                chunk: RecordChunk = records[0].value
                found[tp] = found_of(chunk.headers[0]) if chunk.headers else None
                consumer.pause(tp)
            if len(found) < len(asked) and time.monotonic() > deadline:
                raise ReadingStalled(_unanswered(asked, found))
        return found


@asynccontextmanager
async def _lookup(cluster: Cluster, topics: Collection[str]) -> AsyncIterator[_Lookup]:
    install()
    wanted = ColumnarTopics(topics, passes_too_large=True)
    consumer = make_consumer(
        cluster,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
        value_deserializer=wanted,
        committed=False,
    )
    try:
        await consumer.start()
        yield _Lookup(consumer, wanted)
    finally:
        # without a broker it waits without end
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_WITHIN_S):
                await consumer.stop()


async def replaced(
    cluster: Cluster, marks: Mapping[TopicPartition, BatchMark]
) -> set[TopicPartition]:
    """The partitions in which another batch stands in the place of the one that was read.

    Args:
        cluster: where the topics are.
        marks: of the batches that were read.

    Raises:
        ReadingStalled: the brokers do not give them.
        KafkaError: no broker answered.
    """
    if not marks:
        return set()
    async with _lookup(cluster, {tp.topic for tp in marks}) as lookup:
        found = await lookup.at({tp: mark.base_offset for tp, mark in marks.items()})
    return {tp for tp, batch in found.items() if batch is not None and is_another(marks[tp], batch)}


async def check_continued(
    cluster: Cluster, topic: str, read: Mapping[int, tuple[int, BatchMark]]
) -> None:
    """Refuse to go on where other ticks stand in the place of those that were applied.

    Args:
        cluster: where the topics are.
        topic: of the ticks.
        read: by partition the first offset not applied, and the batch that holds the one before.

    Raises:
        TailLost: they do.
        ReadingStalled: the brokers do not tell.
    """
    places = {TopicPartition(topic, partition): mark for partition, (_, mark) in read.items()}
    for tp in sorted(await replaced(cluster, places)):
        position, mark = read[tp.partition]
        first = await _first_replaced(cluster, tp, mark)
        raise TailLost(
            f"{topic}[{tp.partition}] must hold what was applied up to offset {position - 1}, but "
            f"from offset {first} on it holds other records: Kafka lost {position - first} offsets "
            "that were applied (an unclean leader election, or a power failure without a second "
            "replica) and has grown over them since. The bars of the lost ticks stand, and of what "
            "took their place nothing is applied. Which bars that are: `barstream replay --suffix "
            f"lost --partition {tp.partition} --from-offset {first} --anew`. {ANEW}"
        )


async def _first_replaced(cluster: Cluster, tp: TopicPartition, mark: BatchMark) -> int:
    """The offset from which on a partition is another one; leader epochs only rise."""
    high = mark.base_offset
    if mark.leader_epoch == UNKNOWN:
        return high
    async with _lookup(cluster, {tp.topic}) as lookup:
        low = (await lookup._consumer.beginning_offsets([tp]))[tp]
        while low < high:
            middle = (low + high) // 2
            batch = (await lookup.at({tp: middle})).get(tp)
            if batch is None or batch.mark.leader_epoch > mark.leader_epoch:
                high = middle if batch is None else max(low, min(middle, batch.mark.base_offset))
            else:
                low = batch.next_offset
    return high


def _unanswered(
    asked: Mapping[TopicPartition, int], found: Mapping[TopicPartition, FoundBatch | None]
) -> str:
    left = ", ".join(
        f"{tp.topic}[{tp.partition}] at offset {at}" for tp, at in asked.items() if tp not in found
    )
    return (
        f"what was read last must be looked up before it is gone on from, but for "
        f"{_FOUND_WITHIN_S:.0f} s the brokers gave nothing of {left}; look at the leaders of these "
        "partitions"
    )
