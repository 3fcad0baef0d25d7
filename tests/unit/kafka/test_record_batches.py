"""Record batches that cannot be read are one kind of error; those that can are, however packed."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from barstream.codecs.ticks.decoder import TickDecoder
from barstream.config.sections import TickSettings
from barstream.kafka import decompression, fetch_columns
from barstream.kafka.decompression import BatchTooLargeError
from barstream.kafka.fetch_columns import (
    ColumnarTopics,
    FetchResult,
    FramedRecords,
    JudgedBatches,
    PartitionRecords,
)
from barstream.model.rejection import Reason

NOW_MS = 1_700_000_000_000
CODECS = {"plain": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch(codec: int = 0, count: int = 5, stamp_ms: int = NOW_MS) -> bytearray:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1 << 20,
    )  # fmt: skip
    for at in range(count):
        builder.append(at, timestamp=stamp_ms, key=b"k", value=b"value" * 9, headers=[])
    return bytearray(builder.build())


def up_to(data: bytes, end: int) -> PartitionRecords:
    """The records of a fetch of which nothing from ``end`` on is wanted."""
    columns = ColumnarTopics({"ticks"})
    columns.ends = {TopicPartition("ticks", 3): end}
    return reader(data, wanted=columns)


def chunks(data: bytearray) -> list[Any]:
    data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    return unpacked(data)


TICKS = ColumnarTopics({"ticks"}, passes_too_large=True)


def reader(
    data: bytes | bytearray, first: int = 0, wanted: ColumnarTopics = TICKS
) -> PartitionRecords:
    return PartitionRecords(
        TopicPartition("ticks", 3), FramedRecords(bytes(data)), [], first, None,
        wanted, True, fetcher.READ_COMMITTED,
    )  # fmt: skip


def unpacked(data: bytes | bytearray, wanted: ColumnarTopics = TICKS) -> list[Any]:
    return [event.value for event in reader(data, wanted=wanted)]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_every_compression_a_producer_may_choose_is_read(codec: int) -> None:
    (chunk,) = chunks(batch(codec))
    assert chunk.values == [b"value" * 9] * 5


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_what_cannot_be_unpacked_is_corrupt_and_says_where(codec: int) -> None:
    data = batch()
    data[22] = codec  # stated, but the records are plain
    with pytest.raises(CorruptRecordException, match=r"ticks\[3\].*offset 0"):
        chunks(data)


def stamped(data: bytearray, base: int, *, by_broker: bool) -> bytearray:
    """``data`` at offset ``base``, its timestamps the broker's or the producer's."""
    struct.pack_into(">q", data, 0, base)
    struct.pack_into(">h", data, 21, data[22] & 7 | (8 if by_broker else 0))
    data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    return data


def test_a_chunk_has_timestamps_of_one_kind() -> None:
    # a tick is judged by them: those of a broker are to be believed, the others not
    kinds = [False, True, True, False]
    data = b"".join(stamped(batch(), 5 * at, by_broker=kind) for at, kind in enumerate(kinds))
    found = unpacked(data)
    assert [(c.start, c.next_offset, c.append_time) for c in found] == [
        (0, 5, False), (5, 15, True), (15, 20, False),
    ]  # fmt: skip


@pytest.mark.parametrize("last_delta", [-1, 0, 3])
def test_records_beyond_what_their_batch_spans_are_corrupt(last_delta: int) -> None:
    # they would be read again with the next batch: applied twice
    data = batch()
    struct.pack_into(">i", data, 23, last_delta)
    with pytest.raises(CorruptRecordException):
        chunks(data)


def test_a_record_at_another_offset_than_its_batch_spans_is_corrupt() -> None:
    data = batch(count=1)
    assert data[64] == 0  # length, attributes, time delta, then the offset delta
    data[64] = 1
    with pytest.raises(CorruptRecordException, match="not found"):
        chunks(data)


def test_a_timestamp_at_the_end_of_all_numbers_stays_late() -> None:
    # times a thousand it would wrap around to any time, also to one before the tick
    (chunk,) = chunks(batch(count=1, stamp_ms=2**63 - 1))
    assert chunk.timestamps_us[0] > 1 << 62


@pytest.mark.parametrize("end", [5, 7, 9])
def test_batches_from_the_end_on_are_not_unpacked_whatever_is_in_them(end: int) -> None:
    """The position is the end all the same, also where compaction left nothing below it."""
    behind = batch(count=2)
    struct.pack_into(">q", behind, 0, 9)  # its base offset
    read = up_to(bytes(batch() + behind[:-1] + b"!"), end)
    (chunk,) = [event.value for event in read]

    assert chunk.offsets.tolist() == [0, 1, 2, 3, 4]
    assert (chunk.next_offset, read.next_fetch_offset) == (end, end)


def test_a_batch_that_the_end_lies_in_is_unpacked() -> None:
    (chunk,) = [event.value for event in up_to(bytes(batch()), 3)]

    assert (chunk.offsets.tolist(), chunk.next_offset) == ([0, 1, 2, 3, 4], 5)


# -- what unpacks to too much ---------------------------------------------------------------------

MIB = 1 << 20
#: Of a batch, before what is compressed.
HEADER_BYTES = 61


@pytest.fixture
def one_mib() -> Iterator[None]:
    """A limit that a test reaches in no time."""
    before = decompression.allowed()
    decompression.allow(MIB)
    yield
    decompression.allow(before)


def bomb(codec: int, size: int = 2 * MIB) -> bytearray:
    """A batch of one record of zeros."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=4 * MIB,
    )  # fmt: skip
    builder.append(0, timestamp=NOW_MS, key=b"k", value=bytes(size), headers=[])
    return bytearray(builder.build())


@pytest.mark.usefixtures("one_mib")
@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_batch_that_unpacks_to_too_much_is_passed_and_said_to_be(codec: int) -> None:
    data = b"".join(
        stamped(each, at, by_broker=True)
        for at, each in ((0, batch(codec)), (5, bomb(codec)), (6, batch(codec)))
    )
    assert len(data) < MIB // 2
    (chunk,) = unpacked(data)
    assert chunk.offsets.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert chunk.values[5] is None
    assert list(chunk.too_large) == [5]
    assert "offsets 5 to 5 unpacks to more than 1,048,576 bytes" in chunk.too_large[5]
    columns = TickDecoder(TickSettings(format="json")).decode(
        chunk.values, chunk.timestamps_us, too_large=chunk.too_large_at
    )
    assert {one.position for one in columns.rejected if one.reason == Reason.TOO_LARGE} == {5}


@pytest.mark.usefixtures("one_mib")
@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_batch_as_large_as_is_allowed_is_read(codec: int) -> None:
    most = MIB - 20
    most += MIB + HEADER_BYTES - len(bomb(0, most))  # what a record has beside its value
    (chunk,) = chunks(bomb(codec, most))
    assert not chunk.too_large
    assert chunk.values == [bytes(most)]
    (chunk,) = chunks(bomb(codec, most + 1))
    assert list(chunk.too_large) == [0]


@pytest.mark.usefixtures("one_mib")
def test_a_topic_of_our_own_is_not_passed_but_named() -> None:
    with pytest.raises(BatchTooLargeError, match=r"ticks\[3\].*1,048,576 bytes.*offset 0"):
        unpacked(bomb(4), ColumnarTopics({"ticks"}))


@pytest.mark.usefixtures("one_mib")
def test_whoever_reads_record_by_record_is_bounded_as_well() -> None:
    found = FramedRecords(bytes(bomb(4))).next_batch()
    with pytest.raises(BatchTooLargeError):
        list(found)


def judged(
    data: bytes | bytearray, *refused: int, begin: int = 0, end: int = 99, first: int = 0
) -> list[Any]:
    """Chunks of what a log says it was judged so."""
    columns = ColumnarTopics({"ticks"}, passes_too_large=True)
    columns.judged = {TopicPartition("ticks", 3): JudgedBatches(begin, end, refused)}
    return [event.value for event in reader(data, first, columns)]


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_batch_that_was_refused_is_not_unpacked_under_a_limit_that_was_raised_since(
    codec: int,
) -> None:
    data = bomb(codec) + stamped(batch(codec), 1, by_broker=False)
    assert not unpacked(data)[0].too_large, "it would be"
    (chunk,) = judged(data, 0)
    assert list(chunk.too_large) == [0]
    assert chunk.offsets.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.usefixtures("one_mib")
def test_a_batch_that_was_read_is_unpacked_under_a_limit_that_was_lowered_since() -> None:
    data = bomb(4)
    assert unpacked(data)[0].too_large, "it would not be"
    (chunk,) = judged(data)
    assert chunk.values == [bytes(2 * MIB)]


def test_a_batch_that_no_limit_can_have_refused_is_unpacked_whatever_the_log_says() -> None:
    (chunk,) = judged(batch(4), 0)
    assert (chunk.too_large, len(chunk)) == ({}, 5)


@pytest.mark.usefixtures("one_mib")
@pytest.mark.parametrize(("begin", "end"), [(1, 9), (0, 0)])
def test_where_the_log_says_nothing_the_limit_of_now_holds(begin: int, end: int) -> None:
    (chunk,) = judged(bomb(4), begin=begin, end=end)
    assert list(chunk.too_large) == [0]


def test_a_batch_of_which_a_part_had_been_read_was_refused_from_there_on() -> None:
    """A worker that is started again inside a batch, with a lower limit."""
    data = bytes(batch(4)) + bytes(stamped(batch(count=2), 5, by_broker=False))
    (chunk,) = judged(data, 3)
    assert chunk.offsets.tolist() == [0, 1, 2, 3, 5, 6]
    assert list(chunk.too_large) == [3]
    (chunk,) = judged(data, 3, first=4)
    assert (chunk.offsets.tolist(), chunk.too_large) == ([5, 6], {})


def test_batches_that_unpack_to_much_come_one_by_one() -> None:
    # each is allowed, and a fetch has room for hundreds of them
    data = b"".join(stamped(bomb(4, 20 * MIB), at, by_broker=True) for at in range(3))
    assert len(data) < MIB
    found = unpacked(data)
    assert [len(chunk) for chunk in found] == [1, 1, 1]
    assert all(20 * MIB < chunk.unpacked_bytes < 21 * MIB for chunk in found)
    found[0].mark_applied()
    assert found[0].unpacked_bytes == 0


def test_of_batches_that_unpack_to_much_one_is_handed_out_at_a_time() -> None:
    data = b"".join(stamped(bomb(4, 20 * MIB), at, by_broker=True) for at in range(3))
    place = TopicPartition("ticks", 3)
    position = SimpleNamespace(paused=False, position=0)
    position.consumed_to = lambda offset: setattr(position, "position", offset)
    result = FetchResult(
        place,
        assignment=SimpleNamespace(active=True, state_value={place: position}.get),
        partition_records=reader(data),
        backoff=0,
    )
    for at in range(3):
        (record,) = result.getall(8)
        assert (record.value.start, position.position) == (at, at + 1)
    assert result.has_more()
    assert result.getall(8) == []
    assert not result.has_more()


@pytest.fixture
def three_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_columns, "MAX_RECORDS", 3)


@pytest.mark.usefixtures("three_a_part")
@pytest.mark.parametrize("first", range(9))
def test_a_batch_of_many_records_comes_in_parts(first: int) -> None:
    """Whichever record the position is at; and a batch behind it joins what is left of it."""
    data = bytes(batch(4, count=7)) + bytes(stamped(batch(count=2), 7, by_broker=False))
    found = [event.value for event in reader(data, first)]
    assert [at for chunk in found for at in chunk.offsets.tolist()] == [*range(first, 9)]
    assert [chunk.start for chunk in found] == [first, *(c.next_offset for c in found[:-1])]
    assert found[-1].next_offset == 9
    assert all(len(chunk) <= 5 for chunk in found)
    assert all(chunk.unpacked_bytes for chunk in found if chunk.start < 7)


@pytest.mark.usefixtures("three_a_part")
def test_a_part_that_repeats_what_was_read_is_corrupt() -> None:
    data = batch(count=5)
    record_bytes = (len(data) - HEADER_BYTES) // 5
    place = HEADER_BYTES + 3 * record_bytes + 3  # the offset delta of the fourth
    assert data[place] == 3 << 1
    data[place] = 2 << 1
    data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    parts = reader(bytes(data))
    assert next(parts).value.offsets.tolist() == [0, 1, 2]
    with pytest.raises(CorruptRecordException, match="not found"):
        next(parts)


def test_too_little_memory_is_not_said_to_be_a_corrupt_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(*_: object) -> None:
        raise MemoryError

    decompression.install()
    monkeypatch.setattr(decompression, "_into", no_room)
    with pytest.raises(MemoryError):
        unpacked(stamped(bomb(4), 0, by_broker=True))


def test_gzip_in_several_members_is_read_whole() -> None:
    packed = gzip.compress(b"one, ") + gzip.compress(b"two")
    assert decompression.gzip_decode(packed) == b"one, two"
    with pytest.raises(zlib.error):
        decompression.gzip_decode(packed[:-9])


@pytest.mark.parametrize(
    ("by_broker", "fetched_us", "clock_us"), [(True, 7, None), (False, 7, 7), (False, 0, None)]
)
def test_an_event_time_is_judged_by_the_clock_at_fetch_where_a_producer_stamps(
    *, by_broker: bool, fetched_us: int, clock_us: int | None
) -> None:
    """Who reads a log again has no clock of then: what it refused stands in ticks_rejected."""
    (chunk,) = unpacked(stamped(batch(0), 0, by_broker=by_broker))
    chunk.fetched_us = fetched_us
    assert chunk.clock_us == clock_us
