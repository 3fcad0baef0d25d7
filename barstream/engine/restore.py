"""Reading changelogs back, in bulk, before Faust's own recovery looks.

Faust restores 8,500 to 12,500 rows a second and waits for ever on a changelog that ends in a
commit marker.  This reads what the local store lacks in columns, and leaves the persisted
offset at the end of the changelog, so that Faust finds nothing left to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.engine.errors import ReadingStalled, StateUnusable
from barstream.engine.local import LocalPartition
from barstream.transport.chunk import RecordChunk
from barstream.transport.records import ColumnarTopics, install

_FETCH_BYTES: Final = 4 << 20
_POLL_MS: Final = 200
_STALLED_AFTER_S: Final = 60.0
_DECIDED_WITHIN_S: Final = 30.0
_SETTLE_S: Final = 0.05

Progress = Callable[[int, int], None]
"""Called with rows read just now, and offsets left to read."""


async def restore(
    options: Mapping[str, Any],
    places: Mapping[TopicPartition, LocalPartition],
    progress: Progress,
) -> None:
    """Bring each local partition up to the end its changelog has now.

    Only rows of committed transactions are read; the caller has fenced every other writer, so
    the end does not move.

    Args:
        options: connection options, see `barstream.kafka.client_options`.
        places: local partition by changelog partition.
        progress: told after each fetch.

    Raises:
        StateUnusable: the local store is ahead of its changelog.
        ReadingStalled: a changelog gives nothing although its end is not reached.
    """
    if not places:
        return
    install()
    consumer = AIOKafkaConsumer(
        **options,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_wait_ms=100,
        value_deserializer=ColumnarTopics({tp.topic for tp in places}),
    )
    await consumer.start()
    try:
        ends = await _settled_ends(consumer, options, list(places))
        await _restore(consumer, places, ends, progress)
    finally:
        await consumer.stop()


async def _settled_ends(
    consumer: AIOKafkaConsumer, options: Mapping[str, Any], places: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """End offsets once the outcome of every transaction is in the log.

    A commit is acknowledged before its markers are in the partitions, and until they are a
    reader of committed records is given an end before it: after a broker was killed just then,
    a worker restored from there would apply ticks a second time.  Every writer has been fenced,
    so nothing new begins and the two ends meet.
    """
    raw = AIOKafkaConsumer(**options, enable_auto_commit=False)
    await raw.start()
    try:
        deadline = time.monotonic() + _DECIDED_WITHIN_S
        while True:
            written: dict[TopicPartition, int] = await raw.end_offsets(places)
            stable: dict[TopicPartition, int] = await consumer.end_offsets(places)
            undecided = {tp: stable[tp] for tp in places if stable[tp] < written[tp]}
            if not undecided:
                return stable
            if time.monotonic() > deadline:
                raise _hanging(undecided, written)
            await asyncio.sleep(_SETTLE_S)
    finally:
        await raw.stop()


async def _restore(
    consumer: AIOKafkaConsumer,
    places: Mapping[TopicPartition, LocalPartition],
    ends: Mapping[TopicPartition, int],
    progress: Progress,
) -> None:
    begins = await consumer.beginning_offsets(list(places))
    behind: dict[TopicPartition, int] = {}
    consumer.assign(list(places))
    for tp, place in places.items():
        offset, end = place.offset(), ends[tp]
        if offset is not None and offset >= end and offset >= 0:
            raise StateUnusable(
                f"the local store of {tp.topic}[{tp.partition}] must not be ahead of its topic, "
                f"found offset {offset} stored and end offset {end}: the topic was made again or "
                "this data directory belongs to another cluster; stop the worker, move its data "
                "directory away and start it again, it is restored from Kafka"
            )
        start = max(begins[tp], 0 if offset is None else offset + 1)
        if start < end:
            consumer.seek(tp, start)
            behind[tp] = start
        elif end:
            place.write((), end - 1)
    consumer.pause(*(tp for tp in places if tp not in behind))
    moved_at = time.monotonic()
    while behind:
        fetched = await consumer.getmany(*behind, timeout_ms=_POLL_MS)
        rows = 0
        for tp, records in fetched.items():
            for record in records:
                chunk: RecordChunk = record.value
                rows += len(chunk)
                reached = min(chunk.next_offset, ends[tp])
                places[tp].write(_latest(chunk, ends[tp]), reached - 1)
                behind[tp] = chunk.next_offset
        for tp in [tp for tp, position in behind.items() if position >= ends[tp]]:
            del behind[tp]
            consumer.pause(tp)
        moved_at = time.monotonic() if fetched else moved_at
        if time.monotonic() - moved_at > _STALLED_AFTER_S:
            raise _stalled(behind, ends)
        progress(rows, sum(ends[tp] - position for tp, position in behind.items()))


def _latest(chunk: RecordChunk, end: int) -> list[tuple[bytes, bytes | None]]:
    """Keys and values below ``end``; what came later belongs to whoever writes it."""
    return [
        (key, value)
        for key, value, offset in zip(chunk.keys, chunk.values, chunk.offsets.tolist(), strict=True)
        if key is not None and offset < end
    ]


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


def _stalled(
    behind: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> ReadingStalled:
    left = ", ".join(
        f"{tp.topic}[{tp.partition}] {position} of {ends[tp]}" for tp, position in behind.items()
    )
    return ReadingStalled(
        f"changelogs must be read to their end, but gave nothing for {_STALLED_AFTER_S:.0f} s: "
        f"{left}; look at the leaders of these partitions"
    )
