"""The merge of partial bars is associative and commutative, and its volume exact."""

from __future__ import annotations

import copy
import math
import sys
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.model.bar import PartialBar
from barstream.model.exact_sum import (
    ExactSum,
    float_of,
    from_bytes,
    from_decimal,
    group_units,
    to_bytes,
    to_decimal,
    units_of,
)
from tests.examples import examples

Tick = tuple[int, int, float, float]

prices = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.one_of(
    st.floats(0, allow_nan=False, allow_infinity=False, max_value=1e300),
    st.sampled_from([0.0, 0.1, 0.3, 1e17, 5e-324, 2.0**-1022, 1.0, 100.0]),
)


def one(offset: int, time_us: int, price: float, size: float) -> PartialBar:
    """The partial bar of a single tick; its session follows its time, as at a session's open."""
    return PartialBar(
        0, time_us // 10, time_us % 3, price, time_us, offset, price, price, price, time_us,
        offset, units_of(size), 1, offset, offset,
    )  # fmt: skip


@st.composite
def some_ticks(draw: st.DrawFn) -> list[Tick]:
    """Ticks with distinct offsets, often at the same time."""
    n = draw(st.integers(1, 12))
    return [(offset, draw(st.integers(0, 20)), draw(prices), draw(sizes)) for offset in range(n)]


def merged(left: PartialBar, right: PartialBar) -> PartialBar:
    result = copy.copy(left)
    result.merge(right)
    return result


def same(left: PartialBar, right: PartialBar) -> bool:
    # 0.0 and -0.0 are one price, as high and low of both may be either
    return all(
        getattr(left, name) == getattr(right, name) for name in PartialBar.__dataclass_fields__
    )


@pytest.mark.law("L1")
@given(some_ticks(), st.randoms(use_true_random=False))
def test_the_order_of_merging_does_not_matter(ticks: list[Tick], random: object) -> None:
    expected = reduce(merged, (one(*tick) for tick in ticks))
    shuffled = list(ticks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert same(reduce(merged, (one(*tick) for tick in shuffled)), expected)


@given(some_ticks(), st.data())
def test_the_grouping_of_merging_does_not_matter(ticks: list[Tick], data: st.DataObject) -> None:
    expected = reduce(merged, (one(*tick) for tick in ticks))
    parts = [one(*tick) for tick in ticks]
    while len(parts) > 1:
        at = data.draw(st.integers(0, len(parts) - 2))
        parts[at : at + 2] = [merged(parts[at], parts[at + 1])]
    assert same(parts[0], expected)


@pytest.mark.law("L1")
@given(some_ticks())
def test_a_merged_bar_is_that_of_its_ticks_sorted_by_time_and_offset(ticks: list[Tick]) -> None:
    bar = reduce(merged, (one(*tick) for tick in ticks)).to_bar("B", "S", 99)
    in_order = sorted(ticks, key=lambda tick: (tick[1], tick[0]))
    first, last = in_order[0], in_order[-1]
    assert (bar.open, bar.open_time_us) == (first[2], first[1])
    assert (bar.close, bar.close_time_us) == (last[2], last[1])
    assert (bar.trading_date, bar.session) == (first[1] // 10, first[1] % 3)
    assert (bar.high, bar.low) == (max(t[2] for t in ticks), min(t[2] for t in ticks))
    assert bar.volume == math.fsum(tick[3] for tick in ticks)
    assert (bar.tick_count, bar.first_offset, bar.last_offset) == (len(ticks), 0, len(ticks) - 1)
    assert bar.final


def test_a_bar_without_close_offset_is_live() -> None:
    assert not one(0, 0, 1.0, 1.0).to_bar("B", "S", None).final


@settings(max_examples=examples(300))
@given(st.lists(st.lists(sizes, min_size=1, max_size=9), min_size=1, max_size=5))
def test_group_sums_are_exact_whatever_the_sizes(groups: list[list[float]]) -> None:
    flat = np.array([size for group in groups for size in group])
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    for group, units in zip(groups, group_units(flat, starts), strict=True):
        exact = sum((Fraction(size) for size in group), Fraction(0))
        assert Fraction(units, 1 << 1074) == exact
        assert units == sum(units_of(size) for size in group)


@pytest.mark.law("L2")
@given(st.lists(sizes, min_size=1, max_size=20))
def test_a_sum_of_units_rounds_once_to_the_nearest_float(some: list[float]) -> None:
    assert float_of(sum(units_of(size) for size in some)) == math.fsum(some)


HUGE = sys.float_info.max


@pytest.mark.law("L2")
def test_a_sum_beyond_floats_is_the_largest_of_them() -> None:
    # one producer that writes 1e308 twice must neither stop a worker nor write an infinity
    assert float_of(units_of(1e308) * 2) == HUGE
    assert float_of(units_of(HUGE) + units_of(1e291)) == HUGE
    assert group_units(np.array([1e308, 1e308, 1.0]), np.array([0])) == [
        2 * units_of(1e308) + units_of(1.0)
    ]


@given(st.lists(st.floats(0, HUGE) | st.floats(HUGE / 8, HUGE) | st.just(5e-324), max_size=30))
def test_a_sum_kept_as_floats_is_exact_also_where_they_would_overflow(some: list[float]) -> None:
    kept = ExactSum()
    for value in some:
        kept.add(value)
    assert kept.value == kept.copy().value == float_of(sum(map(units_of, some)))


@given(sizes)
def test_units_and_their_compact_bytes_come_back(size: float) -> None:
    units = units_of(size)
    assert float_of(units) == size
    assert from_bytes(to_bytes(units)) == units


@given(st.lists(sizes, max_size=5))
def test_exact_volumes_are_written_as_the_decimal_numbers_they_are(some: list[float]) -> None:
    """Other languages read them with their own decimal numbers, and get the same sum."""
    units = sum(units_of(size) for size in some)
    text = to_decimal(units)
    assert Fraction(text) == sum(map(Fraction, some), Fraction(0))
    assert from_decimal(text) == units


def test_a_decimal_that_no_sum_of_floats_is_cannot_be_a_volume() -> None:
    with pytest.raises(ValueError, match=r"multiple of 2\*\*-1074, found '0.1'"):
        from_decimal("0.1")


@given(st.lists(sizes, min_size=1, max_size=6))
def test_a_final_that_may_be_revised_carries_its_volume_where_the_float_is_rounded(
    some: list[float],
) -> None:
    bar = reduce(merged, (one(at, at, 1.0, size) for at, size in enumerate(some)))
    exact = sum(map(Fraction, some), Fraction(0))
    final = bar.to_bar("B", "S", 99, revisable=True)
    if exact == Fraction(final.volume):
        assert final.volume_units is None
    else:
        assert final.volume_units is not None
        assert Fraction(final.volume_units, 1 << 1074) == exact
    assert bar.to_bar("B", "S", 99).volume_units is None
