"""Rows of our own topics as Avro bodies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.codecs.avro.body import (
    decode,
    decode_batch,
    encode,
    encode_batch,
    load_schema,
)

longs = st.integers(-(2**63), 2**63 - 1)
ints = st.integers(-(2**31), 2**31 - 1)
prices = st.floats(allow_nan=False)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "string": names,
    "long": longs,
    "int": ints,
    "double": prices,
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=40),
}


def _kind(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    kind = field["type"]
    if isinstance(kind, list):
        return st.none() | _kind({"type": kind[1]})
    return KINDS[kind if isinstance(kind, str) else kind["type"]]


bars = st.fixed_dictionaries({f["name"]: _kind(f) for f in load_schema("bar")["fields"]})


@settings(deadline=None)  # the first call imports and compiles
@given(st.lists(bars, max_size=8))
def test_bars_written_in_columns_are_the_bytes_written_one_by_one(
    rows: list[dict[str, Any]],
) -> None:
    columns = {f["name"]: [r[f["name"]] for r in rows] for f in load_schema("bar")["fields"]}
    bodies = encode_batch("bar", columns)
    assert bodies == [encode("bar", row) for row in rows]
    assert [decode("bar", body) for body in bodies] == rows
    assert decode_batch("bar", bodies).to_pylist() == rows


def test_a_schema_with_nested_parts_is_written_row_by_row() -> None:
    row: dict[str, Any] = {f["name"]: 1 for f in load_schema("series_state")["fields"]}
    row |= {
        "row_version": b"\1\2",
        "broker": "A",
        "symbol": "B",
        "previous_close": None,
        "open_bars": [],
    }
    assert encode_batch("series_state", {k: [v] for k, v in row.items()}) == [
        encode("series_state", row)
    ]


def test_arrays_and_arrow_columns_are_taken_as_they_are() -> None:
    columns = {
        "broker": np.array(["A", "A"]),
        "symbol": pa.array(["X", "Y"]).dictionary_encode(),
        "time": np.array([1, 2]),
        "price": np.array([1.5, 2.5]),
        "size": pa.chunked_array([[1.0], [0.0]]),
    }
    assert decode_batch("tick", encode_batch("tick", columns)).to_pylist() == [
        {"broker": "A", "symbol": "X", "time": 1, "price": 1.5, "size": 1.0},
        {"broker": "A", "symbol": "Y", "time": 2, "price": 2.5, "size": 0.0},
    ]


TICK: dict[str, list[Any]] = {
    "broker": ["A"],
    "symbol": ["X"],
    "time": [1],
    "price": [1.5],
    "size": [0.0],
}


@pytest.mark.parametrize(
    "change",
    [
        {"price": ["dear"]},
        {"price": [None]},
        {"time": [2**63]},
        {"time": [1.5]},
        {"time": np.array([1.5])},
        {"time": pa.array([1.5])},
        {"price": [2**53 + 1]},
        {"price": np.array([2**53 + 1])},
        {"size": [1.0, 2.0]},
        {"colour": ["red"]},
    ],
)
def test_columns_that_do_not_fit_the_schema_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tick\.avsc|one length"):
        encode_batch("tick", TICK | change)


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(ValueError, match="price"):
        encode_batch("tick", {k: v for k, v in TICK.items() if k != "price"})


@pytest.mark.parametrize("row", [{}, {"broker": 1, "symbol": 2, "time": 3, "price": 4}])
def test_a_row_that_does_not_fit_the_schema_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tick\.avsc"):
        encode("tick", row)


numbers = st.integers() | st.floats() | st.decimals() | st.booleans() | st.none()


@given(time=numbers, price=numbers)
def test_a_number_is_written_as_it_is_or_refused(time: Any, price: Any) -> None:
    row = {"broker": "A", "symbol": "X", "time": time, "price": price, "size": 0.0}
    try:
        found = decode("tick", encode("tick", row))
    except ValueError:
        whole = isinstance(time, int) and abs(time) < 2**63
        assert not (whole and isinstance(price, float))
        return
    assert found == row or (math.isnan(price) and found["time"] == time)


@pytest.mark.parametrize("body", [b"", b"\x02A", b"\xff" * 12, b"\x02A\x02X\x02" + bytes(17)])
def test_bytes_that_are_no_body_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"tick\.avsc"):
        decode("tick", body)


def test_a_price_keeps_every_bit() -> None:
    for price in (0.1, 5e-324, math.inf, -0.0):
        body = encode_batch("tick", TICK | {"price": [price]})[0]
        assert str(decode("tick", body)["price"]) == str(price)
