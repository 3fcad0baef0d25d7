"""Avro schemas, records of them, and bytes that are almost such records."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import fastavro
import orjson
from hypothesis import strategies as st

from barstream.codecs.avro.schema import Node, parse_wire

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.just("x" * 70)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 200)
floats32 = st.floats(width=32)
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": longs,
    "float": floats32,
    "double": st.floats(),
    "string": texts,
    "bytes": st.binary(max_size=5),
}


def records_of(node: Any) -> st.SearchStrategy[Any]:
    """Values of a schema, as fastavro writes them."""
    if isinstance(node, str):
        return st.none() if node == "null" else PRIMITIVES[node]
    if isinstance(node, list):
        return st.one_of(*(records_of(branch) for branch in node))
    match node["type"]:
        case "enum":
            return st.sampled_from(node["symbols"])
        case "fixed":
            return st.binary(min_size=node["size"], max_size=node["size"])
        case "array":
            return st.lists(records_of(node["items"]), max_size=3)
        case "map":
            return st.dictionaries(texts, records_of(node["values"]), max_size=2)
        case "record":
            return st.fixed_dictionaries(
                {field["name"]: records_of(field["type"]) for field in node["fields"]}
            )
        case kind:
            return records_of(kind)


@st.composite
def schemas(draw: st.DrawFn, *, flat: bool) -> dict[str, Any]:
    """Records of up to six fields; flat ones, or ones with at least one field that is not."""
    serial = iter(range(1000))

    def named(kind: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "name": f"N{next(serial)}", **more}

    def leaf() -> Any:
        kind = draw(st.sampled_from([*PRIMITIVES, "enum", "fixed"]))
        if kind == "enum":
            return named("enum", symbols=["A", "B", "C"][: draw(st.integers(1, 3))])
        if kind == "fixed":
            return named("fixed", size=draw(st.sampled_from([8, 16] if flat else [1, 5, 8])))
        return kind

    def field() -> Any:
        match draw(st.integers(0, 4)):
            case 0:
                inner = draw(st.sampled_from([*PRIMITIVES]))
                return draw(st.sampled_from([["null", inner], [inner, "null"]]))
            case 1:
                parts = [leaf() for _ in range(draw(st.integers(1, 2)))]
                return named(
                    "record", fields=[{"name": f"g{n}", "type": p} for n, p in enumerate(parts)]
                )
            case _:
                return leaf()

    fields = [field() for _ in range(draw(st.integers(1, 5)))]
    if not flat:
        fields.append(
            draw(
                st.sampled_from(
                    [
                        {"type": "array", "items": "long"},
                        {"type": "map", "values": ["null", "double"]},
                        ["null", "long", "string"],
                        ["double", "string"],
                        ["null", named("record", fields=[{"name": "h", "type": "string"}])],
                        {"type": "array", "items": "null"},
                    ]
                )
            )
        )
    fields = draw(st.permutations(fields))
    return named("record", fields=[{"name": f"f{n}", "type": t} for n, t in enumerate(fields)])


def write(schema: Any, record: Any) -> bytes:
    """One plain body by fastavro."""
    out = BytesIO()
    fastavro.schemaless_writer(
        out, fastavro.parse_schema(orjson.loads(orjson.dumps(schema))), record
    )
    return out.getvalue()


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """``body`` with a few bytes changed, cut out, put in, or behind it."""
    data = bytearray(body)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0 if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                data[at:at] = draw(st.binary(min_size=1, max_size=3))
            case 2:
                del data[at : at + draw(st.integers(1, 4))]
            case _:
                data += draw(st.sampled_from([b"\0", b"\x80", struct.pack("<d", 1.5)]))
    return bytes(data)


@st.composite
def almost_records(draw: st.DrawFn, schema: Any, *, most: int = 12) -> list[bytes]:
    """Bodies of ``schema``, sound, damaged and random."""
    bodies = []
    for _ in range(draw(st.integers(0, most))):
        body = write(schema, draw(records_of(schema)))
        match draw(st.integers(0, 4)):
            case 0:
                body = draw(damaged(body))
            case 1:
                body = draw(st.binary(max_size=40))
            case 2:
                body = long_winded(body)
        bodies.append(body)
    return bodies


def long_winded(body: bytes) -> bytes:
    """``body`` with its first byte written as a number one byte longer than needed, if small."""
    return bytes([body[0] | 0x80, 0]) + body[1:] if body and body[0] < 0x80 else body


def tree(schema: Any) -> Node:
    """The schema as barstream sees it."""
    return parse_wire(schema)
