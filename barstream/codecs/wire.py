"""An Avro schema as a tree of what stands on the wire, names resolved.

Only the writer's schema matters here: records are read as they were written, defaults and
aliases are for readers that expect another schema than ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from barstream.errors import BarstreamError

Kind = Literal[
    "null", "boolean", "varint", "float", "double", "string", "bytes", "fixed", "enum",
    "record", "union", "array", "map",
]  # fmt: skip

_PRIMITIVE: Final[dict[str, Kind]] = {
    "null": "null",
    "boolean": "boolean",
    "int": "varint",
    "long": "varint",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
}


class SchemaError(BarstreamError):
    """An Avro schema cannot be used for ticks.

    Mend the schema file (or the subject in the registry), or the mapping in section ``ticks``
    of the settings: the message names the field.
    """


@dataclass(frozen=True, slots=True)
class Node:
    """One type: ``parts`` are fields, branches, or the item type; ``names`` fields or symbols."""

    kind: Kind
    logical: str | None = None
    scale: int = 0
    size: int = 0
    names: tuple[str, ...] = ()
    parts: tuple[Node, ...] = field(default=(), repr=False)

    @property
    def inner(self) -> Node:
        """The type itself, or what a union with null alone may hold besides null."""
        if self.kind == "union" and len(self.parts) == 2:
            some = [part for part in self.parts if part.kind != "null"]
            if len(some) == 1:
                return some[0]
        return self

    @property
    def nullable(self) -> bool:
        """Whether it is a union of null and one other type."""
        return self.inner is not self

    def field_named(self, name: str) -> Node | None:
        """The field of a record; None when there is none, or this is no record."""
        if self.kind == "record" and name in self.names:
            return self.parts[self.names.index(name)]
        return None

    def paths(self, prefix: str = "") -> Iterator[str]:
        """Names of all fields, nested ones dotted: for messages."""
        for name, part in zip(self.names, self.parts, strict=False):
            yield prefix + name
            if part.inner.kind == "record":
                yield from part.inner.paths(f"{prefix}{name}.")


def parse_wire(schema: Any, known: Mapping[str, Node] | None = None) -> Node:
    """The tree of an Avro schema (decoded JSON).

    Args:
        schema: the schema; its top must be a record.
        known: named types defined elsewhere (references of a schema registry).

    Raises:
        SchemaError: it is no Avro schema, its top is no record, or it contains itself.
    """
    top = _Parser(dict(known or {})).node(schema, "")
    if top.kind != "record":
        raise SchemaError(
            f"the schema of a value must be an Avro record, found type {top.kind}: name the schema "
            "of the record's value"
        )
    return top


def named_types(schema: Any, known: Mapping[str, Node] | None = None) -> dict[str, Node]:
    """Every named type that ``schema`` defines, with those in ``known``.

    Raises:
        SchemaError: it is no Avro schema.
    """
    parser = _Parser(dict(known or {}))
    parser.node(schema, "")
    return {name: node for name, node in parser.known.items() if node is not None}


class _Parser:
    def __init__(self, known: dict[str, Node]) -> None:
        self.known: dict[str, Node | None] = {**known}  # None: being defined

    def node(self, schema: Any, space: str) -> Node:
        if isinstance(schema, str):
            return self._by_name(schema, space)
        if isinstance(schema, list):
            return Node("union", parts=tuple(self.node(branch, space) for branch in schema))
        if not isinstance(schema, dict) or "type" not in schema:
            raise SchemaError(f"an Avro type is required, found {str(schema)[:80]!r}")
        kind = schema["type"]
        match kind:
            case "record" | "error" | "enum" | "fixed":
                return self._named(schema, space)
            case "array":
                return Node("array", parts=(self.node(schema.get("items"), space),))
            case "map":
                return Node("map", parts=(self.node(schema.get("values"), space),))
            case str() if kind in _PRIMITIVE:
                return _with_logical(Node(_PRIMITIVE[kind]), schema)
            case _:
                return self.node(kind, space)

    def _by_name(self, name: str, space: str) -> Node:
        if name in _PRIMITIVE:
            return Node(_PRIMITIVE[name])
        for full in (f"{space}.{name}" if space and "." not in name else name, name):
            if full in self.known:
                node = self.known[full]
                if node is None:
                    raise SchemaError(
                        f"a schema must not contain itself, found {full} inside {full}"
                    )
                return node
        raise SchemaError(f"an Avro type is required, found the unknown name {name!r}")

    def _named(self, schema: dict[str, Any], space: str) -> Node:
        name = schema.get("name")
        if not isinstance(name, str):
            raise SchemaError(f"an Avro {schema['type']} needs a name, found {name!r}")
        space = name.rpartition(".")[0] or schema.get("namespace", space)
        full = name if "." in name or not space else f"{space}.{name}"
        self.known[full] = None
        node = self.known[full] = self._body(schema, space)
        return node

    def _body(self, schema: dict[str, Any], space: str) -> Node:
        try:
            if schema["type"] == "enum":
                return Node("enum", names=tuple(schema["symbols"]))
            if schema["type"] == "fixed":
                return _with_logical(Node("fixed", size=int(schema["size"])), schema)
            fields = schema["fields"]
            return Node(
                "record",
                names=tuple(f["name"] for f in fields),
                parts=tuple(self.node(f["type"], space) for f in fields),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(
                f"{schema['type']} {schema['name']} is no valid Avro: {error!r}"
            ) from error


def _with_logical(node: Node, schema: dict[str, Any]) -> Node:
    logical = schema.get("logicalType")
    if not isinstance(logical, str):
        return node
    scale = schema.get("scale", 0)
    return Node(node.kind, logical, scale if isinstance(scale, int) else 0, node.size)
