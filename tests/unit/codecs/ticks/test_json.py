"""Ticks as JSON objects."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import orjson
import pytest

from barstream.codecs.ticks.decoder import TickColumns, TickDecoder
from barstream.config.sections import TickSettings
from barstream.model.rejection import Reason

NOW_US = 1_700_000_000_123_456
ROW: dict[str, Any] = {"broker": "A", "symbol": "X", "time": NOW_US, "price": 1.5, "size": 2}


def decode(*rows: Any, **mapping: Any) -> TickColumns:
    values = [row if isinstance(row, bytes) else orjson.dumps(row) for row in rows]
    decoder = TickDecoder(TickSettings(format="json", **mapping))
    return decoder.decode(values, np.full(len(values), NOW_US))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name != key}


def test_objects_become_ticks() -> None:
    columns = decode(ROW, ROW | {"symbol": "y", "price": "1.12345", "size": None}, without("size"))
    assert columns.names == [("A", "X"), ("A", "Y")]
    assert columns.series.tolist() == [0, 1, 0]
    assert columns.price.tolist() == [1.5, 1.12345, 1.5]
    assert columns.size.tolist() == [2.0, 0.0, 0.0]
    assert columns.index is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"\xff\xfe",
        b'{"price": NaN}',
        *(orjson.dumps(without(key)) for key in ("broker", "symbol", "time", "price")),
        *(orjson.dumps(ROW | {key: None}) for key in ("broker", "symbol", "time", "price")),
        *(orjson.dumps(ROW | {key: True}) for key in ROW),
        orjson.dumps(ROW | {"symbol": 5}),
        orjson.dumps(ROW | {"price": "dear"}),
        orjson.dumps(ROW | {"price": [1.5]}),
        orjson.dumps(ROW | {"size": {}}),
    ],
)
def test_what_is_no_tick_object_is_undecodable(value: bytes) -> None:
    columns = decode(ROW, value, ROW)
    assert [(r.position, r.reason) for r in columns.rejected] == [(1, Reason.UNDECODABLE)]
    assert columns.price.tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    "change",
    [{"price": "nan"}, {"price": "1e999"}, {"size": -1}, {"symbol": " "}, {"time": "soon"},
     {"time": 2**64 - 1}],
)  # fmt: skip
def test_values_no_tick_can_have_are_invalid(change: dict[str, Any]) -> None:
    assert [r.reason for r in decode(ROW | change).rejected] == [Reason.INVALID]


def test_neighbours_of_another_number_type_leave_a_value_alone() -> None:
    nanos = 1_600_000_000_123_456_789
    columns = decode(ROW | {"time": nanos}, ROW | {"time": 1.6e9}, ROW | {"time": "2023-11-14"})
    assert columns.time_us.tolist()[0] == nanos // 1000


def test_whole_prices_are_scaled_exactly() -> None:
    rows = [ROW | {"price": 112345}, ROW | {"price": "112345"}, ROW | {"price": 1.5}]
    columns = decode(*rows, price_scale=5)
    assert columns.price.tolist() == [1.12345, 1.12345]
    assert [r.reason for r in columns.rejected] == [Reason.UNDECODABLE]


def test_the_price_of_a_quote_is_the_middle() -> None:
    row = without("price") | {"b": 1.1, "a": "1.2"}
    assert decode(row, bid="b", ask="a").price.tolist() == [(1.1 + 1.2) / 2]


def test_nested_fields_are_named_with_dots_and_a_dot_in_a_name_comes_first() -> None:
    nested = without("price") | {"q": {"px": 3.5}}
    columns = decode(nested, nested | {"q.px": 4.5}, without("price") | {"q": 1}, price="q.px")
    assert columns.price.tolist() == [3.5, 4.5]
    assert [r.position for r in columns.rejected] == [2]


def test_a_constant_names_the_broker() -> None:
    assert decode(without("broker"), broker_constant="mine").names == [("MINE", "X")]


def test_none_is_no_tick() -> None:
    decoder = TickDecoder(TickSettings(format="json"))
    columns = decoder.decode([None], np.array([NOW_US]))
    assert [r.reason for r in columns.rejected] == [Reason.UNDECODABLE]


@pytest.mark.parametrize("opened", [b"[", b'{"a":'])
@pytest.mark.parametrize("field", ["broker", "symbol", "time", "price", "size"])
def test_a_field_nested_as_deep_as_the_parser_takes_is_undecodable(
    opened: bytes, field: str
) -> None:
    # deeper than Python can spell it for a message: one record must not end the worker
    depth = 1_000
    deep = opened * depth + b"1" + {b"[": b"]"}.get(opened, b"}") * depth
    value = orjson.dumps(ROW | {field: "HERE"}).replace(b'"HERE"', deep)
    columns = decode(value, ROW)
    assert [(r.position, r.reason) for r in columns.rejected] == [(0, Reason.UNDECODABLE)]
    assert columns.price.tolist() == [1.5]


@pytest.mark.parametrize("field", ["time", "price", "size"])
def test_a_long_text_that_is_almost_a_number_is_judged_at_once(field: str) -> None:
    # a pattern that can read digits in two ways needs minutes for this, and hours for a megabyte
    began = time.perf_counter()
    columns = decode(ROW | {field: "1" * 200_000 + "x"}, time_unit="us")
    assert time.perf_counter() - began < 1
    assert [r.reason for r in columns.rejected] == [Reason.UNDECODABLE]
