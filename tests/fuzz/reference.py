"""What a record is, told slowly: one record, plain Python, exact fractions.

It shares with the product the reader of well-formed bodies (`barstream.codecs.avro.reference`,
which the fast paths are held to, and which is held to fastavro here) and the normalisation of
names.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Final, NamedTuple

import orjson

from barstream.codecs.avro.reference import MalformedError, Reader, read_body
from barstream.codecs.ticks.mapping import Leaf, Number, TickMapping
from barstream.config.sections import TickSettings
from barstream.model.key import FOLDED

END_US: Final = 253_402_300_800_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NUMBER: Final = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}")


class RefTick(NamedTuple):
    """A tick."""

    broker: str
    symbol: str
    time_us: int
    price: float
    size: float


UNDECODABLE: Final = "undecodable"
INVALID: Final = "invalid"
FUTURE: Final = "future"
_MISSING: Final = object()


class _Avro:
    """Fields of a record that `walk` has read."""

    def __init__(self, mapping: TickMapping, record: Any) -> None:
        self.mapping = mapping
        self.record = record

    def _field(self, path: str) -> Any:
        found: Any = self.record
        for name in path.split("."):
            if found is None:
                return None
            found = found[name]
        return found

    def _number(self, number: Number) -> Any:
        raw = self._field(number.leaf.path)
        match number.leaf.node.kind:
            case _ if raw is None:
                return None
            case "varint":
                return _scaled(raw, number.scale)
            case "string":
                return _text_number(raw.decode(), number.scale)
            case "bytes" | "fixed":
                return _scaled(int.from_bytes(raw, "big", signed=True), number.scale)
            case _:
                return float(raw)

    def _name(self, leaf: Leaf) -> Any:
        raw = self._field(leaf.path)
        if raw is None:
            return None
        return leaf.node.names[raw] if leaf.node.kind == "enum" else raw.decode()

    def names(self) -> tuple[Any, Any]:
        known = self.mapping
        broker = known.broker_constant if known.broker is None else self._name(known.broker)
        return broker, self._name(known.symbol)

    def time_us(self) -> Any:
        raw = self._field(self.mapping.time.path)
        if isinstance(raw, bytes):
            raw = raw.decode()
        return None if raw is None else _time(raw, self.mapping.time_unit)

    def prices(self) -> list[Any]:
        return [self._number(each) for each in self.mapping.price]

    def size(self) -> Any:
        return None if self.mapping.size is None else self._number(self.mapping.size)


class _Json:
    """Fields of an object."""

    def __init__(self, settings: TickSettings, record: dict[str, Any]) -> None:
        self.settings = settings
        self.record = record

    def _field(self, path: str) -> Any:
        found: Any = self.record.get(path)
        if found is None and "." in path:
            found = self.record
            for name in path.split("."):
                found = found.get(name) if isinstance(found, dict) else None
        return found

    def _number(self, path: str, scale: int) -> Any:
        match self._field(path):
            case None:
                return None
            case bool():
                return _MISSING
            case int(raw):
                return _scaled(raw, scale)
            case float(raw) if not scale:
                return raw
            case str(raw):
                return _text_number(raw, scale)
            case _:
                return _MISSING

    def _text(self, path: str) -> Any:
        raw = self._field(path)
        return raw if isinstance(raw, str) else None

    def names(self) -> tuple[Any, Any]:
        constant = self.settings.broker_constant
        broker = self._text(self.settings.broker) if constant is None else constant
        return broker, self._text(self.settings.symbol)

    def time_us(self) -> Any:
        raw, unit = self._field(self.settings.time), self.settings.time_unit
        is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
        if isinstance(raw, str) or (is_number and unit != "iso"):
            return _time(raw, unit)
        return None

    def prices(self) -> list[Any]:
        known = self.settings
        paths = [known.price] if known.bid is None else [known.bid, known.ask or ""]
        return [self._number(path, known.price_scale) for path in paths]

    def size(self) -> Any:
        return None if self.settings.size is None else self._number(self.settings.size, 0)


def judge_avro(
    mapping: TickMapping,
    reader: Reader,
    value: bytes | None,
    skip: int,
    stamp_us: int,
    skew_us: int,
) -> RefTick | str:
    """The tick in ``value``, or the reason why there is none."""
    if value is None or len(value) < skip:
        return UNDECODABLE
    try:
        record = read_body(reader, value, skip)
    except MalformedError:
        return UNDECODABLE
    return _decided(_Avro(mapping, record), stamp_us, skew_us)


def judge_json(
    settings: TickSettings, value: bytes | None, stamp_us: int, skew_us: int
) -> RefTick | str:
    """The same for a JSON object."""
    try:
        record = orjson.loads(value or b"")
    except ValueError:
        return UNDECODABLE
    if not isinstance(record, dict):
        return UNDECODABLE
    return _decided(_Json(settings, record), stamp_us, skew_us)


def _decided(fields: _Avro | _Json, stamp_us: int, skew_us: int) -> RefTick | str:
    prices, time_us, size = fields.prices(), fields.time_us(), fields.size()
    broker, symbol = fields.names()
    size = 0.0 if size is None else size
    if any(part is None or part is _MISSING for part in (broker, symbol, time_us, size, *prices)):
        return UNDECODABLE
    price = prices[0] if len(prices) == 1 else _middle(*prices)
    if not math.isfinite(price) or not math.isfinite(size) or size < 0 or time_us < 0:
        return INVALID
    try:
        broker, symbol = FOLDED.normalise(broker), FOLDED.normalise(symbol)
    except ValueError:
        return INVALID
    if stamp_us >= 0 and time_us > stamp_us + skew_us:
        return FUTURE
    return RefTick(broker, symbol, time_us, price, size)


def _middle(bid: float, ask: float) -> float:
    return (bid + ask) / 2


def _scaled(value: int, scale: int) -> float:
    try:
        return float(Fraction(value, 10**scale))
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text_number(text: str, scale: int) -> Any:
    word = text.strip()
    if scale:
        return _scaled(int(word), scale) if _WHOLE.fullmatch(word) else _MISSING
    return float(word) if _NUMBER.fullmatch(word) else _MISSING


def _time(raw: Any, unit: str) -> Any:
    """Microseconds, -1 for no time at all, `_MISSING` for what is not of the kind."""
    if isinstance(raw, str):
        word = raw.strip()
        if unit in ("iso", "auto"):
            try:
                when = datetime.fromisoformat(word)
            except ValueError:
                return -1
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
            return _within((when - _EPOCH) // timedelta(microseconds=1))
        if _WHOLE.fullmatch(word):
            return _time(int(word), unit)
        return _time(float(word), unit) if _NUMBER.fullmatch(word) else _MISSING
    if not -(2**63) <= raw < 2**63:  # no NaN either
        return -1
    if unit == "auto":
        unit = "s" if raw < 10**11 else "ms" if raw < 10**14 else "us" if raw < 10**17 else "ns"
    if isinstance(raw, int):
        return _within(raw * 1_000_000 // _SECOND[unit])
    return _within(round(raw * (1_000_000 / _SECOND[unit]))) if raw >= 0 else -1


def _within(time_us: int) -> int:
    return time_us if 0 <= time_us < END_US else -1
