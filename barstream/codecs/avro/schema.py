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


#: What is read by a schema is read by as many functions within each other, and as many fields.
DEEPEST: Final = 32
MOST_LEAVES: Final = 5_000
#: A level takes up to three types within each other, as schemas are written.
_MOST_NESTED: Final = 3 * DEEPEST


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
        SchemaError: it is no Avro schema, its top is no record, it contains itself, or it is deeper
            or larger than anything that is read by it may be.
    """
    top = _Parser(dict(known or {})).node(schema, "")
    _check_size(top)
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
    _check_size(parser.node(schema, ""))
    return {name: node for name, node in parser.known.items() if node is not None}


def _check_size(node: Node) -> None:
    """A type that is named twice stands on the wire twice: a few of them make billions of fields.

    Raises:
        SchemaError: it is deeper or larger than a schema may be.
    """
    depth, leaves = _extent(node, {})
    if depth > DEEPEST or leaves > MOST_LEAVES:
        raise SchemaError(
            f"a schema must have at most {DEEPEST} levels and {MOST_LEAVES:,} fields, what is "
            f"named twice counted twice, found {depth} levels and {leaves:,} fields"
        )


def _extent(node: Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Levels and leaves of a type; ``known``: of those that were asked for, by identity."""
    if not node.parts:
        return 1, 1
    if id(node) not in known:
        parts = [_extent(part, known) for part in node.parts]
        known[id(node)] = 1 + max(depth for depth, _ in parts), sum(leaves for _, leaves in parts)
    return known[id(node)]


class _Parser:
    def __init__(self, known: dict[str, Node]) -> None:
        self.known: dict[str, Node | None] = {**known}  # None: being defined
        self._nested = 0

    def node(self, schema: Any, space: str) -> Node:
        self._nested += 1
        if self._nested > _MOST_NESTED:
            raise SchemaError(
                f"a schema must have at most {DEEPEST} levels, found types within types "
                f"{_MOST_NESTED} times"
            )
        found = self._node(schema, space)
        self._nested -= 1
        return found

    def _node(self, schema: Any, space: str) -> Node:
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
