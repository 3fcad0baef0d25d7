"""Which fields of an Avro schema are broker, symbol, time, price and size.

The mapping is bound to a schema once, when the schema becomes known; whatever cannot work is
found there and said, not record by record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from barstream.codecs.avro.schema import Node, SchemaError
from barstream.codecs.ticks.scale import TimeUnit
from barstream.config.sections import TickSettings

_TIMESTAMPS: Final[dict[str, TimeUnit]] = {
    "timestamp-millis": "ms",
    "timestamp-micros": "us",
    "timestamp-nanos": "ns",
    "local-timestamp-millis": "ms",
    "local-timestamp-micros": "us",
    "local-timestamp-nanos": "ns",
}
_NO_NUMBERS: Final = ("date", "time-millis", "time-micros", *_TIMESTAMPS)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A mapped field: its dotted path, its type without null, whether it may be absent."""

    path: str
    node: Node
    nullable: bool


@dataclass(frozen=True, slots=True)
class Number:
    """A price or size field, and how many decimal places its whole numbers have."""

    leaf: Leaf
    scale: int


@dataclass(frozen=True, slots=True)
class TickMapping:
    """The mapping bound to one schema; ``price`` is one field, or bid and ask."""

    broker: Leaf | None
    broker_constant: str
    symbol: Leaf
    time: Leaf
    time_unit: TimeUnit
    price: tuple[Number, ...]
    size: Number | None

    @property
    def leaves(self) -> list[Leaf]:
        """Every mapped field once or more."""
        numbers = [*self.price, *([self.size] if self.size else [])]
        names = [leaf for leaf in (self.broker, self.symbol) if leaf]
        return [*names, self.time, *(number.leaf for number in numbers)]


def bind(settings: TickSettings, schema: Node, origin: str) -> TickMapping:
    """The mapping of ``settings`` for ``schema``.

    Args:
        settings: section ``ticks``.
        schema: the record.
        origin: where the schema came from, for messages.

    Raises:
        SchemaError: a mapped field is not in the schema, or its type cannot serve.
    """
    binder = _Binder(settings, schema, origin)
    constant = settings.broker_constant
    price = (settings.price,) if settings.bid is None else (settings.bid, settings.ask or "")
    roles = ("price",) if settings.bid is None else ("bid", "ask")
    return TickMapping(
        broker=binder.name("broker", settings.broker) if constant is None else None,
        broker_constant=constant or "",
        symbol=binder.name("symbol", settings.symbol),
        time=binder.leaf("time", settings.time),
        time_unit=binder.time_unit(),
        price=tuple(
            binder.number(role, path, settings.price_scale)
            for role, path in zip(roles, price, strict=True)
        ),
        size=None if settings.size is None else binder.number("size", settings.size, 0),
    )


class _Binder:
    def __init__(self, settings: TickSettings, schema: Node, origin: str) -> None:
        self.settings = settings
        self.schema = schema
        self.origin = origin

    def leaf(self, role: str, path: str) -> Leaf:
        node, nullable = self.schema, False
        for name in path.split("."):
            found = node.field_named(name)
            if found is None:
                remedy = (
                    ', or say that the feed has none with ticks.size = ""' if role == "size" else ""
                )
                raise SchemaError(
                    f"ticks.{role} = {path!r} names a field that {self.origin} does not have; its "
                    f"fields are {', '.join(self.schema.paths())}: set ticks.{role} to one of them"
                    f"{remedy}"
                )
            nullable |= found.nullable
            node = found.inner
        return Leaf(path, node, nullable)

    def name(self, role: str, path: str) -> Leaf:
        leaf = self.leaf(role, path)
        if leaf.node.kind not in ("string", "enum"):
            raise self._wrong(role, leaf, "a string or an enum")
        return leaf

    def number(self, role: str, path: str, scale: int) -> Number:
        leaf = self.leaf(role, path)
        node = leaf.node
        is_decimal = node.kind in ("bytes", "fixed") and node.logical == "decimal"
        is_number = node.kind in ("varint", "float", "double", "string")
        if not (is_decimal or is_number) or node.logical in _NO_NUMBERS:
            raise self._wrong(role, leaf, "a number (int, long, float, double, decimal or string)")
        if scale and (is_decimal or node.kind in ("float", "double")):
            raise SchemaError(
                f"ticks.price_scale = {scale} is for whole numbers, but field {path!r} of "
                f"{self.origin} is {_spell(node)}: leave price_scale at 0"
            )
        return Number(leaf, node.scale if is_decimal else scale)

    def time_unit(self) -> TimeUnit:
        leaf = self.leaf("time", self.settings.time)
        node, unit = leaf.node, self.settings.time_unit
        if node.kind == "string":
            return unit
        if node.kind not in ("varint", "float", "double") or (
            node.logical in _NO_NUMBERS and node.logical not in _TIMESTAMPS
        ):
            raise self._wrong("time", leaf, "a timestamp, a number or ISO 8601 text")
        stated = _TIMESTAMPS.get(node.logical or "")
        if unit == "iso" or (stated and unit not in ("auto", stated)):
            raise SchemaError(
                f"ticks.time_unit = {unit!r} contradicts field {leaf.path!r} of {self.origin}, "
                f'which is {_spell(node)}: set it to "{stated or "auto"}"'
            )
        return stated or unit

    def _wrong(self, role: str, leaf: Leaf, required: str) -> SchemaError:
        return SchemaError(
            f"ticks.{role} = {leaf.path!r} must name {required}, but in {self.origin} it is "
            f"{_spell(leaf.node)}: map another field"
        )


def _spell(node: Node) -> str:
    kind = "an int or long" if node.kind == "varint" else f"of type {node.kind}"
    return f"{kind} ({node.logical})" if node.logical else kind
