"""What follows from the rows is read after them, while workers go on writing."""

from __future__ import annotations

import asyncio

from barstream.codecs.topics.state import POSITION_KEY, Position, encode_position
from barstream.log.partition_log import PartitionLog
from barstream.log.snapshot import Span
from tests.cluster import cluster_at
from tests.memory_kafka import MemoryKafka, reading_from

CLUSTER = cluster_at()
NAMES = CLUSTER.names


def _flush(kafka: MemoryKafka, position: int) -> None:
    """A final, and the position of which it is, as one transaction has them."""
    kafka.topic(NAMES.final_1m).append(0, b"key", b"final")
    kafka.topic(NAMES.series).append(0, POSITION_KEY, encode_position(Position(position, 0)))


def test_no_final_that_is_read_is_beyond_the_position_that_is_read_last() -> None:
    #   rows: position 5 | a flush | finals: both of them | rows_now: position 9
    kafka = MemoryKafka()
    _flush(kafka, 5)

    async def read() -> None:
        log = await PartitionLog.opened(CLUSTER, 0)
        _flush(kafka, 9)
        assert await log.span(NAMES.final_1m) == Span(0, 2)
        now = await log.rows_now()
        positions = [each.position and each.position.next_offset for each in (log.rows, now)]
        assert positions == [5, 9]

    with reading_from(kafka):
        asyncio.run(read())


def test_where_nothing_was_written_meanwhile_there_are_no_later_rows() -> None:
    kafka = MemoryKafka()
    _flush(kafka, 5)

    async def read() -> None:
        log = await PartitionLog.opened(CLUSTER, 0)
        assert (await log.rows_now()).position is None

    with reading_from(kafka):
        asyncio.run(read())
