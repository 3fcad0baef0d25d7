"""A batch is told from another in its place, and nothing is said where compaction has been."""

from __future__ import annotations

import struct

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from barstream.codecs.topics.batch_mark import (
    HEADER,
    UNKNOWN,
    BatchMark,
    found_of,
    header_before,
    is_another,
    mark_of,
    mark_stored,
    stored,
    written_mark,
)
from barstream.kafka.fetch_columns import ColumnarTopics, FramedRecords, PartitionRecords


def batch(
    base: int, epoch: int = 3, count: int = 4, *, producer: int = -1, sequence: int = -1,
    value: bytes = b"tick",
) -> bytes:  # fmt: skip
    """As a broker keeps it: it writes offset and leader epoch into what a producer sent."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=producer,
        producer_epoch=0 if producer >= 0 else -1, base_sequence=sequence, batch_size=1 << 20,
    )  # fmt: skip
    for at in range(count):
        builder.append(at, timestamp=1_700_000_000_000, key=b"k", value=value, headers=[])
    sent = bytearray(builder.build())
    struct.pack_into(">q", sent, 0, base)
    struct.pack_into(">i", sent, 12, epoch)
    return bytes(sent)


def compacted(kept: bytes, left: int) -> bytes:
    """The same batch with fewer records: offsets and producer stay, the checksum does not."""
    header = list(HEADER.unpack(kept[: HEADER.size]))
    header[4], header[12] = 77, left
    return HEADER.pack(*header)


def head(of: bytes) -> bytes:
    return of[: HEADER.size]


def test_headers_come_out_of_what_was_fetched() -> None:
    records = PartitionRecords(
        TopicPartition("t", 0), FramedRecords(batch(10) + batch(14, 5, producer=8, sequence=20)),
        [], 10, None, ColumnarTopics({"t"}), False, READ_COMMITTED,
    )  # fmt: skip
    (chunk,) = [event.value for event in records]
    found = [mark_of(header) for header in chunk.headers]
    assert [(m.base_offset, m.leader_epoch, m.producer_id, m.base_sequence) for m in found] == [
        (10, 3, -1, -1),
        (14, 5, 8, 20),
    ]
    assert found[0].checksum == found_of(head(batch(99))).mark.checksum, "of the content alone"


def test_the_batch_that_holds_the_last_offset_below_is_found() -> None:
    # offsets  10 .. 13 | 14 .. 17 | 20 .. 23
    headers = [head(batch(base)) for base in (10, 14, 20)]
    wanted = {11: 10, 14: 10, 15: 14, 18: 14, 20: 14, 21: 20, 24: 20}
    for offset, base in wanted.items():
        header = header_before(headers, offset)
        assert header is not None
        assert mark_of(header).base_offset == base
    assert header_before(headers, 10) is None


@pytest.mark.parametrize(
    "now",
    [
        batch(10, epoch=5),
        batch(10, value=b"tock"),
        batch(10, producer=8, sequence=0),
        batch(8, count=5),
    ],
    ids=["another leader", "other content", "another producer", "other borders"],
)
def test_another_batch_in_its_place_is_told(now: bytes) -> None:
    assert is_another(mark_of(head(batch(10))), found_of(head(now)))


def test_of_a_batch_that_is_there_or_was_compacted_nothing_is_said() -> None:
    mark = mark_of(head(batch(10)))
    assert not is_another(mark, found_of(head(batch(10))))
    assert not is_another(mark, found_of(compacted(batch(10), 1))), "its checksum changed"
    assert not is_another(mark, found_of(head(batch(14, epoch=9)))), "compaction took all of it"


def test_rows_that_a_worker_wrote_are_known_by_their_producer() -> None:
    sent = batch(0, epoch=-1, producer=8, sequence=20)
    mark = written_mark(head(sent), 10)
    assert mark == BatchMark(10, UNKNOWN, UNKNOWN, 8, 0, 20)
    assert not is_another(mark, found_of(head(batch(10, producer=8, sequence=20))))
    assert is_another(mark, found_of(head(batch(10, producer=8, sequence=24))))
    assert is_another(mark, found_of(head(batch(10, producer=9, sequence=20))))


def test_a_local_table_keeps_a_mark() -> None:
    mark = mark_of(head(batch(10, producer=8, sequence=20)))
    assert mark_stored(stored(mark)) == mark
    assert mark_stored(b"short") is None, "nothing is known"
