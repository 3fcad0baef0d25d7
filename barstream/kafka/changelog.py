"""A changelog: read in columns, and its end once the outcome of every transaction is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.errors import ReadingStalled
from barstream.kafka.clients import make_consumer, started_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.fetch_columns import ColumnarTopics, install

_FETCH_BYTES: Final = 4 << 20
_DECIDED_WITHIN_S: Final = 30.0
_SETTLE_S: Final = 0.05


def changelog_consumer(
    cluster: Cluster, places: Iterable[TopicPartition], fetch_bytes: int = _FETCH_BYTES
) -> AIOKafkaConsumer:
    """A consumer of committed changelog rows in columns, of no group."""
    install()
    return make_consumer(
        cluster,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=fetch_bytes,
        fetch_max_wait_ms=100,
        value_deserializer=ColumnarTopics({tp.topic for tp in places}),
    )


async def settled_ends(
    consumer: AIOKafkaConsumer,
    cluster: Cluster,
    places: list[TopicPartition],
    waiting: Callable[[Mapping[TopicPartition, int]], None],
) -> dict[TopicPartition, int]:
    """End offsets once the outcome of every transaction is in the log.

    A commit is acknowledged before its markers are in the partitions, and until they are a
    reader of committed records is given an end before it: after a broker was killed just then,
    a worker restored from there would apply ticks a second time.  Every writer has been fenced,
    so nothing new begins and the two ends meet.

    Raises:
        ReadingStalled: they do not.
    """
    async with started_consumer(cluster, committed=False) as raw:
        deadline = time.monotonic() + _DECIDED_WITHIN_S
        while True:
            written: dict[TopicPartition, int] = await raw.end_offsets(places)
            stable: dict[TopicPartition, int] = await consumer.end_offsets(places)
            undecided = {tp: stable[tp] for tp in places if stable[tp] < written[tp]}
            if not undecided:
                return stable
            if time.monotonic() > deadline:
                raise _hanging(undecided, written)
            waiting(written)
            await asyncio.sleep(_SETTLE_S)


async def decided(cluster: Cluster, places: list[TopicPartition]) -> None:
    """Wait until all that was committed to changelogs can be read; see `settled_ends`.

    Raises:
        ReadingStalled: a transaction does not end.
    """
    consumer = changelog_consumer(cluster, places)
    await consumer.start()
    try:
        await settled_ends(consumer, cluster, places, lambda _: None)
    finally:
        await consumer.stop()


def _hanging(
    stable: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> ReadingStalled:
    left = ", ".join(
        f"{tp.topic}[{tp.partition}] from offset {offset} to {ends[tp]}"
        for tp, offset in stable.items()
    )
    return ReadingStalled(
        f"the transactions in changelogs must be decided, but were not within "
        f"{_DECIDED_WITHIN_S:.0f} s: {left}; the brokers have lost track of one (seen after a "
        "broker was killed). End it with Kafka's own tool, on every topic of this application "
        "where it hangs: kafka-transactions.sh find-hanging, then abort. Should the local store "
        "then be ahead of its topic, move the data directory away: all is made again from Kafka"
    )
