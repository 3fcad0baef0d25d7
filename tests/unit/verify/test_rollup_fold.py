"""The recomputation of a parent from its children: bars with ticks decide where there are any."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import polars as pl
import pytest

from barstream.verify.rollup_fold import CHILD, roll

BASE: dict[str, Any] = {
    "series": 0, "parent": 0, "trading_date": 3, "session": 1, "volume": 0.0, "turnover": 0.0,
    "vwap": None, "tick_count": 0,
    "open_time": None, "close_time": None, "synthetic": True, "revision": 0,
    "first_offset": None, "last_offset": None,
}  # fmt: skip
SCHEMA = dict.fromkeys(CHILD, pl.Int64) | {
    "parent": pl.Int64, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64,
    "close": pl.Float64, "volume": pl.Float64, "turnover": pl.Float64,
    "vwap": pl.Float64, "synthetic": pl.Boolean,
}  # fmt: skip


def flat(bucket: int, price: float, **fields: Any) -> dict[str, Any]:
    """A child without ticks."""
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return BASE | prices | {"bucket_us": bucket, "close_offset": bucket} | fields


def real(bucket: int, prices: tuple[float, float, float, float], **fields: Any) -> dict[str, Any]:
    """A child with one tick of size 0.1 at its own offset."""
    named = dict(zip(("open", "high", "low", "close"), prices, strict=True))
    return flat(bucket, 0.0) | named | {
        "synthetic": False, "volume": 0.1, "turnover": 0.3, "vwap": 3.0,
        "tick_count": 1, "open_time": bucket,
        "close_time": bucket, "first_offset": bucket, "last_offset": bucket,
    } | fields  # fmt: skip


def rolled(*children: dict[str, Any]) -> list[dict[str, Any]]:
    frame = pl.DataFrame(list(children), schema=SCHEMA)
    return list(roll(frame).iter_rows(named=True))


#: The prices of the flat ones would win each field: highest, lowest, first and last.
MIXED = (
    flat(0, 99.0), real(1, (5.0, 8.0, 4.0, 6.0)), flat(2, 6.0), real(3, (6.5, 7.0, 3.0, 3.5)),
    flat(4, 0.5),
)  # fmt: skip


@pytest.mark.parametrize("order", list(permutations(range(5)))[::7])
def test_the_last_real_close_stands_whatever_flat_bars_follow(order: tuple[int, ...]) -> None:
    (parent,) = rolled(*(MIXED[at] for at in order))
    assert {name: parent[name] for name in ("open", "high", "low", "close")} == {
        "open": 5.0, "high": 8.0, "low": 3.0, "close": 3.5,
    }  # fmt: skip
    assert (parent["synthetic"], parent["tick_count"]) == (False, 2)
    assert (parent["open_time"], parent["close_time"]) == (1, 3)
    assert (parent["first_offset"], parent["last_offset"], parent["close_offset"]) == (1, 3, 4)


def test_a_parent_of_flat_bars_only_is_flat_bars_all_through() -> None:
    (parent,) = rolled(flat(0, 2.0), flat(1, 3.0), flat(2, 2.5))
    assert {name: parent[name] for name in ("open", "high", "low", "close")} == {
        "open": 2.0, "high": 3.0, "low": 2.0, "close": 2.5,
    }  # fmt: skip
    assert (parent["synthetic"], parent["volume"], parent["open_time"]) == (True, 0.0, None)


def test_the_volume_is_the_exactly_rounded_sum_of_the_childrens() -> None:
    (parent,) = rolled(*(real(at, (1.0, 1.0, 1.0, 1.0)) for at in range(10)))
    assert parent["volume"] == 1.0


def test_turnover_is_summed_alike_and_the_vwap_follows_from_both_sums() -> None:
    (parent,) = rolled(*(real(at, (1.0, 1.0, 1.0, 1.0), turnover=-0.1) for at in range(10)))
    assert (parent["turnover"], parent["vwap"]) == (-1.0, -1.0)
    (parent,) = rolled(flat(0, 2.0), flat(1, 2.0))
    assert (parent["turnover"], parent["vwap"]) == (0.0, None)


def test_the_turnover_is_unknown_where_that_of_a_child_is() -> None:
    prices = (1.0, 1.0, 1.0, 1.0)
    for unknown in (real(1, prices, turnover=None, vwap=None), flat(1, 1.0, turnover=None)):
        (parent,) = rolled(real(0, prices), unknown, real(2, prices))
        assert (parent["turnover"], parent["vwap"]) == (None, None)


def test_parents_are_told_apart_by_series_and_bucket() -> None:
    children = [
        real(0, (1.0, 1.0, 1.0, 1.0)) | {"series": series, "parent": parent}
        for series in (1, 0) for parent in (9, 5)
    ]  # fmt: skip
    found = rolled(*children)
    assert [(row["series"], row["bucket_us"]) for row in found] == [(0, 5), (0, 9), (1, 5), (1, 9)]


def test_the_close_offset_is_unknown_where_that_of_a_child_is() -> None:
    assert rolled(flat(0, 1.0), flat(1, 1.0, close_offset=None))[0]["close_offset"] is None
    assert rolled(flat(0, 1.0, revision=2), flat(1, 1.0, revision=1))[0]["revision"] == 3
