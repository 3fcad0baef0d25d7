"""What is already known of the series a file holds: where they are seen, what is closed.

A file whose ticks lie in minutes that are closed would be rejected tick by tick as late;
``ticks load`` finds that out before it sends anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from barstream.codecs.topics.series_seen import apply_row
from barstream.errors import BarstreamError
from barstream.kafka.clients import KafkaConsumer, TopicPartition, make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.offsets import extents_of
from barstream.kafka.topic_follower import TopicFollower
from barstream.market.universe import SeriesName, Universe
from barstream.model.key import split_bar_key
from barstream.model.time import MINUTE_US

TAIL_RECORDS: Final = 100_000
"""Records from the end of a partition that are looked at: series_seen knows the rest."""
READ_WITHIN_S: Final = 60.0


class TailUnreadableError(BarstreamError):
    """The end of a topic could not be read in time: check the broker, then try again."""


async def read_universe(cluster: Cluster, topic: str) -> Universe:
    """Every row of ``series_seen``.

    Raises:
        TopicMissingError: run ``barstream topics create``.
        BrokerUnreachableError: no broker answers.
    """
    universe = Universe()

    def take(key: bytes | None, value: bytes | None, *_: int) -> None:
        apply_row(universe, key, value)

    async with TopicFollower(
        topic, take, cluster=cluster, connect_timeout_s=READ_WITHIN_S
    ) as reader:
        await reader.caught_up()
    return universe


async def newest_minutes(
    cluster: Cluster, topics: Iterable[str], partitions: Iterable[int]
) -> dict[SeriesName, int]:
    """Newest bucket of each series among the last records of ``topics``, keyed like bars.

    What a tombstone withdrew does not count.

    Finals tell what is closed; heartbeats also what will be once a worker reads them.

    Raises:
        TailUnreadableError: the records did not come.
    """
    numbers, topics = sorted(set(partitions)), list(topics)
    assigned = [TopicPartition(topic, number) for topic in topics for number in numbers]
    standing: dict[str, set[bytes]] = {topic: set() for topic in topics}
    consumer = make_consumer(cluster)
    async with consumer:
        consumer.assign(assigned)
        held = await extents_of(consumer, assigned)
        for partition, extent in held.items():
            consumer.seek(partition, max(extent.begin, extent.end - TAIL_RECORDS))
        ends = {partition: extent.end for partition, extent in held.items()}
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                while not await _arrived(consumer, ends):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        for record in records:
                            _take(standing[record.topic], record.key, record.value)
        except TimeoutError as error:
            named = ", ".join(sorted({tp.topic for tp in assigned}))
            raise TailUnreadableError(
                f"the end of {named} must be readable to know what is closed; it was not within "
                f"{READ_WITHIN_S:.0f} s: check the broker"
            ) from error
    return _newest(key for keys in standing.values() for key in keys)


async def _arrived(consumer: KafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    for partition, end in ends.items():
        if await consumer.position(partition) < end:
            return False
    return True


def _take(standing: set[bytes], key: bytes | None, value: bytes | None) -> None:
    if value is None:
        standing.discard(key or b"")
    else:
        standing.add(key or b"")


def _newest(keys: Iterable[bytes]) -> dict[SeriesName, int]:
    found: dict[SeriesName, int] = {}
    for key in keys:
        try:
            broker, symbol, minute_us = split_bar_key(key)
        except ValueError:  # not ours: the topic's owner reports it
            continue
        name = (broker, symbol)
        found[name] = max(found.get(name, minute_us), minute_us)
    return found


def closed_until(universe: Universe, newest: Mapping[SeriesName, int]) -> dict[SeriesName, int]:
    """The instant before which the minutes of each series are closed, or about to be."""
    closed = {row.name: row.closed_until_us for row in universe.rows()}
    for name, minute_us in newest.items():
        closed[name] = max(closed.get(name, minute_us), minute_us + MINUTE_US)
    return closed
