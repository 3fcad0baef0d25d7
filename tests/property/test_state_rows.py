"""Rows of series made in columns are the rows made one by one, byte for byte."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.codecs.topics.state import encode_series
from barstream.codecs.topics.state_rows import FEW, encode_series_rows
from barstream.model.bar import PartialBar
from barstream.rules.series import NEVER_US, PartitionState, Rules

LONG = st.integers(-(1 << 62), 1 << 62)
DATE = st.integers(-(1 << 31), (1 << 31) - 1)
PRICE = st.floats(allow_nan=False)

BARS = st.builds(
    PartialBar, LONG, DATE, st.integers(0, 9), PRICE, LONG, LONG, PRICE, PRICE, PRICE, LONG, LONG,
    st.integers(0, 1 << 1100), st.none() | st.integers(-(1 << 1100), 1 << 1100), LONG, LONG, LONG,
)  # fmt: skip


@st.composite
def partitions(draw: st.DrawFn) -> PartitionState:
    """Series with any number of open bars, some with nothing known of them."""
    state = PartitionState(Rules())
    for number in range(draw(st.integers(1, 6))):
        series = state.add(draw(st.sampled_from(["B", "Ä", "x" * 70])), f"S{number}")
        state.closed_until_us[series.slot] = draw(LONG)
        state.watermark_us[series.slot] = draw(st.one_of(LONG, st.just(NEVER_US)))
        state.since_timely[series.slot] = draw(st.integers(0, 1 << 40))
        series.previous_close = draw(st.none() | PRICE)
        series.filled_date = draw(st.none() | DATE)
        series.first_tick_us = draw(LONG)
        series.last_trading_date = draw(st.none() | DATE)
        bars = draw(st.lists(BARS, max_size=3))
        series.open_bars = {bar.bucket_us: bar for bar in bars}
    return state


@settings(deadline=None)
@given(partitions(), st.integers(0, 2 * FEW))
def test_rows_in_columns_are_the_rows_one_by_one(state: PartitionState, count: int) -> None:
    """Also where there are so few that they are not made in columns."""
    some = [state.series[number % len(state)] for number in range(count)]
    assert encode_series_rows(state, some) == [encode_series(state, series) for series in some]


def test_more_bars_than_a_byte_can_count_are_counted() -> None:
    state = PartitionState(Rules())
    series = state.add("B", "S")
    for minute in range(300):
        series.open_bars[minute] = PartialBar.of_tick(minute, 1, 0, 2, 1.0, 0.5, 3)
    assert encode_series_rows(state, [series] * FEW) == [encode_series(state, series)] * FEW
