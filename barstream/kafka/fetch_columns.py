"""Record batches to columns, with no object kept per record.

aiokafka hands every record to its consumer as an object: 490,000 a second on the machine where
the record batches alone unpack at 3,000,000.  `install` makes its ``PartitionRecords`` hand out
one `RecordChunk` for many records instead, for the topics a consumer names by passing
`ColumnarTopics` as its ``value_deserializer``; every other consumer is left as it is.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice, takewhile
from typing import Any, Final, NamedTuple

import numpy as np
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.record import memory_records
from aiokafka.structs import ConsumerRecord, TopicPartition
from numpy.typing import NDArray

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.batch_mark import HEADER
from barstream.config.sections import LEAST_BATCH_MIB, MOST_BATCH_MIB
from barstream.kafka import decompression
from barstream.kafka.decompression import BatchTooLargeError

#: A compressed fetch can hold many more records than its bytes suggest.
MAX_RECORDS: Final = 65_536
#: Nor may many batches that unpack to much each come together.
_MAX_BYTES: Final = 16 << 20
_LOG_APPEND_TIME: Final = 1
_LAST_MS: Final = 1 << 53
#: What ``ticks.max_batch_mib`` can be at least and at most, in bytes.
_LEAST_BYTES: Final = LEAST_BATCH_MIB << 20
_MOST_BYTES: Final = MOST_BATCH_MIB << 20
#: How a batch begins: its base offset, how many bytes follow, its leader epoch and its version.
_size_at: Final = struct.Struct(">i").unpack_from
_HEADER_SIZE: Final = HEADER.size
_SIZE_AT: Final = 8
_BEHIND_SIZE: Final = 12
_MAGIC_AT: Final = 16
#: The first version of batches that have a header.
_MAGIC: Final = 2


class JudgedBatches(NamedTuple):
    """What a log says of the batches that begin in [``begin``, ``end``) of a partition.

    Whoever judged them had a limit that may not be that of now: it refused the rest of a batch from
    each of ``refused`` on, ascending offsets, and unpacked all others.
    """

    begin: int
    end: int
    refused: Sequence[int]

    def refused_from(self, batch: Any) -> int | None:
        """From where on a batch was refused; None: it was not."""
        at = bisect_left(self.refused, batch.base_offset)
        if at < len(self.refused) and self.refused[at] < batch.next_offset:
            return self.refused[at]
        return None


class ColumnarTopics:
    """Names the topics that a consumer wants in columns; passed as ``value_deserializer``.

    Args:
        topics: their names.
        passes_too_large: whether a batch that unpacks to too much is handed out as a record
            without a value, see `RecordChunk.too_large`; else reading ends with an error.

    Attributes:
        ends: of partitions of which nothing from an offset on is wanted.  A fetch brings as much
            as its bytes allow, and to unpack that costs more than to fetch it.
        judged: of partitions whose batches were judged, what was said of them; it is gone by, and
            not by the limit of now.
    """

    def __init__(self, topics: Collection[str], *, passes_too_large: bool = False) -> None:
        self.topics = frozenset(topics)
        self.ends: Mapping[TopicPartition, int] = {}
        self.judged: Mapping[TopicPartition, JudgedBatches] = {}
        self.passes_too_large = passes_too_large

    def __call__(self, value: bytes | None) -> bytes | None:
        """Values of other topics stay as they are."""
        return value


class _Columns:
    """Records gathered for one chunk."""

    def __init__(self, start: int, *, is_rest: bool = False) -> None:
        self.start = start
        #: Whether it begins inside a batch, which was unpacked for the chunk before.
        self.is_rest = is_rest
        self.keys: list[bytes | None] = []
        self.values: list[bytes | None] = []
        self.offsets: list[NDArray[np.int64]] = []
        self.timestamps: list[NDArray[np.int64]] = []
        self.append_time = True
        self.too_large: dict[int, str] = {}
        self.headers: list[bytes] = []
        self._unpacked_before = decompression.unpacked()

    @property
    def are_many(self) -> bool:
        """Whether they are enough for a chunk."""
        return len(self.values) >= MAX_RECORDS or self._unpacked >= _MAX_BYTES

    @property
    def _unpacked(self) -> int:
        return decompression.unpacked() - self._unpacked_before

    def has_other_times(self, batch: Any) -> bool:
        """Whether ``batch`` has its timestamps from another clock than what is here."""
        return bool(self.values) and self.append_time != _is_append_time(batch)

    def reach(self, header: bytes | None) -> None:
        """The batch of that header is next, or none that has one."""
        if header is not None:
            self.headers.append(header)

    def add(self, batch: Any, part: list[Any], floor: int, first: int) -> int:
        """Take from offset ``first`` on the records of a part of ``batch``, one or more.

        Returns:
            Where the batch goes on.

        Raises:
            CorruptRecordException: they do not ascend from ``floor``, or leave the batch.
        """
        offsets = _offsets(part)
        following = int(offsets[-1]) + 1
        if offsets[0] < floor or following > batch.next_offset:
            raise CorruptRecordException(
                f"offsets {batch.base_offset} to {batch.next_offset} are stated, not found"
            )
        skip = int(np.searchsorted(offsets, first))
        records, offsets = part[skip:], offsets[skip:]
        if not records:
            return following
        self.keys.extend([record.key for record in records])
        self.values.extend([record.value for record in records])
        self.offsets.append(offsets)
        if _is_append_time(batch):
            stamps = np.full(len(records), batch.max_timestamp, np.int64)
        else:
            self.append_time = False
            stamps = np.array([record.timestamp for record in records], np.int64)
            # microseconds must fit as well; what no clock says is beyond any skew, however far
            np.clip(stamps, -_LAST_MS, _LAST_MS, out=stamps)
        self.timestamps.append(stamps)
        return following

    def refuse(self, batch: Any, first: int) -> None:
        """Stand in for ``batch``, which is not unpacked, with one record at its first offset."""
        first = max(first, batch.base_offset)
        self.too_large[first] = (
            f"the batch of offsets {batch.base_offset} to {batch.next_offset - 1} unpacks to more "
            f"than {decompression.allowed():,} bytes (ticks.max_batch_mib): none of it was read"
        )
        self.keys.append(None)
        self.values.append(None)
        self.offsets.append(np.array([first], np.int64))
        self.append_time = _is_append_time(batch)
        stamp = min(max(batch.max_timestamp, -_LAST_MS), _LAST_MS)
        self.timestamps.append(np.array([stamp], np.int64))

    def chunk(self, topic: str, partition: int, next_offset: int) -> RecordChunk:
        empty = np.empty(0, np.int64)
        return RecordChunk(
            topic,
            partition,
            self.start,
            next_offset,
            self.keys,
            self.values,
            np.concatenate(self.offsets) if self.offsets else empty,
            np.concatenate(self.timestamps) * 1000 if self.timestamps else empty,
            self.append_time,
            too_large=self.too_large,
            unpacked_bytes=self._unpacked + (_size(self.values) if self.is_rest else 0),
            headers=self.headers,
        )


def _size(values: list[bytes | None]) -> int:
    return sum(map(len, filter(None, values)))


def _is_append_time(batch: Any) -> bool:
    return bool(batch.timestamp_type == _LOG_APPEND_TIME)


def _offsets(records: list[Any]) -> NDArray[np.int64]:
    """Offsets of ``records``, one or more; ascending, or they are corrupt."""
    first, last = records[0].offset, records[-1].offset
    if last - first + 1 == len(records):
        return np.arange(first, last + 1, dtype=np.int64)
    offsets = np.array([record.offset for record in records], np.int64)
    if not (offsets[1:] > offsets[:-1]).all():
        raise CorruptRecordException(f"offsets from {first} on do not ascend")
    return offsets


class FramedRecords(memory_records.MemoryRecords):  # type: ignore[misc]
    """Record batches, and the bytes that they are read from."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class _Headers:
    """The headers of the batches in ``data``, one after the other.

    Attributes:
        now: of the batch that was read last; None: one of before Kafka 0.11 has none.
    """

    __slots__ = ("_at", "_data", "now")

    def __init__(self, data: bytes) -> None:
        self.now: bytes | None = None
        self._data = data
        self._at = 0

    def advance(self) -> None:
        """To the next batch, which is whole."""
        data, at = self._data, self._at
        self.now = data[at : at + _HEADER_SIZE] if data[at + _MAGIC_AT] >= _MAGIC else None
        self._at = at + _BEHIND_SIZE + _size_at(data, at + _SIZE_AT)[0]


class PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Unpacks the topics of `ColumnarTopics` in columns and all others as aiokafka does.

    Iterating raises ``CorruptRecordException`` for whatever is no sound record batch, and
    ``UnsupportedCodecError`` for a compression nobody knows.
    """

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[ConsumerRecord[bytes, Any]]:
        wanted = self._value_deserializer
        if isinstance(wanted, ColumnarTopics) and self._tp.topic in wanted.topics:
            return self._unpack_columns(wanted.ends.get(self._tp), wanted.judged.get(self._tp))
        return super()._unpack_records()  # type: ignore[no-any-return]

    def _unpack_columns(
        self, end: int | None, judged: JudgedBatches | None
    ) -> Iterator[ConsumerRecord[bytes, Any]]:
        columns = _Columns(self.next_fetch_offset)
        headers = _Headers(self._records.data)
        while self._records.has_next():
            batch = self._next_batch()
            headers.advance()
            if end is not None and batch.base_offset >= end:
                # compaction may have left nothing just below the end
                self.next_fetch_offset = max(self.next_fetch_offset, end)
                break
            is_hidden = self._is_sound_but_hidden(batch)
            if not is_hidden and columns.has_other_times(batch):
                yield self._event(columns)
                columns = _Columns(self.next_fetch_offset)
            columns.reach(headers.now)
            # unpacked when the first is asked for, where an error is told as one
            records: Iterator[Any] = chain.from_iterable(() if is_hidden else (batch,))
            floor = batch.base_offset
            limit = refused_at = None
            if judged is not None and judged.begin <= floor < judged.end and not is_hidden:
                records, limit, refused_at = self._as_judged(batch, records, judged)
            # in parts: a batch of a megabyte can hold a million records of nothing
            while (following := self._take(batch, records, floor, columns, limit)) is not None:
                floor = following
                self.next_fetch_offset = max(self.next_fetch_offset, floor)
                if columns.are_many:
                    yield self._event(columns)
                    columns = _Columns(self.next_fetch_offset, is_rest=True)
                    columns.reach(headers.now)
            if refused_at is not None:
                columns.refuse(batch, refused_at)
            self.next_fetch_offset = max(self.next_fetch_offset, batch.next_offset)
            if columns.are_many:
                yield self._event(columns)
                columns = _Columns(self.next_fetch_offset)
        # also when there were control or aborted records alone: they moved the position, and a
        # heartbeat may be waiting for just that
        if self.next_fetch_offset > columns.start:
            yield self._event(columns)

    def _next_batch(self) -> Any:
        with self._unpacking():
            return self._records.next_batch()

    def _is_sound_but_hidden(self, batch: Any) -> bool:
        """Whether nobody may see its records; one that is not sound is an error."""
        with self._unpacking():
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            return self._is_hidden(batch)

    def _as_judged(
        self, batch: Any, records: Iterator[Any], judged: JudgedBatches
    ) -> tuple[Iterator[Any], int, int | None]:
        """The records that were read, by which limit, and where the rest was refused, if it was."""
        first = max(batch.base_offset, self.next_fetch_offset)
        at = judged.refused_from(batch)
        if at is None:
            return records, _MOST_BYTES, None
        if at == first:  # what fits into the least limit there is was refused by none
            return records, _LEAST_BYTES, None
        if at < first:
            return iter(()), _LEAST_BYTES, None
        return takewhile(lambda each: each.offset < at, records), _MOST_BYTES, at

    def _take(
        self, batch: Any, records: Iterator[Any], floor: int, columns: _Columns, limit: int | None
    ) -> int | None:
        """Move a part of ``records`` to ``columns``; where the batch goes on, None: it ended."""
        try:
            with self._unpacking(), decompression.limited(limit):
                part = list(islice(records, MAX_RECORDS))
                following = columns.add(batch, part, floor, self.next_fetch_offset) if part else 0
        except BatchTooLargeError as error:
            if not self._value_deserializer.passes_too_large:
                raise BatchTooLargeError(
                    f"{self._tp.topic}[{self._tp.partition}] must hold batches that unpack to at "
                    f"most {decompression.allowed():,} bytes (ticks.max_batch_mib), found a larger "
                    f"one behind offset {self.next_fetch_offset}"
                ) from error
            columns.refuse(batch, self.next_fetch_offset)
            return None
        return following if len(part) == MAX_RECORDS else None

    @contextmanager
    def _unpacking(self) -> Iterator[None]:
        try:
            yield
        except (KafkaError, BatchTooLargeError, MemoryError):
            raise  # too little memory says nothing of the batch
        except Exception as error:  # what decompression and unpacking raise has no common root
            raise CorruptRecordException(
                f"{self._tp.topic}[{self._tp.partition}] must hold record batches, but behind "
                f"offset {self.next_fetch_offset} is one that cannot be unpacked: {error!r}"
            ) from error

    def _is_hidden(self, batch: Any) -> bool:
        """Control batches always, aborted ones for readers of committed records; as aiokafka."""
        if self._isolation_level == fetcher.READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch:
                if self._contains_abort_marker(batch):
                    self._aborted_producers.discard(batch.producer_id)
            elif batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(batch.is_control_batch)

    def _event(self, columns: _Columns) -> ConsumerRecord[bytes, Any]:
        chunk = columns.chunk(self._tp.topic, self._tp.partition, self.next_fetch_offset)
        stamp = int(chunk.timestamps_us[-1]) // 1000 if len(chunk) else 0
        return ConsumerRecord(
            chunk.topic, chunk.partition, chunk.next_offset - 1, stamp, _LOG_APPEND_TIME,
            None, chunk, None, -1, -1, (),
        )  # fmt: skip


class FetchResult(fetcher.FetchResult):  # type: ignore[misc]
    """What was fetched of a partition; unpacks as much at a time as memory is meant for.

    aiokafka counts records, and eight chunks of them may be half a gigabyte.
    """

    _partition_records: PartitionRecords | None

    def getall(self, max_records: int | None = None) -> list[ConsumerRecord[Any, Any]]:
        """The next records or chunks, at most ``max_records`` of them and some megabytes."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        found, unpacked_bytes = [], 0
        for record in self._partition_records or ():
            found.append(record)
            if isinstance(record.value, RecordChunk):
                unpacked_bytes += record.value.unpacked_bytes
            if len(found) == max_records or unpacked_bytes >= _MAX_BYTES:
                break
        else:
            self._update_position()
            self._partition_records = None
            return found
        self._update_position()
        return found


def install() -> None:
    """Have aiokafka's fetchers unpack with these classes; doing it twice is doing it once."""
    fetcher.PartitionRecords = PartitionRecords
    fetcher.FetchResult = FetchResult
    fetcher.MemoryRecords = FramedRecords
    decompression.install()
