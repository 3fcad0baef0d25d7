"""How far each file was loaded: a compacted topic, written with the ticks it counts.

Why a resumed load is exact.  Ticks, heartbeats and the position of a chunk are one Kafka
transaction, so they are all there or none is.  The transactional id is made from the load's
identity: starting its producer ends (commits or aborts) the transaction of a run that was
killed, and fences one that still runs.  Only after that is the position read, committed
records only, up to the end the topic had then, waiting out open transactions of other loads.
So the position found is that of the last committed chunk, and nothing after it is in Kafka.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from barstream.codecs.topics.load_position import LastTick, LoadPosition, decode
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    decode_withdrawal,
    withdrawal_key,
)
from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.kafka.clients import KafkaConsumer, TopicPartition, make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import admin_client
from barstream.kafka.offsets import extents_of, offsets_required
from barstream.kafka.topics.metadata import ensure_compacted
from barstream.market.schedule import Series
from barstream.model.topic_name import shorten

READ_WITHIN_S: Final = 120.0
"""Longer than a transaction of another load, left open by a kill, lives."""


class PositionUnknownError(BarstreamError):
    """The position of a load cannot be read, so going on could lose or double ticks.

    Mend what the message names, or load from the start with ``--again`` into topics that do
    not hold the file yet.
    """


async def ensure_topic(cluster: Cluster, topic: str, replication: int) -> None:
    """Create the position topic if there is none.

    Raises:
        PositionUnknownError: the broker refused.
    """
    if refused := await ensure_compacted(cluster, topic, replication):
        raise PositionUnknownError(
            f"topic {topic!r} is required to remember how far files are loaded; the broker "
            f"refused to create it: {refused}"
        )


def positions_topic(settings: Settings) -> str:
    """Its name; beside the topics of the plan, as only loads and drops read and write it."""
    return shorten(f"{settings.app_id}-load-positions")


@dataclass(frozen=True, slots=True)
class LoadRecords:
    """The newest record of each key of the topic of load positions."""

    topic: str
    by_key: Mapping[bytes, bytes]

    def position(self, load_id: str) -> LoadPosition | None:
        """How far a load has come; None: there was none.

        Raises:
            PositionUnknownError: the record is not a position.
        """
        found = self.by_key.get(load_id.encode())
        try:
            return None if found is None else decode(found)
        except ValueError as error:
            raise PositionUnknownError(
                f"topic {self.topic!r} holds no position: {error}"
            ) from error

    def withdrawn(self, position: LoadPosition, names: Iterable[Series]) -> list[Series]:
        """Of the series ``names`` of a load those that were dropped after its last tick.

        Raises:
            PositionUnknownError: a record is none of its kind.
        """
        found = []
        for name in names:
            row = self.withdrawal(name)
            if row is not None and any(
                0 <= last.offset < row.end(partition).ticks
                for partition, last in position.last_ticks.items()
            ):
                found.append(name)
        return found

    def withdrawal(self, name: Series) -> WithdrawalRow | None:
        """What is withdrawn of a series; None: it was never dropped.

        Raises:
            PositionUnknownError: the record is none of its kind.
        """
        key = withdrawal_key(*name)
        value = self.by_key.get(key)
        try:
            return None if value is None else decode_withdrawal(key, value)
        except ValueError as error:
            raise PositionUnknownError(
                f"topic {self.topic!r} holds no withdrawal of {' '.join(name)}: {error}"
            ) from error


async def load_records(settings: Settings) -> LoadRecords | None:
    """Those of all loads of an application; None: there was never one.

    Raises:
        PositionUnknownError: as `read_records`.
    """
    topic = positions_topic(settings)
    async with admin_client(settings) as admin:
        if topic not in await admin.list_topics():  # asking for its end could create it
            return None
    return await read_records(Cluster(settings), topic)


async def read_records(cluster: Cluster, topic: str) -> LoadRecords:
    """The newest committed records; of a load, call it when its producer has started.

    Raises:
        PositionUnknownError: an open transaction of another client did not end in time.
    """
    partition = TopicPartition(topic, 0)
    async with make_consumer(cluster, committed=False) as consumer:
        with offsets_required(consumer, [partition]):
            end = (await consumer.end_offsets([partition]))[partition]
    found: dict[bytes, bytes] = {}
    async with make_consumer(cluster) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                while await consumer.position(partition) < end:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        for record in records:
                            if record.key is not None and record.value is not None:
                                found[record.key] = record.value
        except TimeoutError as error:
            raise PositionUnknownError(
                f"the position must be read up to offset {end} of {topic!r}, which did "
                f"not happen within {READ_WITHIN_S:.0f} s: a transaction of another load is still "
                "open; try again"
            ) from error
    return LoadRecords(topic, found)


async def check_same_ticks(cluster: Cluster, position: LoadPosition) -> None:
    """Whether the ticks a position counts are still in the topic it was written for.

    Raises:
        PositionUnknownError: the topic was deleted and made again, or truncated.
    """
    wanted = {
        TopicPartition(position.ticks_topic, partition): last
        for partition, last in position.last_ticks.items()
        if last.offset >= 0
    }
    if not wanted:
        return
    async with make_consumer(cluster) as consumer:
        consumer.assign(list(wanted))
        held = await extents_of(consumer, wanted)
        for partition, last in wanted.items():
            if held[partition].begin > last.offset:
                continue  # deleted by retention, as any old tick
            if held[partition].end <= last.offset or not await _holds(consumer, partition, last):
                raise PositionUnknownError(
                    f"{position.file} was loaded up to tick {position.rows:,}, the newest of them "
                    f"at {partition.topic}[{partition.partition}] offset={last.offset}, but it is "
                    "not there: the topic was deleted and made again, or cut. Load the file from "
                    "the start with --again"
                )


async def _holds(consumer: KafkaConsumer, partition: TopicPartition, last: LastTick) -> bool:
    consumer.seek(partition, last.offset)
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            while await consumer.position(partition) <= last.offset:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(
                    partition, ()
                ):
                    if record.offset == last.offset:
                        return zlib.crc32(record.value or b"") == last.crc32
    except TimeoutError:
        return False
    return False
