"""Session rows that name the schema they were written with: magic 0, schema id, Avro body.

Fields are found by their names and understood by their types, so their order does not matter, nor
whether times are milliseconds, microseconds or text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from barstream.codecs.avro.reference import Reader, read_body, reader_of
from barstream.codecs.avro.schema import Node, SchemaError
from barstream.codecs.registry import KnownSchemas, SchemaRegistry
from barstream.codecs.ticks.schema_reader import HEADER_BYTES
from barstream.model.key import FOLDED, NameRule
from barstream.model.time import DAY_US

MAGIC: Final = b"\0"
TOLERANCE: Final = "close_tolerance_s"
"""The field that a schema need not have."""
REQUIRED: Final = ("broker", "symbol", "trading_date", "session", "open", "close")

#: Microseconds in each unit, by logical type; nanoseconds are another matter.
_MICROS: Final = {
    "timestamp-millis": 1_000,
    "local-timestamp-millis": 1_000,
    "timestamp-micros": 1,
    "local-timestamp-micros": 1,
}
_NANOS: Final = ("timestamp-nanos", "local-timestamp-nanos")
_EARLIEST_MICROS: Final = 100_000_000_000_000
"""1973 in microseconds, and the year 5138 in milliseconds: tells one from the other."""

Convert = Callable[[Any], Any]


def micros(name: str, number: int) -> int:
    """A time that is a number without a unit: microseconds.

    Raises:
        ValueError: it looks like another unit.
    """
    if abs(number) < _EARLIEST_MICROS:
        raise ValueError(
            f"{name} as a number is microseconds since 1970, found {number}, which looks like "
            "milliseconds or seconds: write microseconds, ISO 8601 text, or a schema that says "
            "timestamp-millis"
        )
    return number


class SessionSchemas:
    """Readers of rows by the id of their schema, which a registry knows.

    Args:
        registry: asked for schemas; None: rows with an id are refused.
        clock: seconds, only ever more.
        name_rule: how the names in rows are spelled.
    """

    def __init__(
        self,
        registry: SchemaRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
        name_rule: NameRule = FOLDED,
    ) -> None:
        self.name_rule = name_rule
        self._registry = registry
        self._known = KnownSchemas(registry, lambda _, schema: _reader(schema), clock)

    @classmethod
    def of(cls, registry_url: str | None, name_rule: NameRule = FOLDED) -> SessionSchemas:
        """With the registry at ``registry_url``, if there is one."""
        registry = None if registry_url is None else SchemaRegistry(registry_url)
        return cls(registry, name_rule=name_rule)

    def spelled(self, name_rule: NameRule) -> SessionSchemas:
        """The same, with another spelling of names; of schemas it knows what this one does."""
        if name_rule == self.name_rule:
            return self
        other = SessionSchemas(self._registry, name_rule=name_rule)
        other._known = self._known
        return other

    def missing(self, values: Iterable[bytes | None]) -> set[int]:
        """Ids in ``values`` that nothing is known of: `fetch` them before rows are decoded.

        One the registry did not have is asked for again a minute later.
        """
        if self._registry is None:
            return set()
        framed = {_schema_id(value) for value in values if value is not None and is_framed(value)}
        return self._known.missing(framed)

    def may_come(self, value: bytes) -> bool:
        """Whether the schema of ``value`` may be known later: the registry did not have it yet."""
        return self._registry is not None and is_framed(value) and self._lacks(_schema_id(value))

    def _lacks(self, schema_id: int) -> bool:
        return schema_id not in self._known.readers and schema_id not in self._known.unusable

    async def fetch(self, schema_ids: set[int]) -> None:
        """Get to know ``schema_ids``.

        Raises:
            RegistryError: the registry does not answer.
        """
        await self._known.fetch(schema_ids)

    def fields(self, value: bytes) -> dict[str, Any]:
        """The fields of a row, times in microseconds or ISO text.

        Raises:
            ValueError: no registry, no such schema, one of something else, or no row of it.
        """
        schema_id = _schema_id(value)
        if self._registry is None:
            raise ValueError(
                f"the row names schema {schema_id} of a registry, and none is configured: set "
                "ticks.registry_url, or write plain Avro of session.avsc or JSON"
            )
        known = self._known
        if schema_id in known.unusable:
            raise ValueError(f"schema {schema_id}: {known.unusable[schema_id]}")
        if schema_id not in known.readers:
            raise ValueError(f"the registry has no schema {schema_id}")
        reader, converts = known.readers[schema_id]
        record = read_body(reader, value, HEADER_BYTES)
        return {
            name: None if record[name] is None else convert(record[name])
            for name, convert in converts.items()
        }


def is_framed(value: bytes) -> bool:
    """Whether it begins as a registry's client writes it: no row of ours begins with a zero."""
    return value[:1] == MAGIC and len(value) >= HEADER_BYTES


def _schema_id(value: bytes) -> int:
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def _reader(schema: Node) -> tuple[Reader, dict[str, Convert]]:
    found = {name: schema.field_named(name) for name in (*REQUIRED, TOLERANCE)}
    if missing := [name for name in REQUIRED if found[name] is None]:
        raise SchemaError(
            f"a session has the fields {', '.join(REQUIRED)}, the schema lacks "
            f"{', '.join(missing)}; it has {', '.join(schema.names)}"
        )
    converts = {name: _convert(name, node.inner) for name, node in found.items() if node}
    return reader_of(schema), converts


def _convert(name: str, node: Node) -> Convert:
    match name:
        case "broker" | "symbol":
            convert = _text(node)
        case "session":
            convert = _same if node.kind == "varint" and node.logical is None else _text(node)
        case "trading_date":
            convert = _date(node)
        case "close_tolerance_s":
            convert = _seconds(node)
        case _:
            convert = _time(name, node)
    if convert is None:
        kind = node.kind if node.logical is None else f"{node.kind} with {node.logical}"
        raise SchemaError(f"field {name} of a session cannot be read from Avro type {kind}")
    return convert


def _same(value: Any) -> Any:
    return value


def _text(node: Node) -> Convert | None:
    if node.kind == "enum":
        return lambda index: node.names[index]
    if node.kind == "string":
        return lambda value: value.decode()
    return None


def _seconds(node: Node) -> Convert | None:
    """A number of seconds, or its digits: what has a unit of its own is not of this name."""
    is_number = node.kind in ("varint", "float", "double") and node.logical is None
    return _same if is_number else _text(node)


def _date(node: Node) -> Convert | None:
    """Days since 1970 (logical type date, or none), a time of that day, or ISO text."""
    if node.kind != "varint":
        return _text(node)
    if node.logical in (None, "date"):
        return _same
    time_us = _time("trading_date", node)
    return None if time_us is None else lambda value: _day_of(time_us(value))


def _day_of(time_us: int) -> int:
    days, rest_us = divmod(time_us, DAY_US)
    if rest_us:
        raise ValueError("trading_date as a timestamp must be midnight UTC of the date")
    return days


def _time(name: str, node: Node) -> Convert | None:
    if node.kind != "varint":
        return _text(node)
    if node.logical is None:
        return lambda value: micros(name, value)
    if node.logical in _NANOS:
        return lambda value: value // 1_000
    if (factor := _MICROS.get(node.logical)) is not None:
        return lambda value: value * factor
    return None
