"""The local tables of partitions that are taken over, as their changelogs are now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping

from barstream.kafka.clients import TopicPartition
from barstream.kafka.cluster import Cluster
from barstream.kafka.continuity import replaced
from barstream.metrics import Metrics
from barstream.runtime.restore import restore
from barstream.runtime.restore_progress import RestoreProgress
from barstream.store.rocksdb import LocalPartition
from barstream.store.tables import LocalStores, Tables

log = logging.getLogger(__name__)


def places_of(tables: Mapping[int, Tables]) -> dict[TopicPartition, LocalPartition]:
    """Local tables by the partition of their changelog."""
    return {
        TopicPartition(topic, partition): place
        for partition, parts in tables.items()
        for topic, place in parts.items()
    }


async def keep_continued(cluster: Cluster, stores: LocalStores, tables: dict[int, Tables]) -> None:
    """Begin tables anew that hold what their changelog has lost and grown over since.

    Raises:
        ReadingStalled: the brokers do not tell.
        KafkaError: no broker answered.
    """
    marks = {tp: mark for tp, place in places_of(tables).items() if (mark := place.last_batch())}
    for place in sorted(await replaced(cluster, marks)):
        stores.begin_anew(place)
        tables[place.partition] = stores.open(place.partition)


async def _opened(stores: LocalStores, partitions: Collection[int]) -> dict[int, Tables]:
    """Open several at a time: each database waits for the disk, and health is asked for meanwhile.

    Raises:
        StateUnusable: a local store cannot be opened.
    """
    opening = [asyncio.to_thread(stores.open, partition) for partition in partitions]
    # all of them, so that none is at work any more when it is said that one cannot be opened
    found = await asyncio.gather(*opening, return_exceptions=True)
    tables: dict[int, Tables] = {}
    for partition, opened in zip(partitions, found, strict=True):
        if isinstance(opened, BaseException):
            raise opened
        tables[partition] = opened
    return tables


async def restored(
    cluster: Cluster,
    stores: LocalStores,
    partitions: Collection[int],
    progress: RestoreProgress,
    metrics: Metrics,
) -> dict[int, Tables]:
    """Open the tables of ``partitions`` and read what they lack.

    Args:
        cluster: where the topics are.
        stores: where the tables are.
        partitions: every other writer to them has been fenced.
        progress: kept up to date.
        metrics: likewise.

    Raises:
        StateUnusable: a local store contradicts its changelog, or cannot be opened.
        ReadingStalled: a changelog cannot be read to its end.
    """
    tables = await _opened(stores, partitions)
    await keep_continued(cluster, stores, tables)
    places = places_of(tables)

    def advanced(rows: int) -> None:
        metrics.restore_rows.inc(rows)
        metrics.restore_remaining.set(progress.remaining)

    await restore(cluster, places, progress, advanced)
    metrics.restore_seconds.set(progress.seconds)
    log.debug(
        "tables restored: partitions=%s rows=%d seconds=%.1f",
        sorted(partitions), progress.rows, progress.seconds,
    )  # fmt: skip
    return tables
