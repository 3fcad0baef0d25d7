"""The made-up market: which series there are, how busy each is, and where its price walks.

Busy and thin series are mixed: weights fall geometrically from the busiest series to the
thinnest, which gets ``1 / THINNEST`` of its ticks, so that a handful of series already
shows both crowded and empty minutes.  The mid price is a random walk in continuous time:
its step over ``dt`` seconds is normal with deviation ``volatility * sqrt(dt)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.model.time import DAY_US, SECOND_US

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

THINNEST: Final = 2_000
YEARLY_VOLATILITY: Final = 0.10
TRADED_SECONDS: Final = 252 * 86_400
"""Of a year: what a yearly volatility is spread over."""

_MAJORS: Final = (
    ("EURUSD", 1.0850),
    ("USDJPY", 148.20),
    ("GBPUSD", 1.2710),
    ("XAUUSD", 2034.5),
    ("AUDUSD", 0.6550),
    ("USDCHF", 0.8830),
    ("BTCUSD", 61850.0),
    ("NZDUSD", 0.6090),
    ("USDCAD", 1.3520),
    ("EURGBP", 0.8540),
)


@dataclass(frozen=True, slots=True)
class Market:
    """Columns over the series, shape (series,)."""

    symbols: tuple[str, ...]
    weight: Float64s
    """Share of all ticks, sums to 1."""
    first_mid: Float64s
    tick_size: Float64s
    """Smallest price step; bids and asks are multiples of it."""
    half_spread: Float64s
    """In prices."""
    volatility: Float64s
    """Deviation of the logarithm of the mid over one second."""
    size: Float64s
    """Of a usual tick."""

    def quotes(self, series: Int64s, mid: Float64s) -> tuple[Float64s, Float64s, Float64s]:
        """Bid, ask and price at each ``mid``, all multiples of the tick size; NaN stays NaN."""
        half = self.half_spread[series]
        decimals = -np.round(np.log10(self.tick_size[series])).astype(np.int64)
        bid, ask, price = (rounded(x, decimals) for x in (mid - half, mid + half, mid))
        return bid, ask, price


def market(series: int, rng: np.random.Generator) -> Market:
    """``series`` series, the first ten named and priced like well-known ones.

    Raises:
        ValueError: ``series`` is below 1.
    """
    if series < 1:
        raise ValueError(f"a market needs at least one series, found {series}")
    symbols = [name for name, _ in _MAJORS[:series]]
    symbols += [f"SIM{number:04d}" for number in range(len(symbols) + 1, series + 1)]
    made_up = np.exp(rng.uniform(np.log(5), np.log(500), series))
    first_mid = np.array([mid for _, mid in _MAJORS[:series]])
    first_mid = np.concatenate([first_mid, made_up[len(first_mid) :]])
    # Five significant digits, as quoted: 1.0850 moves by 0.00001, 148.20 by 0.001.
    tick_size = 10.0 ** (np.floor(np.log10(first_mid)) - 5)
    rank = np.arange(series) / max(1, series - 1)
    weight = np.exp(-np.log(THINNEST) * rank)
    return Market(
        symbols=tuple(symbols),
        weight=weight / weight.sum(),
        first_mid=first_mid,
        tick_size=tick_size,
        half_spread=tick_size * rng.integers(2, 8, series),
        volatility=np.full(series, YEARLY_VOLATILITY / np.sqrt(TRADED_SECONDS))
        * rng.uniform(0.5, 2.0, series),
        size=np.ones(series),
    )


def usual_sizes(count: int, rng: np.random.Generator) -> Float64s:
    """Sizes of ticks: many small, some large."""
    return np.exp(rng.normal(0.5, 0.9, count))


def activity(ts_us: int) -> float:
    """How busy the market is at a time of day (UTC), 1 on average over a day.

    Two humps, the European morning and the American one on top of the European afternoon,
    over a quiet night.
    """
    return float(busyness(np.array([ts_us]))[0])


def busyness(ts_us: Int64s) -> Float64s:
    """`activity` at each instant, same shape."""
    busy: Float64s = _shape(ts_us % DAY_US / (3600 * SECOND_US)) / _MEAN_SHAPE
    return busy


def rounded(values: Float64s, decimals: Int64s) -> Float64s:
    """Each value rounded to its own number of decimals (negative: to tens, hundreds, ...)."""
    scale = 10.0 ** np.abs(decimals)
    rounded: Float64s = np.where(
        decimals >= 0, np.round(values * scale) / scale, np.round(values / scale) * scale
    )
    return rounded


def _shape(hour: Float64s) -> Float64s:
    shape: Float64s = (
        0.35 + 0.9 * np.exp(-(((hour - 8) / 2.0) ** 2)) + 1.3 * np.exp(-(((hour - 14) / 2.5) ** 2))
    )
    return shape


_MEAN_SHAPE: Final = float(_shape(np.linspace(0, 24, 1441)[:-1]).mean())
