"""Bars straight from ticks, by polars: the independent recomputation.

It follows the contract and shares nothing with `barstream.rules`: open is the price of the earliest
tick by (event time, offset), close that of the latest, volume the exactly rounded sum of the sizes,
turnover that of the products of price and size.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.model.bar_fields import NAMES
from barstream.model.key import BAR_KEY

#: Whole sizes up to here add up without rounding in any order.
_EXACT: Final = float(1 << 53)

_LARGEST: Final = Fraction(sys.float_info.max)
#: A float64 has 1,074 places after the point, and sums of them a few hundred digits before it.
_DECIMAL: Final = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,1074})?")
#: Floats that do not overlap, of all that a float64 can say and more.
_MOST_PARTS: Final = 64

TICK_SCHEMA: Final = {
    "bar": pl.Int64,
    "time_us": pl.Int64,
    "offset": pl.Int64,
    "price": pl.Float64,
    "size": pl.Float64,
}
_ENDS: Final = (-sys.float_info.max, sys.float_info.max)
PRODUCT: Final = (pl.col("price") * pl.col("size")).clip(*_ENDS).alias("product")
"""What a tick costs, rounded once."""

VWAP: Final = (
    pl.when(pl.col("volume") != 0.0)
    .then((pl.col("turnover") / pl.col("volume")).clip(*_ENDS) + 0.0)
    .alias("vwap")
)
"""What it is of the two sums; null where there is none."""

#: What is no matter of the ticks of a bar.
_GIVEN: Final = (
    *BAR_KEY.names, "trading_date", "session", "synthetic", "revision", "close_offset",
)  # fmt: skip
#: What `fold` gives beside ``bar``: a field that is added to bars is asked of it as well.
FOLDED: Final = tuple(name for name in NAMES if name not in _GIVEN)


def fold(ticks: pl.DataFrame) -> pl.DataFrame:
    """One row a bar, ascending by ``bar``, with the columns `FOLDED`.

    Args:
        ticks: columns of `TICK_SCHEMA`, in any order; ``bar`` says what belongs together.
    """
    ordered = ticks.sort("bar", "time_us", "offset")
    bars = ordered.group_by("bar", maintain_order=True).agg(
        open=pl.col("price").first(),
        high=pl.col("price").max(),
        low=pl.col("price").min(),
        close=pl.col("price").last(),
        tick_count=pl.len().cast(pl.Int64),
        open_time=pl.col("time_us").first(),
        close_time=pl.col("time_us").last(),
        first_offset=pl.col("offset").min(),
        last_offset=pl.col("offset").max(),
    )
    counts = bars["tick_count"].to_numpy()
    volume = sums(ordered["size"].to_numpy(), counts)
    turnover = sums(ordered.select(PRODUCT).to_series().to_numpy(), counts)
    return (
        bars.with_columns(
            volume=pl.Series(volume, dtype=pl.Float64),
            turnover=pl.Series(turnover, dtype=pl.Float64),
        )
        .with_columns(VWAP)
        .select("bar", *FOLDED)
    )


def sums(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The exactly rounded sum of each run of ``counts`` values, shape (len(counts),)."""
    if not len(counts):
        return np.empty(0, np.float64)
    stops = np.cumsum(counts)
    starts = stops - counts
    whole = np.floor(values) == values
    if whole.all() and float(np.abs(values).max()) * len(values) < _EXACT:
        # of -0.0 alone reduceat makes -0.0; sums start from 0.0
        return np.add.reduceat(values, starts) + 0.0
    listed = values.tolist()
    return np.array(
        [
            rounded_sum(listed[start:stop])
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        ]
    )


def is_exact_sum(text: str, values: Sequence[float]) -> bool:
    """Whether a decimal number is what ``values`` add up to, to the last digit."""
    if _DECIMAL.fullmatch(text) is None:
        return False
    left, parts = Fraction(text), list[float]()
    while left:
        part = float(max(min(left, _LARGEST), -_LARGEST))
        if not part or len(parts) > _MOST_PARTS:
            return False
        parts.append(-part)
        left -= Fraction(part)
    try:
        # rounded once: it is nothing only where nothing is left
        return math.fsum([*values, *parts]) == 0.0
    except OverflowError:
        return sum(map(Fraction, values), Fraction(0)) == Fraction(text)


def rounded_sum(values: Sequence[float]) -> float:
    """The exactly rounded sum; the largest float64 where they end, as the contract of bars says."""
    try:
        return math.fsum(values) + 0.0
    except OverflowError:  # on the way at least: one of the other sign may bring it back
        total = sum(map(Fraction, values), Fraction(0))
        try:
            return float(total)
        except OverflowError:
            return sys.float_info.max if total > 0 else -sys.float_info.max
