"""Bars as records and as JSON."""

from __future__ import annotations

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.codecs.avro.body import encode_batch, load_schema, without_logical_types
from barstream.codecs.topics.bar import (
    bar_columns,
    decode_bar,
    decode_bars,
    decode_columns,
    decode_row,
)
from barstream.codecs.topics.bar_json import bar_to_json
from barstream.model.bar import Bar
from barstream.model.exact_sum import float_of, units_of
from tests.sample_bar import SAMPLE

BAR = SAMPLE.replace(
    symbol="S",
    bucket_start_us=1_357_000_020_000_000,
    trading_date=15_706,
    session=1,
    open=1.5,
    low=1.0,
    close=1.25,
    volume=0.3,
    open_time_us=1_357_000_020_000_001,
    close_time_us=1_357_000_079_999_999,
    revision=3,
    first_offset=7,
    last_offset=9,
    close_offset=12,
)
ROUNDED = BAR.replace(volume_units=units_of(0.1) + units_of(0.2))


def written(*bars: Bar) -> list[bytes]:
    return encode_batch("bar", bar_columns(bars))


def test_a_bar_comes_back_as_it_was_written() -> None:
    flat = BAR.replace(synthetic=True, open_time_us=None, close_time_us=None, first_offset=None,
        last_offset=None, volume=0.0, tick_count=0,
    )  # fmt: skip
    bars = [BAR, flat, ROUNDED]
    assert [decode_bar(value) for value in written(*bars)] == bars


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=5))
def test_the_exact_volume_of_a_revisable_bar_comes_back(sizes: list[float]) -> None:
    """The rounded float in a final is not enough to add late ticks to."""
    units = sum(map(units_of, sizes))
    bar = BAR.replace(volume=float_of(units), volume_units=units)
    assert decode_bar(*written(bar)).volume_units == units


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=5))
def test_the_exact_turnover_of_a_revisable_bar_comes_back(paid: list[float]) -> None:
    """It may be negative: so may be the price of a spread, and was that of oil."""
    units = sum(map(units_of, paid))
    bar = BAR.replace(turnover=float_of(units), turnover_units=units)
    assert decode_bar(*written(bar)).turnover_units == units


#: As bars were written before there was turnover, and before there were exact volumes.
OLDER = BAR.replace(turnover=None)
BEFORE_TURNOVER = [written(each)[0][:-3] for each in (OLDER, OLDER.replace(volume_units=7))]
BEFORE_EXACT = written(OLDER)[0][:-4]


def test_a_bar_written_before_a_field_was_added_is_read_without_it() -> None:
    """Local stores and topics outlive an upgrade; nothing in them is written anew."""
    assert decode_bar(BEFORE_EXACT) == OLDER
    assert [decode_bar(value) for value in BEFORE_TURNOVER] == [
        OLDER, OLDER.replace(volume_units=7)
    ]  # fmt: skip
    assert (OLDER.turnover, OLDER.vwap) == (None, None)


@pytest.mark.parametrize(
    "some",
    [
        BEFORE_TURNOVER, [BEFORE_EXACT], [*BEFORE_TURNOVER, BEFORE_EXACT],
        [*written(BAR, ROUNDED), *BEFORE_TURNOVER], [*written(BAR), BEFORE_EXACT],
    ],
)  # fmt: skip
def test_many_bars_of_several_versions_are_read_in_columns_as_one_by_one(
    some: list[bytes],
) -> None:
    many = some * 20
    assert decode_bars(many) == [decode_bar(value) for value in many]
    assert decode_columns(many).num_rows == len(many)


def test_who_reads_by_the_schema_of_before_reads_on() -> None:
    """A plain body does not say by which schema it was written: fields are added at its end."""
    schema = without_logical_types(load_schema("bar"))
    names = [field["name"] for field in schema["fields"]]
    assert names[-4:] == ["volume_exact", "turnover", "vwap", "turnover_exact"]
    before = {**schema, "fields": schema["fields"][:-3]}
    (body,) = written(BAR.replace(turnover_units=3))
    row = fastavro.schemaless_reader(io.BytesIO(body), before, None)
    assert row == {name: decode_row(body)[name] for name in names[:-3]}


@pytest.mark.parametrize("cut", [0, 1, 40, -1, -2])
def test_a_bar_that_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=r"bar\.avsc"):
        decode_bar(written(BAR)[0][:cut])


def test_json_says_a_sum_once() -> None:
    """The exact one is there for late ticks to be added, and no field of a bar's reader."""
    exact = ROUNDED.replace(turnover_units=5)
    assert bar_to_json(exact) == bar_to_json(BAR)
    assert not bar_to_json(exact).keys() & {"volume_exact", "turnover_exact"}
