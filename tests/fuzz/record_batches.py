"""Record batches as bytes: unpacked in columns as aiokafka unpacks them, or refused cleanly."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random
from typing import Any, Final, NamedTuple

import numpy as np
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from barstream.codecs.record_chunk import RecordChunk
from barstream.kafka import decompression
from barstream.kafka.fetch_columns import ColumnarTopics, FramedRecords, PartitionRecords
from tests.fuzz.mutate import LENGTHS, damaged, odd_varint, varint
from tests.fuzz.surface import BrokenRuleError, Surface

_PLACE: Final = TopicPartition("ticks", 0)
_HEADER: Final = 61
_CRC: Final = slice(17, 21)
_ATTRIBUTES_AT: Final = 21
#: Offset of a field in the header of a batch, and how it is packed.
_FIELDS: Final = (
    (0, ">q"), (8, ">i"), (12, ">i"), (16, ">b"), (21, ">h"), (23, ">i"), (27, ">q"), (35, ">q"),
    (43, ">q"), (51, ">h"), (53, ">i"), (57, ">i"),
)  # fmt: skip
_CODECS: Final = (0, 1, 2, 3, 4)
_CONTROL: Final = 0x20
_TRANSACTIONAL: Final = 0x10


class Fetch(NamedTuple):
    """What a broker answered: bytes, aborted (producer, first offset), where reading begins."""

    data: bytes
    aborted: tuple[tuple[int, int], ...]
    start: int


def _batch(chance: Random, base: int, codec: int) -> bytes:
    transactional = chance.random() < 0.4
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=int(transactional),
        producer_id=chance.choice((7, 8)) if transactional else -1, producer_epoch=0,
        base_sequence=0, batch_size=1 << 20,
    )  # fmt: skip
    count = chance.randrange(1, 6)
    for offset in range(count):
        builder.append(
            offset,
            timestamp=1_700_000_000_000 + offset,
            key=chance.choice((None, b"", b"B\0X", b"k" * 300)),
            value=chance.choice((None, b"", b"v" * chance.randrange(200))),
            headers=[("h", b"x")] if chance.random() < 0.2 else [],
        )
    data = bytearray(builder.build())
    data[:8] = struct.pack(">q", base)
    return bytes(data)


def _marker(base: int, *, commit: bool, producer: int) -> bytes:
    """A control batch that ends a transaction."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=1, producer_id=producer, producer_epoch=0,
        base_sequence=-1, batch_size=1 << 16,
    )  # fmt: skip
    key = struct.pack(">hh", 0, int(commit))
    builder.append(0, timestamp=1_700_000_000_000, key=key, value=b"\0" * 6, headers=[])
    data = bytearray(builder.build())
    data[:8] = struct.pack(">q", base)
    data[_ATTRIBUTES_AT + 1] |= _CONTROL
    return _with_crc(data)


def _with_crc(data: bytearray) -> bytes:
    data[_CRC] = struct.pack(">I", calc_crc32c(bytes(data[_ATTRIBUTES_AT:])))
    return bytes(data)


def _size(batch: bytes) -> int:
    return int(struct.unpack_from(">i", batch, 23)[0]) + 1


def _fetch(chance: Random) -> list[bytes]:
    base, batches = 100, []
    for _ in range(chance.choice((1, 1, 2, 4))):
        if chance.random() < 0.2:
            made = _marker(base, commit=chance.random() < 0.5, producer=chance.choice((7, 8)))
        else:
            made = _batch(chance, base, chance.choice(_CODECS))
        batches.append(made)
        base += _size(made)
    return batches


def _odd_batch(chance: Random, batch: bytes) -> bytes:
    """A batch with something wrong in it; mostly with the right checksum, or nothing else shows."""
    data = bytearray(batch)
    match chance.randrange(6):
        case 0 | 1:
            at, kind = chance.choice(_FIELDS)
            bits = 8 * struct.calcsize(kind) - 1
            value = chance.choice((0, 1, -1, (1 << bits) - 1, -(1 << bits), chance.randrange(8)))
            struct.pack_into(kind, data, at, value)
        case 2:
            data[_ATTRIBUTES_AT + 1] = chance.randrange(256)
        case 3:  # inside the records, or what they are packed into
            data = bytearray(data[:_HEADER] + damaged(chance, bytes(data[_HEADER:])))
            struct.pack_into(">i", data, 8, len(data) - 12)
        case 4:  # a record longer, or shorter, than it says
            data = data[:_HEADER] + odd_varint(chance, chance.choice(LENGTHS)) + data[_HEADER + 1 :]
            struct.pack_into(">i", data, 8, len(data) - 12)
        case _:
            claimed = varint(chance.choice(LENGTHS)) + b"\0" * 3
            data = bytearray(data[:_HEADER] + claimed + data[_HEADER + len(claimed) :])
            data[_ATTRIBUTES_AT + 1] = data[_ATTRIBUTES_AT + 1] & ~7 | chance.choice(_CODECS)
            struct.pack_into(">i", data, 8, len(data) - 12)
    return bytes(data) if chance.random() < 0.15 or len(data) < _HEADER else _with_crc(data)


def _case(chance: Random) -> Fetch:
    batches = _fetch(chance)
    at = chance.randrange(len(batches))
    batches[at] = _odd_batch(chance, batches[at])
    data = b"".join(batches)
    match chance.randrange(8):
        case 0:  # a fetch ends where its bytes end
            data = data[: chance.randrange(len(data) + 1)]
        case 1:
            data = damaged(chance, data)
    return Fetch(data, _aborted(chance), chance.choice((0, 100, 100, 101, 103)))


def _aborted(chance: Random) -> tuple[tuple[int, int], ...]:
    return tuple(
        (chance.choice((7, 8)), 100 + chance.randrange(6)) for _ in range(chance.randrange(3))
    )


def _good(chance: Random) -> Fetch:
    return Fetch(b"".join(_fetch(chance)), _aborted(chance), 100)


def _unpacked(fetch: Fetch, kind: Any, deserializer: Any) -> tuple[list[Any], int]:
    records = kind(
        _PLACE, FramedRecords(fetch.data), list(fetch.aborted), fetch.start, None, deserializer,
            True,
        fetcher.READ_COMMITTED,
    )  # fmt: skip
    return list(records), records.next_fetch_offset


def _judge(fetches: Sequence[Fetch], _: Random) -> list[str]:
    return [_judged(fetch) for fetch in fetches]


def _judged(fetch: Fetch) -> str:
    try:
        events, position = _unpacked(fetch, PartitionRecords, ColumnarTopics({"ticks"}))
    except CorruptRecordException:
        return "corrupt"
    except UnsupportedCodecError:
        return "unknown compression"
    except decompression.BatchTooLargeError:
        return "too large"
    chunks: list[RecordChunk] = [event.value for event in events]
    for chunk in chunks:
        _check_chunk(chunk)
    if not _in_order(fetch):
        # aiokafka goes back to what it has read already; that would be ticks applied twice
        return "records out of order"
    # what we take, aiokafka takes as well, record by record
    theirs, their_position = _unpacked(fetch, _Plain, None)
    found = [
        row
        for chunk in chunks
        for row in zip(
            chunk.offsets.tolist(),
            chunk.keys,
            chunk.values,
            chunk.timestamps_us.tolist(),
            strict=True,
        )
    ]
    wanted = [(r.offset, r.key, r.value, _clipped_us(r.timestamp)) for r in theirs]
    if [row[1:] for row in found] != [row[1:] for row in wanted]:
        raise BrokenRuleError(f"in columns {found}, one by one {wanted}")
    if position < their_position:
        raise BrokenRuleError(f"{position} is reached in columns, {their_position} one by one")
    return "records" if found else "nothing"


def _in_order(fetch: Fetch) -> bool:
    records, reached, begun = FramedRecords(fetch.data), 0, False
    while records.has_next():
        batch = records.next_batch()
        if batch.base_offset < reached or (not begun and batch.next_offset <= fetch.start):
            return False
        reached, begun = batch.next_offset, True
        try:
            offsets = [record.offset for record in batch]
        except Exception:  # noqa: BLE001
            continue  # aborted, or markers: nobody unpacks them
        if offsets != sorted(set(offsets)):
            return False
    return True


class _Plain(fetcher.PartitionRecords):  # type: ignore[misc]
    """aiokafka's own, whatever is installed."""


def _clipped_us(stamp_ms: int) -> int:
    return max(-(1 << 53), min(1 << 53, stamp_ms)) * 1000


def _check_chunk(chunk: RecordChunk) -> None:
    sizes = {len(chunk.keys), len(chunk.values), len(chunk.offsets), len(chunk.timestamps_us)}
    if len(sizes) != 1:
        raise BrokenRuleError(f"columns of {sizes} rows")
    offsets = chunk.offsets
    inside = len(offsets) == 0 or (chunk.start <= offsets[0] and offsets[-1] < chunk.next_offset)
    if not inside or (np.diff(offsets) <= 0).any() or chunk.start >= chunk.next_offset:
        raise BrokenRuleError(
            f"offsets {offsets.tolist()} in a chunk of {chunk.start} to {chunk.next_offset}"
        )


def surfaces() -> list[Surface]:
    """Fetches, unpacked by the decoders that every client of barstream has."""
    decompression.install()
    return [Surface("record-batches", _case, _judge, at_once=64, good=_good)]
