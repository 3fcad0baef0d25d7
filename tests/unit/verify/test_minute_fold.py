"""The recomputation of a bar from its ticks, whatever order and numbers they come in."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import polars as pl
import pytest

from barstream.codecs.ticks.decoder import TickColumns
from barstream.log.selection import Selection
from barstream.model.exact_sum import to_decimal, units_of
from barstream.verify.minute_fold import TICK_SCHEMA, fold, is_exact_sum, sums
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.tick_class import Judge
from tests.property.verify_cases import untold

Row = tuple[int, int, int, float, float]
"""Bar, event time, offset, price, size."""


def folded(rows: Sequence[Row]) -> pl.DataFrame:
    return fold(pl.DataFrame(rows, schema=TICK_SCHEMA, orient="row"))


def total(*sizes: float) -> float:
    return float(sums(np.array(sizes), np.array([len(sizes)]))[0])


#: Earliest are offsets 1 and 3, the first of them opens; latest 0 and 2, the last of them closes.
TICKS: list[Row] = [
    (7, 30, 0, 9.0, 1.0), (7, 10, 1, 5.0, 2.0), (7, 30, 2, 4.0, 3.0), (7, 10, 3, 1.0, 4.0),
]  # fmt: skip


@pytest.mark.parametrize("rows", list(permutations(TICKS)))
def test_open_and_close_go_by_event_time_then_by_offset(rows: tuple[Row, ...]) -> None:
    (bar,) = folded(rows).iter_rows(named=True)
    assert bar == {
        "bar": 7, "open": 5.0, "high": 9.0, "low": 1.0, "close": 4.0, "volume": 10.0,
        "turnover": 35.0, "vwap": 3.5, "tick_count": 4, "open_time": 10, "close_time": 30,
        "first_offset": 0, "last_offset": 3,
    }  # fmt: skip


def test_each_bar_is_folded_from_its_own_ticks() -> None:
    rows = [(bar, time_us, offset * 2 + bar, price, 0.1) for bar in (1, 0)
            for _, time_us, offset, price, _ in TICKS]  # fmt: skip
    both = folded(rows)
    assert both["bar"].to_list() == [0, 1]
    assert both["first_offset"].to_list() == [0, 1]
    assert both["last_offset"].to_list() == [6, 7]
    assert both["volume"].to_list() == [0.4, 0.4]


@pytest.mark.parametrize(
    "sizes",
    [
        [0.1] * 10,
        [1e16, 1.0, 1.0],
        [1.0, 1e17, 1.0],
        [2.0**53 - 1, 1.0, 1.0, 1.0],
        [3e-9, 1e17, 0.3],
        [5e-324, 1.0],
    ],
)
def test_a_volume_is_the_exactly_rounded_sum_in_any_order(sizes: list[float]) -> None:
    exact = math.fsum(sizes)
    assert {total(*some) for some in (sizes, sizes[::-1], sizes[1:] + sizes[:1])} == {exact}


def test_whole_sizes_are_added_exactly_up_to_where_floats_are() -> None:
    assert total(2.0**52, 2.0**51, 1.0) == 2.0**52 + 2.0**51 + 1.0
    assert total(*[0.1] * 10) == 1.0  # 0.9999999999999999 one by one
    assert total(2.0**53, 1.0, 1.0) == 2.0**53 + 2.0  # 2**53 one by one


def test_a_volume_beyond_floats_is_the_largest_as_a_worker_publishes_it() -> None:
    sizes = np.array([1e308, 1e308, 2.0, 0.1, 0.2])
    assert sums(sizes, np.array([2, 1, 2])).tolist() == [
        sys.float_info.max,
        2.0,
        0.30000000000000004,
    ]


@pytest.mark.parametrize("sizes", [[-0.0], [-0.0, -0.0], [-0.0, 0.0]])
def test_a_volume_of_nothing_is_positive_zero(sizes: list[float]) -> None:
    assert math.copysign(1.0, total(*sizes)) == 1.0


def test_a_price_of_negative_zero_is_the_zero_that_bars_have() -> None:
    price = np.array([-0.0, 0.0, -1.0])
    columns = TickColumns(
        np.zeros(3, np.int32), [("X", "A")], np.arange(3), price, np.ones(3), None, []
    )
    judge = Judge(0, SeriesNumbers(), Selection(), untold(), {})
    block = judge.judge(columns, np.arange(3))
    assert np.signbit(block.price).tolist() == [False, False, True]


LARGEST = sys.float_info.max


@pytest.mark.parametrize(
    ("price", "size", "paid"),
    [(-37.63, 2.0, -75.26), (1e200, 1e200, LARGEST), (-1e200, 1e200, -LARGEST), (-1.5, 0.0, 0.0)],
)
def test_a_turnover_is_signed_and_bounded_where_floats_end(
    price: float, size: float, paid: float
) -> None:
    (bar,) = folded([(0, 1, 1, price, size)]).iter_rows(named=True)
    assert bar["turnover"] == paid
    assert bar["vwap"] == (max(-LARGEST, min(LARGEST, paid / size)) if size else None)
    assert math.copysign(1.0, bar["turnover"]) == 1.0 or paid < 0


def test_what_overflows_on_the_way_may_come_back() -> None:
    assert total(1e308, 1e308, -1e308, 0.5) == 1e308
    assert total(-1e308, -1e308, 0.5) == -LARGEST


def test_an_exact_sum_is_that_of_its_terms_to_the_last_digit() -> None:
    smallest, largest = 5e-324, LARGEST
    for sizes in (
        [], [0.1, 0.2], [1e17, 3e-9, 0.3], [smallest, 1.0], [largest, largest, smallest],
        [-0.1, -0.2], [1e17, -3e-9], [-largest, -largest, smallest], [largest, -largest, 0.1],
    ):  # fmt: skip
        text = to_decimal(sum(map(units_of, sizes)))
        assert is_exact_sum(text, sizes)
        assert not is_exact_sum(text, [*sizes, smallest])
    assert not is_exact_sum("0.3", [0.1, 0.2])
    assert not is_exact_sum("1e1", [10.0])
    assert not is_exact_sum("", [])
