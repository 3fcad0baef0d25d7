"""A user's own schema is used by configuration alone, and what cannot work is said at start."""

from __future__ import annotations

import re
import tomllib
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import orjson
import pytest

from barstream.codecs.avro.schema import SchemaError
from barstream.codecs.ticks.decoder import TickColumns, TickDecoder
from barstream.config.sections import TickSettings
from barstream.errors import BarstreamError
from barstream.model.rejection import Reason

NOW_US = 1_700_000_000_123_456
MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def record(**fields: Any) -> dict[str, Any]:
    """A schema of these fields beside broker, symbol, time and price, unless they are given."""
    types = {"broker": "string", "symbol": "string", "time": MICROS, "price": "double"} | fields
    parts = [{"name": name, "type": kind} for name, kind in types.items() if kind is not None]
    return {"type": "record", "name": "Mine", "fields": parts}


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def make(schema: Any, **mapping: Any) -> TickDecoder:
        path = tmp_path / "mine.avsc"
        path.write_bytes(orjson.dumps(schema))
        return TickDecoder(TickSettings(schema_file=path, **{"size": None} | mapping))

    return make


def written(schema: Any, **change: Any) -> bytes:
    bare = orjson.loads(orjson.dumps(schema).replace(b'"logicalType"', b'"was"'))
    row = {"broker": "A", "symbol": "X", "time": NOW_US, "price": 1.5} | change
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(bare), row)
    return out.getvalue()


def decoded(decoder: TickDecoder, *values: bytes) -> TickColumns:
    return decoder.decode(list(values), np.full(len(values), NOW_US))


@pytest.mark.parametrize(
    ("kind", "stored", "mapping", "price"),
    [
        ("double", 1.12345, {}, 1.12345),
        ("float", 1.1, {}, 1.100000023841858),
        ("int", 7, {}, 7.0),
        ("long", 112345, {"price_scale": 5}, float("1.12345")),
        ("long", -(2**53) - 1, {"price_scale": 18}, float("-0.009007199254740993")),
        ("long", 2**63 - 1, {"price_scale": 1}, float("922337203685477580.7")),
        (["null", "long"], 86655, {"price_scale": 3}, 86.655),
        ("string", " 1.12345 ", {}, 1.12345),
        ("string", "112345", {"price_scale": 5}, 1.12345),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 5},
            (112345).to_bytes(3, "big", signed=True),
            {},
            1.12345,
        ),
        (
            ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}],
            (-5).to_bytes(1, "big", signed=True),
            {},
            -0.05,
        ),
        (
            {"type": "fixed", "name": "D", "size": 16, "logicalType": "decimal", "scale": 5},
            (112345).to_bytes(16, "big", signed=True),
            {},
            1.12345,
        ),
        (
            {"type": "fixed", "name": "D", "size": 5, "logicalType": "decimal", "scale": 5},
            (112345).to_bytes(5, "big", signed=True),
            {},
            1.12345,
        ),
    ],
)
def test_a_price_is_the_float_nearest_to_what_was_written(
    make: Any, kind: Any, stored: Any, mapping: Any, price: float
) -> None:
    schema = record(price=kind)
    columns = decoded(make(schema, **mapping), written(schema, price=stored))
    assert columns.price.tolist() == [price]


def test_the_price_of_a_quote_is_the_middle_of_bid_and_ask(make: Any) -> None:
    schema = record(price=None, b="long", a={"type": "long"})
    decoder = make(schema, bid="b", ask="a", price_scale=5)
    columns = decoded(decoder, written(schema, b=112345, a=112348))
    assert columns.price.tolist() == [(1.12345 + 1.12348) / 2]


@pytest.mark.parametrize(
    ("kind", "stored", "unit", "time_us"),
    [
        (MICROS, NOW_US, "auto", NOW_US),
        (MICROS, NOW_US, "us", NOW_US),
        ({"type": "long", "logicalType": "timestamp-millis"}, 1_234, "auto", 1_234_000),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1_234_999, "auto", 1_234),
        (["null", MICROS], 17, "auto", 17),
        ("long", 1_234, "ms", 1_234_000),
        ("int", 1_234, "s", 1_234_000_000),
        ("long", 1_234, "ns", 1),
        ("long", 1_600_000_000, "auto", 1_600_000_000_000_000),
        ("long", 1_600_000_000_001, "auto", 1_600_000_000_001_000),
        ("long", 1_600_000_000_000_001, "auto", 1_600_000_000_000_001),
        ("long", 1_600_000_000_000_001_999, "auto", 1_600_000_000_000_001),
        ("double", 1_600_000_000.25, "s", 1_600_000_000_250_000),
        ("double", 1_600_000_000_000.5, "auto", 1_600_000_000_000_500),
        ("string", "2023-11-14T22:13:20Z", "auto", 1_700_000_000_000_000),
        ("string", "2023-11-14 22:13:20.123456", "iso", NOW_US),
        ("string", "2023-11-15T00:13:20+02:00", "iso", 1_700_000_000_000_000),
        ("string", "1600000000001", "ms", 1_600_000_000_001_000),
        ("string", "1.5", "s", 1_500_000),
    ],
)
def test_a_time_is_read_in_its_unit(
    make: Any, kind: Any, stored: Any, unit: str, time_us: int
) -> None:
    schema = record(time=kind)
    columns = decoded(make(schema, time_unit=unit), written(schema, time=stored))
    assert columns.time_us.tolist() == [time_us]


@pytest.mark.parametrize(
    ("kind", "stored", "unit", "reason"),
    [
        ("long", 2**62, "s", Reason.INVALID),
        ("long", -1, "auto", Reason.INVALID),
        ("double", float("nan"), "s", Reason.INVALID),
        ("double", 1e300, "ms", Reason.INVALID),
        ("string", "yesterday", "iso", Reason.INVALID),
        ("string", "0001-01-01T00:00:00+14:00", "iso", Reason.INVALID),
        ("string", "12:00", "s", Reason.UNDECODABLE),
        ("string", "9" * 30, "us", Reason.INVALID),
        (["null", "long"], None, "us", Reason.UNDECODABLE),
    ],
)
def test_a_time_that_is_none_is_refused(
    make: Any, kind: Any, stored: Any, unit: str, reason: Reason
) -> None:
    schema = record(time=kind)
    columns = decoded(make(schema, time_unit=unit), written(schema, time=stored))
    assert [rejected.reason for rejected in columns.rejected] == [reason]


@pytest.mark.parametrize(
    ("kind", "stored", "reason"),
    [
        (["null", "double"], None, Reason.UNDECODABLE),
        ("string", "dear", Reason.UNDECODABLE),
        ("string", "1_000", Reason.UNDECODABLE),
        ("string", "", Reason.UNDECODABLE),
        ("string", "NaN", Reason.INVALID),
        ("string", "1e999", Reason.INVALID),
        ({"type": "bytes", "logicalType": "decimal", "scale": 0}, b"\x7f" * 200, Reason.INVALID),
    ],
)
def test_a_price_that_is_none_is_refused(make: Any, kind: Any, stored: Any, reason: Reason) -> None:
    schema = record(price=kind)
    columns = decoded(make(schema), written(schema, price=stored))
    assert [rejected.reason for rejected in columns.rejected] == [reason]


def test_a_size_that_is_null_is_zero(make: Any) -> None:
    schema = record(size=["null", "double"])
    decoder = make(schema, size="size")
    columns = decoded(decoder, written(schema, size=None), written(schema, size=2.5))
    assert columns.size.tolist() == [0.0, 2.5]


def test_nested_fields_are_named_with_dots(make: Any) -> None:
    inner = {"type": "record", "name": "Quote", "fields": [{"name": "px", "type": "double"}]}
    schema = record(price=None, quote=inner)
    columns = decoded(make(schema, price="quote.px"), written(schema, quote={"px": 3.5}))
    assert columns.price.tolist() == [3.5]


def test_a_nested_record_may_be_null_and_its_fields_are_then_missing(make: Any) -> None:
    inner = {"type": "record", "name": "Quote", "fields": [{"name": "px", "type": "double"}]}
    schema = record(price=None, quote=["null", inner])
    columns = decoded(
        make(schema, price="quote.px"),
        written(schema, quote={"px": 3.5}),
        written(schema, quote=None),
    )
    assert columns.price.tolist() == [3.5]
    assert [rejected.reason for rejected in columns.rejected] == [Reason.UNDECODABLE]


def test_an_enum_or_a_constant_may_name_the_broker(make: Any) -> None:
    schema = record(broker=None, venue={"type": "enum", "name": "V", "symbols": ["lse", "XETR"]})
    value = written(schema, venue="lse")
    assert decoded(make(schema, broker="venue"), value).names == [("LSE", "X")]
    assert decoded(make(schema, broker_constant="mine"), value).names == [("MINE", "X")]


def test_fields_that_are_not_mapped_may_be_of_any_type(make: Any) -> None:
    schema = record(
        tags={"type": "array", "items": "string"},
        extra={"type": "map", "values": ["null", "long", "string"]},
        both=["double", "string"],
        nothing="null",
    )
    value = written(schema, tags=["a"], extra={"k": 1}, both="x", nothing=None)
    columns = decoded(make(schema), value, value + b"\0", value[:-1])
    assert columns.price.tolist() == [1.5]
    assert [rejected.position for rejected in columns.rejected] == [1, 2]


NESTING: dict[str, Any] = {
    "type": "record",
    "name": "Me",
    "fields": [{"name": "me", "type": ["null", "Me"]}],
}


@pytest.mark.parametrize(
    ("schema", "mapping", "words"),
    [
        (record(), {"price": "px"}, ["ticks.price", "'px'", "broker, symbol, time, price"]),
        (record(), {"price": "price.px"}, ["ticks.price", "'price.px'"]),
        (record(), {"size": "size"}, ["ticks.size", '""']),
        (record(), {"bid": "b", "ask": "a"}, ["ticks.bid", "'b'"]),
        (record(symbol="long"), {}, ["ticks.symbol", "string", "int or long"]),
        (record(price="boolean"), {}, ["ticks.price", "boolean"]),
        (record(price="bytes"), {}, ["ticks.price", "bytes"]),
        (record(price=MICROS), {}, ["ticks.price", "timestamp-micros"]),
        (record(price=["long", "double"]), {}, ["ticks.price", "union"]),
        (record(), {"price_scale": 2}, ["price_scale", "double"]),
        (record(), {"time_unit": "ms"}, ["time_unit", '"us"']),
        (record(), {"time_unit": "iso"}, ["time_unit", '"us"']),
        (record(time="long"), {"time_unit": "iso"}, ["time_unit", "long"]),
        (record(time="boolean"), {}, ["ticks.time", "boolean"]),
        (record(time={"type": "int", "logicalType": "date"}), {}, ["ticks.time", "date"]),
        ("long", {}, ["record"]),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": "Q"}]}, {}, ["'Q'"]),
        ({"type": "record", "name": "R"}, {}, ["fields"]),
        ({"type": "record", "fields": []}, {}, ["name"]),
        ([1], {}, ["Avro type"]),
        (NESTING, {}, ["contain itself"]),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_at_start(
    make: Any, schema: Any, mapping: Any, words: list[str]
) -> None:
    with pytest.raises(SchemaError) as refused:
        make(schema, **mapping)
    assert isinstance(refused.value, BarstreamError)
    for word in words:
        assert word in str(refused.value)


def test_names_of_types_are_resolved_in_their_namespace(make: Any) -> None:
    schema = {
        "type": "record",
        "name": "ticks.v1.Tick",
        "fields": [
            {"name": "broker", "type": "string"},
            {"name": "symbol", "type": "string"},
            {"name": "time", "type": MICROS},
            {
                "name": "bid",
                "type": {
                    "type": "record",
                    "name": "Level",
                    "fields": [{"name": "px", "type": "double"}],
                },
            },
            {"name": "ask", "type": "Level"},
            {"name": "last", "type": ["null", "ticks.v1.Level"]},
        ],
    }
    decoder = make(schema, bid="bid.px", ask="ask.px")
    value = written(schema, bid={"px": 1.0}, ask={"px": 2.0}, last={"px": 9.0})
    assert decoded(decoder, value).price.tolist() == [1.5]


def test_the_examples_of_the_manual_are_valid_settings(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[4] / "docs" / "ticks.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", manual, re.DOTALL)
    assert len(examples) == 3
    (tmp_path / "quotes.avsc").write_text("{}")
    for text in examples:
        section = tomllib.loads(text)["ticks"]
        if "schema_file" in section:
            section["schema_file"] = tmp_path / section["schema_file"]
        TickSettings(**section)
