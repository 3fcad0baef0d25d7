"""One list of the fields of a bar: the bar itself, its schema and its columns are held to it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from barstream.codecs.topics.bar import bar_columns
from barstream.codecs.topics.bar_json import bar_from_json, bar_to_json
from barstream.model.bar import Bar, synthetic_bar
from barstream.model.bar_fields import (
    ATTRIBUTES,
    BAR_FIELDS,
    EXACT_FIELDS,
    NAMES,
    STORED,
    FieldKind,
)
from barstream.model.key import BAR_KEY
from barstream.verify.minute_fold import FOLDED
from barstream.verify.rollup_fold import CHILD, ROLLED
from tests.bar_page import PAGE, page

SCHEMA: Final = json.loads(
    (Path(__file__).parents[3] / "barstream" / "schemas" / "bar.avsc").read_text()
)
EXACT: Final = [field.name for field in EXACT_FIELDS]
AVRO: Final = {
    FieldKind.TEXT: "string",
    FieldKind.BUCKET: "long",
    FieldKind.TIME: "long",
    FieldKind.DATE: "int",
    FieldKind.INT: "int",
    FieldKind.LONG: "long",
    FieldKind.FLOAT: "double",
    FieldKind.FLAG: "boolean",
}


def test_the_bar_has_them_in_this_order() -> None:
    stored = tuple(field.attribute for field in STORED)
    exact = tuple(field.attribute for field in EXACT_FIELDS)
    assert Bar.__struct_fields__ == (*stored, "final", *exact)
    assert set(ATTRIBUTES) - set(stored) == {"vwap"}


def test_the_schema_has_them_with_their_types() -> None:
    """In an order of its own: what is added comes last, whatever it belongs to."""
    said = {field["name"]: field for field in SCHEMA["fields"]}
    assert said.keys() == {*NAMES, *EXACT}
    assert all(said[name]["type"] == ["null", "string"] for name in EXACT)
    added = SCHEMA["fields"][18:]
    assert all(field["type"][0] == "null" and field["default"] is None for field in added)
    for field in BAR_FIELDS:
        kind = said[field.name]["type"]
        assert (isinstance(kind, list) and kind[0] == "null") == field.nullable
        (kind,) = [each for each in (kind if isinstance(kind, list) else [kind]) if each != "null"]
        assert (kind["type"] if isinstance(kind, dict) else kind) == AVRO[field.kind]


def test_its_key_is_among_them() -> None:
    assert [name for name in NAMES if name in BAR_KEY.names] == list(BAR_KEY.names)


def test_what_is_written_as_json_or_in_columns_has_all_of_them() -> None:
    bar = synthetic_bar("B", "X", 1_704_693_600_000_000, 19_730, 1, 1.5, 7)
    assert list(bar_to_json(bar)) == list(NAMES)
    assert list(bar_columns([bar])) == [*NAMES, *EXACT]
    assert bar_columns([])["open"] == []
    assert bar_from_json(bar_to_json(bar)) == bar


def test_a_bar_stays_as_it_is_and_names_its_values() -> None:
    bar = synthetic_bar("B", "X", 1_704_693_600_000_000, 19_730, 1, 1.5, 7)
    with pytest.raises(AttributeError):
        bar.close = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        Bar("B", "X")  # type: ignore[call-arg]
    other = bar.replace(close=2.0, open_time_us=bar.bucket_start_us + 250_000)
    assert (bar.close, other.close, other.symbol) == (1.5, 2.0, "X")
    assert other != bar
    assert bar.replace() == bar


def test_a_bar_has_its_times_as_aware_datetimes_too() -> None:
    bar = synthetic_bar("B", "X", 1_704_693_600_000_000, 19_730, 1, 1.5, 7)
    assert bar.bucket_start == datetime(2024, 1, 8, 6, tzinfo=UTC)
    assert bar.bucket_start.utcoffset() == timedelta(0)
    assert bar.trading_day == date(2024, 1, 8)
    assert (bar.open_time, bar.close_time) == (None, None)
    traded = bar.replace(
        open_time_us=bar.bucket_start_us + 1, close_time_us=bar.bucket_start_us + 59_999_999
    )
    assert traded.open_time == bar.bucket_start + timedelta(microseconds=1)
    assert traded.close_time == bar.bucket_start + timedelta(seconds=59, microseconds=999_999)


def test_verify_holds_every_one_of_them_to_something() -> None:
    """A field that is added and compared by nobody would be believed."""
    of_minutes = {*FOLDED, *BAR_KEY.names, "trading_date", "session", "synthetic", "close_offset"}
    assert of_minutes | {"revision"} == set(NAMES)
    assert {*ROLLED, *BAR_KEY.names, "revision"} == set(NAMES)
    assert CHILD[2:] == tuple(name for name in NAMES if name not in BAR_KEY.names)


def test_the_page_is_the_one_that_is_made() -> None:
    assert PAGE.read_text() == page(), "make it again: python -m tests.bar_page > docs/bars.md"
