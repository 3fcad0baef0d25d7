"""Decompression that ends: a batch of a few kilobytes can unpack to gigabytes.

aiokafka unpacks a batch whole, whatever it comes to, and so a record of 17 kB ends every process
that reads its partition.  `install` has it unpack with the decoders of this module, which take no
more memory than `allow` says.  A limit holds for all consumers of the process; who knows better
of a batch says so with `limited`.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import cramjam
import numpy as np
from aiokafka import codec
from aiokafka.record import default_records, legacy_records

from barstream.errors import BarstreamError

#: The default of ``ticks.max_batch_mib``.
_DEFAULT_BYTES: Final = 64 << 20
#: Nearly every batch unpacks to less: this much is kept by each thread, and need not be made anew.
_SCRATCH_BYTES: Final = 4 << 20
_XERIAL_HEADER_BYTES: Final = 16
_FULL: Final = "failed to write whole buffer"

Decoder = Callable[[Any], bytes]


class BatchTooLargeError(BarstreamError):
    """A record batch unpacks to more than it may.

    The worker passes one on the tick topic and rejects it.  On another topic it is nothing that
    barstream has written: delete it (``kafka-delete-records.sh``), or raise
    ``ticks.max_batch_mib``.
    """


class _Limit:
    def __init__(self) -> None:
        self.bytes = _DEFAULT_BYTES


class _Thread(threading.local):
    def __init__(self) -> None:
        self.scratch = np.empty(_SCRATCH_BYTES, np.uint8)
        self.unpacked = 0
        #: Instead of that of the process; None: that one holds.
        self.limit: int | None = None


_LIMIT: Final = _Limit()
_THREAD: Final = _Thread()


def allow(limit_bytes: int) -> None:
    """Set what a batch may unpack to in this process, from now on."""
    _LIMIT.bytes = limit_bytes
    install()


@contextmanager
def limited(limit_bytes: int | None) -> Iterator[None]:
    """Another limit for what this thread unpacks inside; None: that of the process."""
    before, _THREAD.limit = _THREAD.limit, limit_bytes
    try:
        yield
    finally:
        _THREAD.limit = before


def allowed() -> int:
    """What a batch may unpack to, bytes."""
    return _LIMIT.bytes if _THREAD.limit is None else _THREAD.limit


def unpacked() -> int:
    """How many bytes this thread has unpacked so far."""
    return _THREAD.unpacked


def gzip_decode(payload: Any) -> bytes:
    """Unpack one or several members of gzip.

    Raises:
        BatchTooLargeError: it is more than is allowed.
        zlib.error: it is no gzip, or cut.
    """
    limit, parts, rest = allowed(), [], bytes(payload)
    size = 0
    while rest:
        member = zlib.decompressobj(wbits=31)
        part = member.decompress(rest, limit - size + 1)
        size += len(part)
        _refuse_above(size)
        if not member.eof:
            raise zlib.error("the data ends inside a member")
        parts.append(part)
        rest = member.unused_data.lstrip(b"\0")
    return _told(b"".join(parts))


def snappy_decode(payload: Any) -> bytes:
    """Unpack snappy, raw or in the blocks of the Java client; each states its size.

    Raises:
        BatchTooLargeError: it is more than is allowed.
        cramjam.DecompressionError, struct.error: it is no snappy, or cut.
    """
    if not codec._detect_xerial_stream(payload):
        _refuse_above(cramjam.snappy.decompress_raw_len(payload))
        return _told(bytes(cramjam.snappy.decompress_raw(payload)))
    stream, blocks, size, at = memoryview(payload), [], 0, _XERIAL_HEADER_BYTES
    while at < len(stream):
        (length,) = struct.unpack_from("!i", stream, at)
        if length < 0:
            raise struct.error("a block has a size below 0")
        at += 4
        block = bytes(stream[at : at + length])
        size += cramjam.snappy.decompress_raw_len(block)
        _refuse_above(size)
        blocks.append(bytes(cramjam.snappy.decompress_raw(block)))
        at += length
    return _told(b"".join(blocks))


def lz4_decode(payload: Any) -> bytes:
    """Unpack frames of lz4.

    Raises:
        BatchTooLargeError: it is more than is allowed.
        cramjam.DecompressionError: it is no lz4, or cut.
    """
    return _told(_into(cramjam.lz4.decompress_into, payload))


def zstd_decode(payload: Any) -> bytes:
    """Unpack frames of zstd.

    Raises:
        BatchTooLargeError: it is more than is allowed.
        cramjam.DecompressionError: it is no zstd, or cut.
    """
    return _told(_into(cramjam.zstd.decompress_into, payload))


def _into(decompress_into: Any, payload: Any) -> bytes:
    """Into room of a bounded size: what a frame says of its own size may be left out, or a lie."""
    limit = allowed()
    room = _THREAD.scratch[:limit]
    while True:
        try:
            return room[: decompress_into(payload, room)].tobytes()
        except cramjam.DecompressionError as error:
            if _FULL not in str(error):
                raise
        if len(room) >= limit:
            raise _too_large()
        # not touched before it is written: it takes what the batch unpacks to
        room = np.empty(limit, np.uint8)


def _too_large() -> BatchTooLargeError:
    return BatchTooLargeError(
        f"a record batch must unpack to at most {allowed():,} bytes (ticks.max_batch_mib), "
        "found a larger one"
    )


def _refuse_above(size: int) -> None:
    if size > allowed():
        raise _too_large()


def _told(found: bytes) -> bytes:
    _THREAD.unpacked += len(found)
    return found


_DECODERS: Final[dict[str, Decoder]] = {
    "gzip_decode": gzip_decode,
    "snappy_decode": snappy_decode,
    "lz4_decode": lz4_decode,
    "zstd_decode": zstd_decode,
}


def install() -> None:
    """Have aiokafka unpack with these; doing it twice is doing it once."""
    for module in _modules():
        for name, decode in _DECODERS.items():
            if hasattr(module, name):
                setattr(module, name, decode)


def _modules() -> list[Any]:
    """Where aiokafka looks for its decoders: in Python, and where it is compiled, there."""
    found: list[Any] = [default_records, legacy_records]
    try:
        from aiokafka.record._crecords import default_records as fast
        from aiokafka.record._crecords import legacy_records as old
    except ImportError:
        return found
    return [*found, fast, old]
