"""What tells a record batch from any other that may stand in its place.

Offsets alone do not: a partition that lost its tail has grown over the same offsets again.  A batch
keeps what the broker and its producer wrote into its header for as long as it is there.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

#: Of a header: base offset, length, leader epoch, magic, checksum, attributes, last delta, two
#: timestamps, producer id, producer epoch, base sequence, and how many records follow.
HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_BASE: Final = struct.Struct(">q")
#: Attributes of a batch that compaction has written anew without taking a record away.
_HAS_DELETE_HORIZON: Final = 1 << 6
UNKNOWN: Final = -1


class BatchMark(NamedTuple):
    """The header of a batch, as far as it tells it from others; `UNKNOWN` where not known.

    Attributes:
        base_offset: of its first record.
        leader_epoch: of the leader that appended it.
        checksum: CRC-32C of what the producer, or compaction, wrote.
        producer_id, producer_epoch, base_sequence: of an idempotent producer.
    """

    base_offset: int
    leader_epoch: int
    checksum: int
    producer_id: int
    producer_epoch: int
    base_sequence: int


#: In the local tables: as `BatchMark` has them.
_STORED: Final = struct.Struct(">qiqqhi")


def stored(mark: BatchMark) -> bytes:
    """Inverse of `mark_stored`."""
    return _STORED.pack(*mark)


def mark_stored(value: bytes) -> BatchMark | None:
    """The mark a local table keeps; None: it is none that this release knows."""
    return BatchMark(*_STORED.unpack(value)) if len(value) == _STORED.size else None


class FoundBatch(NamedTuple):
    """A batch that stands in the log now.

    Attributes:
        next_offset: first offset behind it.
        is_rewritten: compaction has changed its checksum.
    """

    mark: BatchMark
    next_offset: int
    is_rewritten: bool


def mark_of(header: bytes) -> BatchMark:
    """What a header says."""
    return found_of(header).mark


def found_of(header: bytes) -> FoundBatch:
    """Likewise, of a batch that was looked up."""
    (base, _, epoch, _, crc, attributes, delta, _, _, pid, producer_epoch, sequence, count) = (
        HEADER.unpack(header)
    )
    mark = BatchMark(base, epoch, crc, pid, producer_epoch, sequence)
    is_rewritten = count != delta + 1 or bool(attributes & _HAS_DELETE_HORIZON)
    return FoundBatch(mark, base + delta + 1, is_rewritten)


def written_mark(header: bytes, base_offset: int) -> BatchMark:
    """Of a batch as its producer sent it, and where the broker put it."""
    # where the broker writes append times, the checksum is its own as well
    return mark_of(header)._replace(base_offset=base_offset, leader_epoch=UNKNOWN, checksum=UNKNOWN)


def is_another(mark: BatchMark, found: FoundBatch) -> bool:
    """Whether the batch at the base offset of ``mark`` is certainly not the one it was.

    Args:
        mark: what was there.
        found: the first batch that ends behind that offset now.  One that begins behind it says
            nothing: compaction has taken the other.
    """
    now = found.mark
    if now.base_offset != mark.base_offset:
        return now.base_offset < mark.base_offset
    if UNKNOWN not in (now.leader_epoch, mark.leader_epoch) and (
        now.leader_epoch != mark.leader_epoch
    ):
        return True
    if (now.producer_id, now.producer_epoch, now.base_sequence) != mark[3:]:
        return True
    return mark.checksum not in (UNKNOWN, now.checksum) and not found.is_rewritten


def header_before(headers: Sequence[bytes], offset: int) -> bytes | None:
    """The header of the batch that holds the last offset below ``offset``."""
    at = bisect_left(headers, offset, key=_base_of)
    return headers[at - 1] if at else None


def _base_of(header: bytes) -> int:
    return int(_BASE.unpack_from(header)[0])
