"""Bars as records and as JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.codecs.avro.body import encode_batch
from barstream.codecs.topics.bar import bar_columns, decode_bar
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


def test_a_bar_written_before_there_were_exact_volumes_is_read() -> None:
    """Local stores and topics outlive an upgrade; nothing in them is written anew."""
    assert decode_bar(written(BAR)[0][:-1]) == BAR


@pytest.mark.parametrize("cut", [0, 1, 40, -2])
def test_a_bar_that_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=r"bar\.avsc"):
        decode_bar(written(BAR)[0][:cut])


def test_json_says_the_volume_once() -> None:
    """The exact volume is there for late ticks to be added, and no field of a bar's reader."""
    assert bar_to_json(ROUNDED) == bar_to_json(ROUNDED.replace(volume_units=None))
    assert "volume_exact" not in bar_to_json(ROUNDED)
