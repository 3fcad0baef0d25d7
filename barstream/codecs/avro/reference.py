"""What a well-formed Avro body is, byte by byte: the definition the fast paths are held to.

A reader takes the bytes and a position and gives the value and the position behind it.  It
reads nothing beyond the bytes and reserves no memory on the word of a length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from barstream.codecs.avro.schema import Node

Reader = Callable[[bytes, int], tuple[Any, int]]

_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")
_VARINT_BYTES: Final = 10
#: Items that take no bytes (nulls) could be claimed without end.
_EMPTY_ITEMS: Final = 1_000
_MASK: Final = (1 << 64) - 1


class MalformedError(ValueError):
    """The bytes are no body of the schema."""


def read_body(reader: Reader, body: bytes, at: int = 0) -> Any:
    """The value of ``body``, which must end where the value ends.

    Raises:
        MalformedError: what does not fit, and where.
    """
    value, end = reader(body, at)
    if end != len(body):
        raise MalformedError(f"{len(body) - end} bytes are left over after the record")
    return value


def reader_of(node: Node) -> Reader:
    """The reader of a type; records become dictionaries, enums their index, int and long int."""
    match node.kind:
        case "fixed":
            size = node.size
            return lambda body, at: (_take(body, at, size), at + size)
        case "enum":
            return _index(len(node.names), "symbol")
        case "record":
            return _record(node)
        case "union":
            return _union(node)
        case "array" | "map":
            return _blocks(node)
        case primitive:
            return _PRIMITIVES[primitive]


def read_varint(body: bytes, at: int) -> tuple[int, int]:
    """An int or long: at most ten bytes, what is above 64 bits is dropped."""
    raw = shift = 0
    for end in range(at, at + _VARINT_BYTES):
        if end >= len(body):
            raise MalformedError(f"the record ends inside a number at byte {at}")
        byte = body[end]
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            raw &= _MASK
            return (raw >> 1) ^ -(raw & 1), end + 1
        shift += 7
    raise MalformedError(f"a number at byte {at} is longer than {_VARINT_BYTES} bytes")


def _take(body: bytes, at: int, size: int) -> bytes:
    taken = body[at : at + size]
    if len(taken) < size:
        raise MalformedError(f"{size} bytes are required at byte {at}, found {len(taken)}")
    return taken


def _boolean(body: bytes, at: int) -> tuple[bool, int]:
    byte = _take(body, at, 1)[0]
    if byte > 1:
        raise MalformedError(f"a boolean at byte {at} must be 0 or 1, found {byte}")
    return bool(byte), at + 1


def _bytes(body: bytes, at: int) -> tuple[bytes, int]:
    size, start = read_varint(body, at)
    if not 0 <= size <= len(body) - start:
        raise MalformedError(
            f"a length at byte {at} is {size}, with {len(body) - start} bytes left"
        )
    return body[start : start + size], start + size


def _string(body: bytes, at: int) -> tuple[bytes, int]:
    text, end = _bytes(body, at)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"a text at byte {at} is no UTF-8") from error
    return text, end


def _index(count: int, what: str) -> Reader:
    def read(body: bytes, at: int) -> tuple[int, int]:
        index, end = read_varint(body, at)
        if not 0 <= index < count:
            raise MalformedError(f"{what} {index} of {count} at byte {at}")
        return index, end

    return read


def _record(node: Node) -> Reader:
    readers = [(name, reader_of(part)) for name, part in zip(node.names, node.parts, strict=True)]

    def read(body: bytes, at: int) -> tuple[dict[str, Any], int]:
        values = {}
        for name, reader in readers:
            values[name], at = reader(body, at)
        return values, at

    return read


def _union(node: Node) -> Reader:
    readers = [reader_of(part) for part in node.parts]
    index = _index(len(readers), "branch")

    def read(body: bytes, at: int) -> tuple[Any, int]:
        branch, at = index(body, at)
        return readers[branch](body, at)

    return read


def _takes_no_bytes(node: Node) -> bool:
    match node.kind:
        case "null":
            return True
        case "fixed":
            return not node.size
        case "record":
            return all(map(_takes_no_bytes, node.parts))
        case _:
            return False


def _blocks(node: Node) -> Reader:
    keyed = node.kind == "map"
    item = None if not keyed and _takes_no_bytes(node.parts[0]) else reader_of(node.parts[0])

    def read(body: bytes, at: int) -> tuple[None, int]:
        while True:
            count, at = read_varint(body, at)
            if count == 0:
                return None, at
            if count < 0:  # a block that states its size in bytes
                count = -count
                _, at = read_varint(body, at)
            if count > len(body) - at + _EMPTY_ITEMS:
                raise MalformedError(f"{count} items in {len(body) - at} bytes at byte {at}")
            if item is None:
                continue  # a few bytes could have us count for hours
            for _ in range(count):
                if keyed:
                    _, at = _string(body, at)
                _, at = item(body, at)

    return read


_PRIMITIVES: Final[dict[str, Reader]] = {
    "null": lambda _body, at: (None, at),
    "boolean": _boolean,
    "varint": read_varint,
    "float": lambda body, at: (_FLOAT.unpack(_take(body, at, 4))[0], at + 4),
    "double": lambda body, at: (_DOUBLE.unpack(_take(body, at, 8))[0], at + 8),
    "bytes": _bytes,
    "string": _string,
}
