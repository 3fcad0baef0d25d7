"""What a topic holds, and whether it still holds what comes next."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from barstream.errors import ReadingStalled, TicksGone
from barstream.kafka.clients import make_consumer, started_consumer
from barstream.kafka.cluster import Cluster

_ANSWER_WITHIN_S: Final = 10.0
#: How aiokafka says that a partition is not known, or has no leader.
_NONE: Final = (None, -1)
#: What mends it.
ANEW: Final = (
    "To start over on what the topic holds now, set another BARSTREAM_APP_ID, "
    "BARSTREAM_DATA_DIR, BARSTREAM_TOPICS__BASE, BARSTREAM_TOPICS__HEARTBEATS, "
    "BARSTREAM_TOPICS__TICKS_REJECTED and BARSTREAM_TOPICS__SERIES_SEEN (what is in these names "
    "offsets of the old one), run `barstream topics create`, then the workers"
)
START_OVER: Final = f"The bars up to there stand. {ANEW}"


class Extent(NamedTuple):
    """Offsets of a partition: [``begin``, ``end``), uncommitted records included."""

    begin: int
    end: int


@contextmanager
def offsets_required(
    consumer: AIOKafkaConsumer, places: Collection[TopicPartition]
) -> Iterator[None]:
    """Where the brokers do not tell offsets in time, the error says which, and what is to be done.

    Raises:
        ReadingStalled: they did not.
    """
    try:
        yield
    except (KafkaTimeoutError, TimeoutError) as error:
        found = leaderless(consumer, places)
        which = f" (without a leader: {', '.join(found)})" if found else ""
        raise ReadingStalled(
            f"the offsets of {', '.join(sorted({tp.topic for tp in places}))} must be known, but "
            f"the brokers did not tell them in time{which}: look at the brokers, then run this "
            "again; a worker stops, and goes on when it is started again"
        ) from error


async def extents_of(
    consumer: AIOKafkaConsumer, places: Collection[TopicPartition]
) -> dict[TopicPartition, Extent]:
    """The extent of each of ``places``, as a started consumer is shown it.

    Raises:
        ReadingStalled: no answer in time.
    """
    with offsets_required(consumer, places):
        begins = await consumer.beginning_offsets(list(places))
        ends = await consumer.end_offsets(list(places))
    return {tp: Extent(begins[tp], ends[tp]) for tp in places}


def leaderless(consumer: AIOKafkaConsumer, places: Iterable[TopicPartition]) -> list[str]:
    """Those of ``places`` that nobody leads, as far as the client knows."""
    leader_of = consumer._client.cluster.leader_for_partition
    return [f"{tp.topic}[{tp.partition}]" for tp in places if leader_of(tp) in _NONE]


async def extents(cluster: Cluster, topic: str, partitions: Collection[int]) -> dict[int, Extent]:
    """The extent of each of ``partitions``.

    Raises:
        ReadingStalled: no answer in time.
    """
    if not partitions:
        return {}
    async with started_consumer(cluster, committed=False) as consumer:
        found = await extents_of(consumer, [TopicPartition(topic, each) for each in partitions])
    return {tp.partition: extent for tp, extent in found.items()}


async def ends_of(
    cluster: Cluster, places: Collection[TopicPartition], *, committed: bool = False
) -> dict[TopicPartition, int]:
    """End offset of each of ``places``; of ``committed`` records, or of all.

    Raises:
        ReadingStalled: no answer in time: a client that was cut off may ask the old connection
            for very long.
    """
    consumer = make_consumer(cluster, committed=committed)
    try:
        with offsets_required(consumer, places):
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await consumer.start()
                ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
    finally:
        await consumer.stop()
    return ends


def check_identity(topic: str, known: str | None, found: str | None) -> None:
    """Refuse to go on with another topic of the same name; None: no identity is known.

    Raises:
        TicksGone: the topic was deleted and made again.
    """
    if known is not None and found is not None and known != found:
        raise TicksGone(
            f"{topic} must be the topic {known} that was applied so far, but it is {found}: the "
            f"topic was deleted and made again. {START_OVER}"
        )


def check_position(topic: str, partition: int, position: int, found: Extent) -> None:
    """Refuse to go on where ticks are missing.

    Raises:
        TicksGone: the topic ends before ``position`` (lost, or made again) or begins after it.
    """
    if position > found.end:
        raise TicksGone(
            f"{topic}[{partition}] must go on at offset {position}, but it ends at {found.end}: "
            "Kafka lost what was behind that, or the topic was deleted and made again. "
            f"{START_OVER}"
        )
    if position < found.begin:
        raise TicksGone(
            f"{topic}[{partition}] must go on at offset {position}, but it begins at "
            f"{found.begin}: {found.begin - position} offsets were deleted before they were "
            "applied (retention shorter than the outage). The bars up to there stand. To go on "
            "without those ticks, set another BARSTREAM_APP_ID and BARSTREAM_DATA_DIR, run "
            "`barstream topics create`, then the workers; load the ticks again if you have them"
        )
