"""Avro bodies written by the tree of their schema, with something wrong at any node of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from barstream.codecs.avro.schema import Node
from tests.fuzz.mutate import (
    BLOBS,
    DOUBLES,
    LENGTHS,
    LONGS,
    RAW_DOUBLES,
    RAW_FLOATS,
    TEXTS,
    damaged,
    odd_varint,
    varint,
)

#: Makes the value of a field: an int, float, bool, text as bytes; None is null.
Value = Callable[[Random], Any]
_HUGE_ITEMS: Final = (2, 1_000, 1_001, 100_000, 2**31, 2**62, -1, -5, -(2**63))


@dataclass
class Writer:
    """Writes one record; ``wrong`` is how likely each node is to be written wrongly.

    Args:
        chance: what decides.
        values: sane values of fields by dotted path.
        wrong: probability of a mutation at a node.
    """

    chance: Random
    values: Mapping[str, Value]
    wrong: float
    mutations: int = field(default=0, init=False)

    def record(self, node: Node, prefix: str = "") -> bytes:
        """The body of a record."""
        parts = [
            self._node(part, prefix + name)
            for name, part in zip(node.names, node.parts, strict=True)
        ]
        if parts and self._hit(0.2):
            self.mutations += 1
            at = self.chance.randrange(len(parts))
            match self.chance.randrange(3):
                case 0:
                    del parts[at]
                case 1:
                    parts.insert(at, parts[at])
                case _:
                    self.chance.shuffle(parts)
        return b"".join(parts)

    def _hit(self, share: float = 1.0) -> bool:
        return self.chance.random() < self.wrong * share

    def _odd(self) -> bool:
        if self._hit():
            self.mutations += 1
            return True
        return False

    def _node(self, node: Node, path: str) -> bytes:
        match node.kind:
            case "record":
                return self.record(node, f"{path}.")
            case "union":
                return self._union(node, path)
            case "array" | "map":
                return self._blocks(node, path)
            case "null":
                return b""
        value = self.values[path](self.chance) if path in self.values else None
        return self._leaf(node, value)

    def _union(self, node: Node, path: str) -> bytes:
        null = next((at for at, part in enumerate(node.parts) if part.kind == "null"), None)
        value = self.values[path](self.chance) if path in self.values else 0
        if value is None and null is not None:
            branch = null
        else:
            branch = self.chance.choice([at for at in range(len(node.parts)) if at != null])
        if self._odd():
            if self.chance.random() < 0.5:
                return odd_varint(self.chance, branch) + self._node(node.parts[branch], path)
            stated = self.chance.choice((-1, len(node.parts), branch ^ 1, 2**31, 2**63 - 1))
            return varint(stated) + self._node(node.parts[branch], path)
        return varint(branch) + self._node(node.parts[branch], path)

    def _blocks(self, node: Node, path: str) -> bytes:
        count = self.chance.choice((0, 0, 1, 2))
        items = [self._item(node, path) for _ in range(count)]
        if self._odd():
            stated = self.chance.choice(_HUGE_ITEMS)
            sized = varint(self.chance.choice(LENGTHS)) if stated < 0 else b""
            return varint(stated) + sized + b"".join(items) + b"\0"
        if items and self.chance.random() < 0.3:  # a block that states its size in bytes
            body = b"".join(items)
            return varint(-len(items)) + varint(len(body)) + body + b"\0"
        return (varint(len(items)) if items else b"") + b"".join(items) + b"\0"

    def _item(self, node: Node, path: str) -> bytes:
        key = self._text(b"k") if node.kind == "map" else b""
        return key + self._node(node.parts[0], path)

    def _leaf(self, node: Node, value: Any) -> bytes:
        odd = self._odd()
        match node.kind:
            case "varint":
                return self._number(value, odd=odd)
            case "boolean":
                return bytes([self.chance.randrange(256 if odd else 2)])
            case "float" | "double":
                return self._float(node.kind, 1.5 if value is None else value, odd=odd)
            case "enum":
                stated = self.chance.choice((-1, len(node.names), 2**31, -(2**63)))
                return varint(stated if odd else self.chance.randrange(len(node.names)))
            case "fixed":
                return self._fixed(node.size, value, odd=odd)
            case "bytes":
                return self._bytes(b"\x01" if value is None else value, odd=odd)
            case _:
                return self._text(b"x" if value is None else value, odd=odd)

    def _number(self, value: Any, *, odd: bool) -> bytes:
        number = int(self.chance.choice(LONGS) if value is None else value)
        if odd and self.chance.random() < 0.5:
            return odd_varint(self.chance, number)
        return varint(self.chance.choice(LONGS) if odd else number)

    def _float(self, kind: str, value: float, *, odd: bool) -> bytes:
        if not odd:
            return struct.pack("<f" if kind == "float" else "<d", value)
        if kind == "float":
            return self.chance.choice(RAW_FLOATS)
        return self.chance.choice((*RAW_DOUBLES, None)) or struct.pack(
            "<d", self.chance.choice(DOUBLES)
        )

    def _fixed(self, size: int, value: Any, *, odd: bool) -> bytes:
        data = self.chance.randbytes(size) if value is None else _fit(value, size)
        ends = (b"\x80" + b"\0" * (size - 1), b"\xff" * size, b"\x7f" + b"\xff" * (size - 1))
        return self.chance.choice((data[:-1], data + b"\0", *ends)) if odd else data

    def _bytes(self, data: bytes, *, odd: bool) -> bytes:
        if odd and self.chance.random() < 0.5:
            return self._sized(self.chance.choice(BLOBS))
        return self._sized(data, odd=odd)

    def _text(self, text: bytes, *, odd: bool = False) -> bytes:
        if odd and self.chance.random() < 0.6:
            return self._sized(self.chance.choice(TEXTS))
        return self._sized(text, odd=odd)

    def _sized(self, data: bytes, *, odd: bool = False) -> bytes:
        if not odd:
            return varint(len(data)) + data
        match self.chance.randrange(3):
            case 0:
                return varint(self.chance.choice(LENGTHS)) + data
            case 1:
                return odd_varint(self.chance, len(data)) + data
            case _:
                return varint(len(data) + self.chance.choice((-1, 1, 5))) + data


def _fit(value: bytes, size: int) -> bytes:
    number = int.from_bytes(value, "big", signed=True)
    return number.to_bytes(size, "big", signed=True)


def mutant(chance: Random, node: Node, values: Mapping[str, Value]) -> bytes:
    """A body of ``node`` in which something is wrong, or odd, or at the edge of what is allowed."""
    writer = Writer(chance, values, chance.choice((0.0, 0.1, 0.3)))
    body = writer.record(node)
    if not writer.mutations or chance.random() < 0.15:
        body = damaged(chance, body)
    return body


def sane(chance: Random, node: Node, values: Mapping[str, Value]) -> bytes:
    """A body of ``node`` as a writer writes it."""
    return Writer(chance, values, 0.0).record(node)
