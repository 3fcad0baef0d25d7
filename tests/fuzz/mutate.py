"""Mutations that know what bytes mean: numbers, lengths, texts, and the ends of things."""

from __future__ import annotations

import struct
from random import Random
from typing import Final

_MASK: Final = (1 << 64) - 1

LONGS: Final = (
    0, 1, -1, 63, 64, -64, -65, 127, 2**31 - 1, 2**31, -(2**31), 2**53, 2**53 + 1, -(2**53) - 1,
    2**62, 2**63 - 1, -(2**63), 10**11, 10**14, 10**17, 10**18,
)  # fmt: skip
LENGTHS: Final = (
    -1,
    -2,
    1,
    2,
    127,
    128,
    2**16,
    2**31 - 1,
    2**31,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
)
DOUBLES: Final = (
    0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-310, 1.7976931348623157e308, 1e308,
    -1e308, 8.98846567431158e307, float("inf"), float("-inf"), float("nan"), 1e-9, 2.0**53, 1e22,
)  # fmt: skip
#: A signalling NaN, NaNs with payloads, and an infinity with the wrong sign bit order.
RAW_DOUBLES: Final = (
    b"\x01\0\0\0\0\0\xf0\x7f", b"\xff" * 8, b"\x7f" * 8, b"\0\0\0\0\0\0\xf0\xff",
    b"\x80" + b"\0" * 7,
)  # fmt: skip
RAW_FLOATS: Final = (b"\xff" * 4, b"\0\0\x80\x7f", b"\1\0\0\0", b"\0\0\0\x80", b"\1\0\x80\x7f")
#: Decimals of odd sizes.
BLOBS: Final = (
    b"", b"\x80", b"\x7f" + b"\xff" * 200, b"\xff" * 9, b"\x7f" + b"\xff" * 127, b"\0" * 5_000,
)  # fmt: skip
TEXTS: Final = (
    b"", b" ", b"\t\n", b"\0", b"A\0B", b"\0\0", b"x" * 200, b"x" * 201, b"x" * 70_000,
    "ß".encode(), "ŉ".encode(), "İ".encode(), "ﬃ".encode(), "\u2028".encode(), "\u00a0A".encode(),
    "\ufeffA".encode(), "\U0001d538".encode(), "\U0010ffff".encode(), b"\xed\xa0\x80",
    b"\xc0\x80", b"\xff",
    b"\xf4\x90\x80\x80", b"A\xc3", b"\x80", b"'; drop", b"{}", b"../..", b"%s%n",
    b"A" * 199 + "ß".encode(),
)  # fmt: skip


def varint(value: int) -> bytes:
    """The shortest zigzag varint of a 64-bit number."""
    raw = ((value << 1) ^ (value >> 63)) & _MASK
    out = bytearray()
    while raw >= 0x80:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def odd_varint(chance: Random, value: int) -> bytes:
    """A varint of ``value`` as no writer writes it, or of no value at all."""
    short = varint(value)
    match chance.randrange(6):
        case 0:  # longer than needed, up to the ten bytes that are allowed and one more
            size = chance.randrange(len(short) + 1, 12)
            return bytes([*(byte | 0x80 for byte in short), *([0x80] * (size - len(short) - 1)), 0])
        case 1:
            return b"\xff" * chance.randrange(1, 13)
        case 2:
            return b"\xff" * 9 + bytes([chance.randrange(256)])
        case 3:
            return b"\x80" * chance.randrange(1, 12) + b"\x01"
        case 4:
            return varint(chance.choice(LONGS))
        case _:
            return short[:-1]


def damaged(chance: Random, body: bytes) -> bytes:
    """``body`` with a few bytes changed, cut out, put in, doubled, or cut at any place."""
    data = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(9):
            case 0:
                del data[at:]
            case 1 | 2 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 3 if at < len(data):
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 4:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 5:
                del data[at : at + chance.randrange(1, 9)]
            case 6:
                data += chance.choice(
                    (b"\0", b"\x80", b"\xff" * 3, struct.pack("<d", 1.5), bytes(data))
                )
            case 7:
                data[at:at] = data[at : at + chance.randrange(1, 20)]
            case _:
                data[at:at] = odd_varint(chance, chance.choice(LENGTHS))
    return bytes(data)
