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

from barstream.model.bar import PartialBar, synthetic_bar
from barstream.model.exact_sum import (
    ExactSum,
    float_of,
    from_bytes,
    from_decimal,
    group_units,
    is_form,
    product,
    products,
    ratio,
    to_bytes,
    to_decimal,
    units_of,
)
from tests.examples import examples
from tests.reference import series as reference

Tick = tuple[int, int, float, float]
HUGE = sys.float_info.max

prices = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.one_of(
    st.floats(0, allow_nan=False, allow_infinity=False, max_value=1e300),
    st.sampled_from([0.0, 0.1, 0.3, 1e17, 5e-324, 2.0**-1022, 1.0, 100.0]),
)


#: What sizes cost: of either sign, mostly alike, sometimes as far apart as floats are.
paid = st.one_of(
    st.tuples(st.integers(-20_000, 20_000), st.integers(0, 999)).map(lambda n: n[0] / 100 * n[1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, -37.63, -1e-30, 5e-324, -5e-324, 1e308, -1e308, 2.0**-1022]),
)


def one(offset: int, time_us: int, price: float, size: float) -> PartialBar:
    """The partial bar of a single tick; its session follows its time, as at a session's open."""
    return PartialBar.of_tick(0, time_us // 10, time_us % 3, time_us, price, size, offset)


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
@settings(max_examples=examples(600))
@given(st.lists(st.lists(paid, min_size=1, max_size=9), min_size=1, max_size=5))
def test_group_sums_are_exact_whatever_the_signs(groups: list[list[float]]) -> None:
    flat = np.array([value for group in groups for value in group])
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    for group, units in zip(groups, group_units(flat, starts), strict=True):
        assert Fraction(units, 1 << 1074) == sum(map(Fraction, group), Fraction(0))


@pytest.mark.parametrize("scale", [1.0, 5e-320, 1e300])
def test_sums_of_as_many_as_a_fetch_brings_are_exact(scale: float) -> None:
    """The more there are the less of each is added at once; the largest come last."""
    random = np.random.default_rng(1)
    price, size = random.uniform(-50, 60_000, 100_000), random.uniform(0, 1e3, 100_000)
    price[::2], size[::3], size[::5] = price[::2].round(2), size[::3].round(), 1e-8
    values, starts = products(price, size) * scale, np.array([0, 1, 70, 99_990])
    expected = [sum(map(units_of, part.tolist())) for part in np.split(values, starts[1:])]
    assert group_units(values, starts) == expected


def test_nothing_is_of_no_group_and_zeros_add_up_to_nothing() -> None:
    assert group_units(np.empty(0), np.empty(0, np.intp)) == []
    assert group_units(np.array([0.0, -0.0, 0.0]), np.array([0, 2])) == [0, 0]


@given(prices, sizes)
def test_what_a_size_costs_is_rounded_once_and_bounded_where_floats_end(
    price: float, size: float
) -> None:
    found = product(price, size)
    exactly = Fraction(price) * Fraction(size)
    assert found == max(-HUGE, min(HUGE, price * size))
    if abs(exactly) <= Fraction(HUGE):
        assert found == float(exactly)
    many = products(np.array([price, 1.0]), np.array([size, 1.0]))
    assert many.tolist() == [found, 1.0]


@pytest.mark.parametrize(
    ("spent", "volume", "price"),
    [(7.5, 2.5, 3.0), (-3.0, 2.0, -1.5), (1e308, 1e-3, HUGE), (-1e308, 1e-3, -HUGE)],
)
def test_a_ratio_is_bounded_too(spent: float, volume: float, price: float) -> None:
    assert ratio(spent, volume) == price


def test_a_ratio_of_next_to_nothing_is_positive_zero() -> None:
    assert math.copysign(1.0, ratio(-5e-324, 4.0)) == 1.0


@pytest.mark.law("L2")
@given(st.lists(sizes, min_size=1, max_size=20))
def test_a_sum_of_units_rounds_once_to_the_nearest_float(some: list[float]) -> None:
    assert float_of(sum(units_of(size) for size in some)) == math.fsum(some)


@pytest.mark.law("L2")
def test_a_sum_beyond_floats_is_the_largest_of_them() -> None:
    # one producer that writes 1e308 twice must neither stop a worker nor write an infinity
    assert float_of(units_of(1e308) * 2) == HUGE
    assert float_of(units_of(HUGE) + units_of(1e291)) == HUGE
    assert float_of(units_of(-1e308) * 2) == -HUGE
    assert float_of(units_of(-1e308) * 3 + units_of(1e308) * 2) == -1e308
    assert group_units(np.array([1e308, 1e308, 1.0]), np.array([0])) == [
        2 * units_of(1e308) + units_of(1.0)
    ]


ends = st.floats(HUGE / 8, HUGE) | st.floats(-HUGE, -HUGE / 8) | st.just(5e-324)


@given(st.lists(st.floats(-HUGE, HUGE) | ends, max_size=30))
def test_a_sum_kept_as_floats_is_exact_also_where_they_would_overflow(some: list[float]) -> None:
    kept = ExactSum()
    for value in some:
        kept.add(value)
    assert kept.value == kept.copy().value == float_of(sum(map(units_of, some)))


@given(paid, st.integers(1, 1 << 40))
def test_units_and_their_compact_bytes_come_back(value: float, times: int) -> None:
    units = units_of(value)
    assert float_of(units) == value
    for each in (units, units * times):
        data = to_bytes(each)
        assert from_bytes(data) == each
        assert is_form(data, 2148, signed=True)
        assert is_form(data, 2148, signed=False) == (each >= 0)


@given(st.lists(paid, max_size=5))
def test_exact_sums_are_written_as_the_decimal_numbers_they_are(some: list[float]) -> None:
    """Other languages read them with their own decimal numbers, and get the same sum."""
    units = sum(units_of(size) for size in some)
    text = to_decimal(units)
    assert Fraction(text) == sum(map(Fraction, some), Fraction(0))
    assert from_decimal(text) == units


def test_a_decimal_that_no_sum_of_floats_is_cannot_be_a_volume() -> None:
    with pytest.raises(ValueError, match=r"multiple of 2\*\*-1074, found '0.1'"):
        from_decimal("0.1")


@given(st.lists(st.tuples(prices, sizes), min_size=1, max_size=6))
def test_a_final_that_may_be_revised_carries_its_sums_where_the_float_is_rounded(
    some: list[tuple[float, float]],
) -> None:
    bar = reduce(merged, (one(at, at, *each) for at, each in enumerate(some)))
    volume = sum((Fraction(size) for _, size in some), Fraction(0))
    turnover = sum((Fraction(product(*each)) for each in some), Fraction(0))
    final = bar.to_bar("B", "S", 99, revisable=True)
    for exact, rounded, units in (
        (volume, final.volume, final.volume_units),
        (turnover, final.turnover, final.turnover_units),
    ):
        assert rounded is not None
        if exact == Fraction(rounded):
            assert units is None
        else:
            assert units is not None
            assert Fraction(units, 1 << 1074) == exact
    assert final.rounded == bar.to_bar("B", "S", 99)
    assert (final.rounded.volume_units, final.rounded.turnover_units) == (None, None)


@pytest.mark.law("L2")
@given(some_ticks())
def test_turnover_and_vwap_are_those_of_the_definition(ticks: list[Tick]) -> None:
    bar = reduce(merged, (one(*tick) for tick in ticks)).to_bar("B", "S", 99)
    spent = reference.turnover((time, offset, price, size) for offset, time, price, size in ticks)
    assert bar.turnover == spent
    assert bar.vwap == reference.vwap(spent, bar.volume)
    for value in (bar.turnover, bar.vwap):
        assert value is None or math.copysign(1.0, value) == 1.0 or value < 0


def test_a_bar_without_size_has_turnover_and_no_vwap() -> None:
    bar = reduce(merged, (one(at, at, -1.5, 0.0) for at in range(3))).to_bar("B", "S", 99)
    flat = synthetic_bar("B", "S", 0, 0, 0, -1.5, 9)
    for each in (bar, flat):
        assert (each.volume, each.turnover, each.vwap) == (0.0, 0.0, None)
        assert math.copysign(1.0, each.turnover or 0.0) == 1.0


def test_a_bar_with_a_part_of_which_it_is_not_known_has_no_turnover() -> None:
    """An open bar of a version that did not add it up goes on; nobody knows its first products."""
    begun = one(0, 0, 2.0, 1.0)
    begun.turnover_units = None
    for bar in (merged(begun, one(1, 1, 2.0, 1.0)), merged(one(1, 1, 2.0, 1.0), begun)):
        final = bar.to_bar("B", "S", 9, revisable=True)
        assert (final.volume, final.turnover, final.vwap, final.turnover_units) == (
            2.0, None, None, None
        )  # fmt: skip
