"""Avro records that are a row of plain fields, as the slots that follow each other on the wire.

A record inside a record is its fields in place, so it is flat too.  A flat schema can be read
in columns; what is not flat (arrays, maps, wider unions, records that may be null) is read
record by record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from barstream.codecs.avro.schema import Node

SlotKind = Literal["boolean", "varint", "float", "double", "string", "bytes", "enum", "fixed"]

_SIZES: Final = {"boolean": 1, "float": 4, "double": 8}
#: How pyruhvro 0.4 is asked for a kind.  It cannot read bytes, but a string stands on the wire
#: in the same way and is not looked into; it wraps an int that is too large, a long holds it.
_SPELLED: Final = {"varint": "long", "enum": "long", "bytes": "string", "fixed": "double"}


@dataclass(frozen=True, slots=True)
class Slot:
    """One field: ``size`` bytes (0: a number or text of varying length).

    ``branch`` is the index that says "not null" in a union with null, None where there is no
    union; ``symbols`` is the number of symbols of an enum.
    """

    path: str
    kind: SlotKind
    size: int = 0
    branch: int | None = None
    symbols: int = 0


def flatten(schema: Node) -> list[Slot] | None:
    """The slots of a record, None when it is not flat."""
    slots: list[Slot] = []
    for slot in _slots(schema, ""):
        if slot is None:
            return None
        slots.append(slot)
    return slots or None


def _slots(record: Node, prefix: str) -> Iterator[Slot | None]:
    for name, part in zip(record.names, record.parts, strict=True):
        path = prefix + name
        if part.kind == "record":
            yield from _slots(part, f"{path}.")
        elif part.kind != "null":  # which takes no bytes
            yield _slot(path, part)


def _slot(path: str, part: Node) -> Slot | None:
    inner = part.inner
    branch = part.parts.index(inner) if part.nullable else None
    match inner.kind:
        case "boolean" | "float" | "double" as kind:
            return Slot(path, kind, _SIZES[kind], branch)
        case "varint" | "string" | "bytes" as kind:
            return Slot(path, kind, 0, branch)
        case "enum":
            return Slot(path, "enum", 0, branch, len(inner.names))
        # pyruhvro cannot read fixed either, but doubles are as good as any eight bytes
        case "fixed" if inner.size == 8 or (inner.size % 8 == 0 and inner.size and branch is None):
            return Slot(path, "fixed", inner.size, branch)
        case _:
            return None


def spell(slots: list[Slot], *, framed: bool) -> str:
    """The schema text that makes pyruhvro read the slots; a fixed takes one column per 8 bytes.

    Args:
        slots: the fields.
        framed: whether a five byte header stands first; it takes two columns, to be ignored.
    """
    types: list[Any] = ["boolean", "float"] if framed else []
    for slot in slots:
        kind = _SPELLED.get(slot.kind, slot.kind)
        if slot.branch is None:
            types += [kind] * (slot.size // 8 if slot.kind == "fixed" else 1)
        else:
            types.append(["null", kind] if slot.branch else [kind, "null"])
    fields = [{"name": f"c{number}", "type": kind} for number, kind in enumerate(types)]
    return orjson.dumps({"type": "record", "name": "Row", "fields": fields}).decode()
