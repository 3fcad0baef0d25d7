"""Schemas that users have, the mappings for them, and sane values of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, Final

from barstream.codecs.avro.body import load_schema
from barstream.codecs.avro.reference import Reader, reader_of
from barstream.codecs.avro.schema import Node, parse_wire
from barstream.codecs.ticks.mapping import TickMapping, bind
from barstream.config.sections import TickSettings
from tests.fuzz.avro_mutants import Value

#: About when the records are said to be appended.
NOW_US: Final = 1_700_000_000_000_000
SKEW_US: Final = 5_000_000
END_US: Final = 253_402_300_800_000_000

_SYMBOLS: Final = (b"EURUSD", b"eurusd", b" EurUsd ", b"GBPUSD", b"Z" * 40, "Größe".encode())
#: Near the record's own timestamp, on both sides of the skew, and where calendars end.
_TIMES_US: Final = (
    NOW_US, NOW_US - 1, NOW_US + SKEW_US, NOW_US + SKEW_US + 1, NOW_US + SKEW_US - 1, 0, 1,
    END_US - 1, END_US, 253_370_764_800_000_000, NOW_US - 86_400_000_000,
)  # fmt: skip


def _time(per_second: int) -> Value:
    def make(chance: Random) -> int:
        us = chance.choice(_TIMES_US) if chance.random() < 0.2 else NOW_US - chance.randrange(10**9)
        return us * per_second // 1_000_000

    return make


def _iso(chance: Random) -> bytes:
    texts = (b"2023-11-14T22:13:20Z", b"2023-11-14T22:13:20.123456789+02:00", b"2023-11-14",
        b"0001-01-01",
             b"9999-12-31T23:59:59.999999", b"20231114T221320Z", b"2023-W46-2", b"2023-11-14 22:13",
             b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"24:00", b"1e3",
             b"now")  # fmt: skip
    return chance.choice(texts)


def _decimal(chance: Random) -> bytes:
    number = chance.choice((0, 112345, -5, 10**17, chance.randrange(10**9)))
    return number.to_bytes(8, "big", signed=True)


_NUMBER_TEXTS: Final = (
    b"1.5", b" 12 ", b".5", b"5.", b"1e400", b"-0", b"nan", b"Infinity", b"1_0", b"0x10", b"+3",
    b"",
    b"1e-400", b"9" * 30, b"9" * 41, b"1" * 400, b"1" * 30_000 + b"x", b"1" + b"0" * 50_000,
    "\u0661".encode(),
    b"1e" + b"9" * 300, b"--1", b"1..2", b"\xc2\xa07", b"\0", b"12345", b"-7",
)  # fmt: skip


def _number_text(chance: Random) -> bytes:
    return b"1.25" if chance.random() < 0.5 else chance.choice(_NUMBER_TEXTS)


_COMMON: Final[dict[str, Value]] = {
    "broker": lambda chance: chance.choice((b"LSE", b"lse", b"NYSE")),
    "symbol": lambda chance: chance.choice(_SYMBOLS),
    "price": lambda chance: chance.randrange(-1000, 99_000) / 8,
    "size": lambda chance: chance.choice((0, 1, 100, 0.1, 5e-324, 1e308)),
}


def _record(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    listed = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": listed}


def _logical(kind: Any, logical: str, **more: Any) -> dict[str, Any]:
    base = kind if isinstance(kind, dict) else {"type": kind}
    return {**base, "logicalType": logical, **more}


@dataclass(eq=False)
class TickSchema:
    """One schema with its mapping; ``values`` are sane ones by dotted path."""

    name: str
    schema: dict[str, Any]
    mapping: Mapping[str, Any]
    values: Mapping[str, Value]

    @cached_property
    def node(self) -> Node:
        return parse_wire(self.schema)

    @cached_property
    def settings(self) -> TickSettings:
        return TickSettings(**self.mapping)

    @cached_property
    def bound(self) -> TickMapping:
        return bind(self.settings, self.node, self.name)

    @cached_property
    def reader(self) -> Reader:
        return reader_of(self.node)


_VENUES: Final = {"type": "enum", "name": "Venue", "symbols": ["lse", "NYSE", "x"]}
_QUOTES: Final = {
    "note": ["null", "string"], "venue": _VENUES, "symbol": ["null", "string"],
    "time": ["long", "null"], "bid": ["null", "int"], "ask": "long", "size": ["null", "float"],
    "flag": "boolean",
}  # fmt: skip
_QUOTE_VALUES: Final[dict[str, Value]] = {
    **_COMMON,
    "time": _time(1_000_000),
    "symbol": lambda chance: chance.choice((*_SYMBOLS, None)),
    "bid": lambda chance: chance.choice((112345, -5, None, 2**31 - 1)),
    "ask": lambda chance: chance.choice((112347, 2**62, 2**53 + 1, 99, 3)),
    "size": lambda chance: chance.choice((None, 0.5, 1.1)),
}
_QUOTE_MAPPING: Final = {"broker": "venue", "bid": "bid", "ask": "ask", "price_scale": 3}
_DEEP: Final = {
    "tags": {"type": "array", "items": "string"},
    "extra": {"type": "map", "values": ["null", "double"]},
    "wide": ["null", "long", "string"],
    "empty": {"type": "array", "items": "null"},
    "nested": ["null", _record("Nested", {"h": "string", "n": {"type": "array", "items": "long"}})],
    "odd": {"type": "fixed", "name": "Odd", "size": 5},
}

SCHEMAS: Final = (
    TickSchema("packaged", load_schema("tick"), {}, {**_COMMON, "time": _time(1_000_000)}),
    TickSchema("quotes", _record("Quotes", _QUOTES), _QUOTE_MAPPING, _QUOTE_VALUES),
    TickSchema("deep", _record("Deep", {**_QUOTES, **_DEEP}), _QUOTE_MAPPING, _QUOTE_VALUES),
    TickSchema(
        "decimals",
        _record(
            "Decimals",
            {
                "id": {"type": "fixed", "name": "Id", "size": 16},
                "instrument": _record("Instrument", {"broker": "string", "symbol": "string"}),
                "time": _logical("long", "timestamp-nanos"),
                "price": _logical("bytes", "decimal", precision=18, scale=5),
                "size": [
                    "null",
                    _logical({"type": "fixed", "name": "Size", "size": 8}, "decimal", scale=2),
                ],
            },
        ),
        {"broker": "instrument.broker", "symbol": "instrument.symbol"},
        {
            "instrument.broker": _COMMON["broker"], "instrument.symbol": _COMMON["symbol"],
            "time": _time(1_000_000_000), "price": _decimal, "size": _decimal,
        },
    ),
    TickSchema(
        "odd-decimals",
        _record(
            "OddDecimals",
            {
                "symbol": "string",
                "time": _logical("long", "local-timestamp-millis"),
                "price": _logical({"type": "fixed", "name": "P", "size": 11}, "decimal", scale=9),
                "size": ["null", _logical("bytes", "decimal", scale=0)],
            },
        ),
        {"broker_constant": "Here"},
        {**_COMMON, "time": _time(1_000), "price": _decimal, "size": _decimal},
    ),
    TickSchema(
        "texts",
        _record(
            "Texts",
            {"broker": "string", "symbol": "string", "time": "string", "price": ["string", "null"],
             "size": ["null", "string"]},
        ),
        {},
        {**_COMMON, "time": _iso, "price": _number_text, "size": _number_text},
    ),
    TickSchema(
        "scaled-texts",
        _record("Scaled", {"broker": "string", "symbol": "string", "time": "string",
            "price": "string"}),
        {"size": None, "price_scale": 4, "time_unit": "ms"},
        {**_COMMON, "time": _number_text, "price": _number_text},
    ),
    TickSchema(
        "float-times",
        _record("Floats", {"broker": "string", "symbol": "string", "time": "double",
            "price": "float",
                           "size": ["double", "null"]}),
        {"time_unit": "auto"},
        {
            **_COMMON,
            "time": lambda chance: chance.choice((1.7e9, 1.7e12, 1.7e15, 1.7e18, 0.5, NOW_US + 0.5,
                                                  1.7e9 + chance.random())),
            "price": lambda chance: chance.choice((1.5, -2.25, 3.4e38, 1e-45)),
            "size": lambda chance: chance.choice((None, 1.0, 1e300)),
        },
    ),
)  # fmt: skip
