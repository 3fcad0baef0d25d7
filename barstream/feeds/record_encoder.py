"""Ticks record by record: JSON objects, and Avro records of the user's own schema.

Slower than the packaged schema (some 10 us a tick), but whatever the mapping can read can be
loaded and simulated, as long as fields that are not mapped have defaults.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any, Final, cast

import fastavro
import numpy as np
import orjson

from barstream.codecs.avro.body import without_logical_types
from barstream.codecs.avro.schema import Node
from barstream.codecs.ticks.mapping import Number, bind
from barstream.codecs.ticks.registry_frame import frame
from barstream.config import TickSettings
from barstream.feeds.encoder import (
    ColumnEncoding,
    FeedFields,
    Float64s,
    NumberField,
    TickEncodingError,
)
from barstream.model.time import iso_micros_from_us

_NO_TICK: Final = b"\xff"
"""For a price that the format cannot hold: undecodable everywhere."""
_LONG_END: Final = 2.0**63
#: From here on a number is rounded to infinity.
_SINGLE_END: Final = float(2**128 - 2**103)
_UNITS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}


class JsonRecords:
    """One JSON object a tick."""

    takes_nan = False

    def __init__(self, settings: TickSettings) -> None:
        self._settings = settings

    @property
    def fields(self) -> FeedFields:
        """Prices are whole numbers of 64 bits where they have a scale."""
        scale = self._settings.price_scale
        price = NumberField(scale, _LONG_END) if scale else NumberField()
        time_us = _UNITS.get(self._settings.time_unit, 1)
        if self._settings.bid is None:
            return FeedFields(price, time_us=time_us)
        return FeedFields(None, (price, price), time_us=time_us)

    def encode(self, ticks: ColumnEncoding) -> list[bytes]:
        """One object a tick, fields named by the mapping."""
        settings = self._settings
        self.fields.check(ticks)
        _check_broker(settings, ticks)
        scale = settings.price_scale
        values: list[bytes] = []
        for broker, symbol, time_us, prices, size in _rows(settings, ticks):
            if not np.isfinite(prices).all():
                values.append(_NO_TICK)
                continue
            row: dict[str, Any] = {settings.symbol: symbol}
            if settings.broker_constant is None:
                row[settings.broker] = broker
            row[settings.time] = _time(time_us, settings.time_unit, text=True)
            for name, price in zip(_price_fields(settings), prices, strict=True):
                row[name] = _unscaled(price, scale) if scale else price
            if settings.size is not None:
                row[settings.size] = size
            values.append(orjson.dumps(row))
        return values


class AvroRecords:
    """One Avro record a tick, of any schema whose mapped fields can hold a tick.

    Args:
        settings: section ``ticks``.
        node: the schema's types.
        schema: the schema as decoded JSON.
        origin: where it came from, for messages.
        schema_id: of a registry, for Confluent framing; None: plain bodies.

    Raises:
        SchemaError: the mapping does not fit the schema.
    """

    def __init__(
        self, settings: TickSettings, node: Node, schema: Any, origin: str, schema_id: int | None
    ) -> None:
        self._settings = settings
        self._mapping = bind(settings, node, origin)
        self._schema = fastavro.parse_schema(cast("dict[str, Any]", without_logical_types(schema)))
        self._origin = origin
        self._schema_id = schema_id

    @property
    def takes_nan(self) -> bool:
        """Only floating-point fields do."""
        return all(number.leaf.node.kind in ("float", "double") for number in self._mapping.price)

    @property
    def fields(self) -> FeedFields:
        """As the types of the mapped fields have them."""
        mapping = self._mapping
        prices = [_field(number) for number in mapping.price]
        size = NumberField() if mapping.size is None else _field(mapping.size)
        time_us = _UNITS.get(mapping.time_unit, 1)
        if len(prices) == 1:
            return FeedFields(prices[0], None, size, time_us)
        return FeedFields(None, (prices[0], prices[1]), size, time_us)

    def encode(self, ticks: ColumnEncoding) -> list[bytes]:
        """One body a tick.

        Raises:
            TickEncodingError: a field without default is not mapped, or does not take a value.
        """
        mapping = self._mapping
        self.fields.check(ticks)
        _check_broker(self._settings, ticks)
        text = mapping.time.node.kind == "string"
        values: list[bytes] = []
        for broker, symbol, time_us, prices, size in _rows(self._settings, ticks):
            if not self.takes_nan and not np.isfinite(prices).all():
                values.append(_NO_TICK)
                continue
            row: dict[str, Any] = {}
            _put(row, mapping.symbol.path, symbol)
            if mapping.broker is not None:
                _put(row, mapping.broker.path, broker)
            _put(row, mapping.time.path, _time(time_us, mapping.time_unit, text=text))
            for number, price in zip(mapping.price, prices, strict=True):
                _put(row, number.leaf.path, _number(number, price))
            if mapping.size is not None:
                _put(row, mapping.size.leaf.path, _number(mapping.size, size))
            values.append(self._body(row))
        return values

    def _body(self, row: dict[str, Any]) -> bytes:
        out = BytesIO()
        try:
            fastavro.schemaless_writer(out, self._schema, row, strict_allow_default=True)
        except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
            raise TickEncodingError(
                f"a tick must fit {self._origin} by the mapping in [ticks], fields that are not "
                f"mapped having defaults; it does not: {error}"
            ) from error
        body = out.getvalue()
        return body if self._schema_id is None else frame(self._schema_id, body)


def _price_fields(settings: TickSettings) -> tuple[str, ...]:
    if settings.bid is None or settings.ask is None:
        return (settings.price,)
    return settings.bid, settings.ask


def _rows(
    settings: TickSettings, ticks: ColumnEncoding
) -> Iterator[tuple[str, str, int, tuple[float, ...], float]]:
    """Broker, symbol, time, prices and size of each tick."""
    sides: Sequence[Float64s | None] = (ticks.price,)
    if settings.bid is not None:
        sides = (ticks.bid, ticks.ask)
    prices = [(ticks.price if side is None else side).tolist() for side in sides]
    size = (
        np.zeros(len(ticks.series))
        if ticks.size is None
        else np.where(np.isnan(ticks.size), 0.0, ticks.size)
    )
    owners = [ticks.names[i] for i in ticks.series.tolist()]
    columns = zip(
        owners, ticks.time_us.tolist(), zip(*prices, strict=True), size.tolist(), strict=True
    )
    for (broker, symbol), time_us, both, amount in columns:
        yield broker, symbol, time_us, both, amount


def _check_broker(settings: TickSettings, ticks: ColumnEncoding) -> None:
    constant = settings.broker_constant
    if constant is None:
        return
    other = {broker for broker, _ in ticks.names} - {settings.name_rule.normalise(constant)}
    if other:
        raise TickEncodingError(
            f"ticks carry no broker, every one is of ticks.broker_constant = {constant!r}; found "
            f"{min(other)!r}: give --broker {constant}"
        )


def _put(row: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        row = row.setdefault(parent, {})
    row[name] = value


def _time(time_us: int, unit: str, *, text: bool) -> int | str:
    """The time in ``unit``; ``auto`` is ISO text where text is taken, else microseconds."""
    if unit == "iso" or (unit == "auto" and text):
        return iso_micros_from_us(time_us)
    return time_us * 1_000 if unit == "ns" else time_us // _UNITS.get(unit, 1)


def _field(number: Number) -> NumberField:
    node = number.leaf.node
    if node.kind == "float":
        return NumberField(end=_SINGLE_END, single=True)
    if node.kind == "double" or (node.kind == "string" and not number.scale):
        return NumberField()
    ends = {"varint": _LONG_END, "fixed": math.ldexp(1.0, 8 * node.size - 1)}
    return NumberField(number.scale, ends.get(node.kind, math.inf))


def _number(number: Number, value: float) -> Any:
    node = number.leaf.node
    if node.kind in ("float", "double"):
        return value
    if node.kind == "string":
        return str(_unscaled(value, number.scale)) if number.scale else repr(value)
    whole = _unscaled(value, number.scale)
    if node.kind == "varint":
        return whole
    length = node.size or whole.bit_length() // 8 + 1
    return whole.to_bytes(length, "big", signed=True)


def _unscaled(value: float, scale: int) -> int:
    """``86.655`` at scale 3 is ``86655``; the noise of a mid, which is beyond it, is rounded."""
    return int(Decimal(repr(value)).scaleb(scale).to_integral_value())
