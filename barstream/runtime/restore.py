"""Reading changelogs back, in bulk, before Faust's own recovery looks.

Faust restores 8,500 to 12,500 rows a second and waits for ever on a changelog that ends in a
commit marker.  This reads what the local store lacks in columns, and leaves the persisted
offset at the end of the changelog, so that Faust finds nothing left to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from barstream.codecs.record_chunk import RecordChunk
from barstream.errors import ReadingStalled, StateUnusable
from barstream.kafka.changelog import changelog_consumer, settled_ends
from barstream.kafka.clients import KafkaConsumer, KafkaError, TopicPartition
from barstream.kafka.cluster import Cluster
from barstream.kafka.offsets import leaderless
from barstream.runtime.restore_progress import RestoreProgress, TableProgress
from barstream.store.rocksdb import LocalPartition

_POLL_MS: Final = 200
_STALLED_AFTER_S: Final = 60.0


async def restore(
    cluster: Cluster,
    places: Mapping[TopicPartition, LocalPartition],
    progress: RestoreProgress,
    advanced: Callable[[int], None],
    stalled_after_s: float = _STALLED_AFTER_S,
) -> None:
    """Bring each local partition up to the end its changelog has now.

    Only rows of committed transactions are read; the caller has fenced every other writer, so
    the end does not move.

    Args:
        cluster: where the topics are.
        places: local partition by changelog partition.
        progress: kept up to date.
        advanced: told after each fetch how many rows it brought.
        stalled_after_s: nothing for so long is a stall.

    Raises:
        StateUnusable: the local store is ahead of its changelog.
        ReadingStalled: a changelog gives nothing although its end is not reached, or its end
            cannot be learned.
    """
    if not places:
        return
    consumer = changelog_consumer(cluster, places)
    await consumer.start()
    try:
        try:
            ends = await settled_ends(
                consumer, cluster, list(places), partial(_expected, places, progress, advanced)
            )
            begins = await consumer.beginning_offsets(list(places))
        except (KafkaError, TimeoutError) as error:
            raise _unanswered(consumer, list(places), error) from error
        behind = _begin(consumer, places, begins, ends, progress)
        await _read(consumer, places, behind, progress, advanced, stalled_after_s)
    finally:
        await consumer.stop()
    _check_complete(places, ends)


def _expected(
    places: Mapping[TopicPartition, LocalPartition],
    progress: RestoreProgress,
    advanced: Callable[[int], None],
    ends: Mapping[TopicPartition, int],
) -> None:
    """Show what there is to be read also while it cannot be read yet."""
    for tp, place in places.items():
        offset = place.offset()
        start = 0 if offset is None else offset + 1
        progress.tables[tp] = TableProgress(start, max(start, ends[tp]), start)
    advanced(0)


def _begin(
    consumer: KafkaConsumer,
    places: Mapping[TopicPartition, LocalPartition],
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    progress: RestoreProgress,
) -> set[TopicPartition]:
    """Seek to what is missing; the partitions where anything is."""
    consumer.assign(list(places))
    behind: set[TopicPartition] = set()
    for tp, place in places.items():
        offset, end = place.offset(), ends[tp]
        check_not_ahead(tp, offset, end)
        start = max(begins[tp], 0 if offset is None else offset + 1)
        progress.tables[tp] = TableProgress(min(start, end), end, min(start, end))
        if start < end:
            consumer.seek(tp, start)
            behind.add(tp)
        elif end:
            # all that is left of it was deleted, or it is there already
            place.write((), end - 1, place.last_batch() if offset == end - 1 else None)
    consumer.pause(*(tp for tp in places if tp not in behind))
    return behind


def check_not_ahead(tp: TopicPartition, offset: int | None, end: int) -> None:
    """Refuse a local store that has what its changelog does not.

    Raises:
        StateUnusable: it has.
    """
    if offset is not None and offset >= end and offset >= 0:
        raise StateUnusable(
            f"the local store of {tp.topic}[{tp.partition}] must not be ahead of its topic, "
            f"found offset {offset} stored and end offset {end}: the topic was made again, or "
            "Kafka has lost committed records; find out which. Then stop the worker, move its data "
            "directory away and start it again: all is restored from what Kafka has"
        )


async def _read(
    consumer: KafkaConsumer,
    places: Mapping[TopicPartition, LocalPartition],
    behind: set[TopicPartition],
    progress: RestoreProgress,
    advanced: Callable[[int], None],
    stalled_after_s: float,
) -> None:
    moved_at = time.monotonic()
    while behind:
        fetched = await consumer.getmany(*behind, timeout_ms=_POLL_MS)
        rows = 0
        for tp, records in fetched.items():
            table = progress.tables[tp]
            for record in records:
                chunk: RecordChunk = record.value
                if chunk.start > table.position:
                    await check_not_skipped(consumer, tp, table.position, chunk.start)
                reached = min(chunk.next_offset, table.end)
                last_batch = chunk.last_batch(reached)
                places[tp].write(rows_of(chunk, table.end), reached - 1, last_batch)
                table.position = reached
                table.rows += len(chunk)
                rows += len(chunk)
            await asyncio.sleep(0)  # health is asked for meanwhile
        for tp in [tp for tp in behind if not progress.tables[tp].remaining]:
            behind.discard(tp)
            consumer.pause(tp)
        moved_at = time.monotonic() if fetched else moved_at
        if time.monotonic() - moved_at > stalled_after_s:
            raise _stalled(behind, progress, stalled_after_s)
        advanced(rows)


async def check_not_skipped(
    consumer: KafkaConsumer, tp: TopicPartition, position: int, start: int
) -> None:
    """What lies between two fetches must have been deleted, or rows were skipped.

    Raises:
        ReadingStalled: they were.
    """
    begin = (await consumer.beginning_offsets([tp]))[tp]
    if begin <= position:
        raise ReadingStalled(
            f"{tp.topic}[{tp.partition}] must be read on at offset {position}, but the next rows "
            f"came from {start} while the topic begins at {begin}: rows were skipped. The worker "
            "stops; started again it reads them"
        )


def _check_complete(
    places: Mapping[TopicPartition, LocalPartition], ends: Mapping[TopicPartition, int]
) -> None:
    """What is on disk says itself how far it goes: nothing else is believed."""
    for tp, place in places.items():
        offset = place.offset()
        if (-1 if offset is None else offset) != ends[tp] - 1:
            raise StateUnusable(
                f"{tp.topic}[{tp.partition}] must be restored up to offset {ends[tp] - 1}, but "
                f"the local store says {offset}: the restore ended short. The worker stops; start "
                "it again, and report this"
            )


def rows_of(chunk: RecordChunk, end: int | None = None) -> list[tuple[bytes, bytes | None]]:
    """Keys and values, those below ``end``; what came later belongs to whoever writes it."""
    return [
        (key, value)
        for key, value, offset in zip(chunk.keys, chunk.values, chunk.offsets.tolist(), strict=True)
        if key is not None and (end is None or offset < end)
    ]


def _unanswered(
    consumer: KafkaConsumer, places: Iterable[TopicPartition], error: BaseException
) -> ReadingStalled:
    found = leaderless(consumer, places)
    which = f"; without a leader: {', '.join(found)}" if found else ""
    return ReadingStalled(
        f"the ends of the changelogs must be known before they are restored, but the brokers did "
        f"not tell them: {error!r}{which}. The worker stops; look at the brokers, then start it "
        "again"
    )


def _stalled(
    behind: Iterable[TopicPartition], progress: RestoreProgress, after_s: float
) -> ReadingStalled:
    left = ", ".join(
        f"{tp.topic}[{tp.partition}] {progress.tables[tp].position} of {progress.tables[tp].end}"
        for tp in sorted(behind)
    )
    return ReadingStalled(
        f"changelogs must be read to their end, but gave nothing for {after_s:.0f} s: {left}; "
        "look at the leaders of these partitions"
    )
