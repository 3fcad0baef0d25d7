"""Made-up ticks as columns: seeded, so that the same question has the same answer.

Slots are drawn in delivery order; each is of one kind.  What a kind means to the bars::

    on_time       event time = delivery time
    out_of_order  event time up to 0.6 grace before delivery: enters its bar
    duplicate     the tick before it of its series once more: enters its bar, counts again
    late          its bucket was closed by the watermark of its series    -> rejected, late
    undecodable   bytes no decoder takes                                  -> rejected, undecodable
    invalid       price is NaN                                            -> rejected, invalid
    future        event time an hour after now                            -> rejected, future

So the counts by kind can be held against ``ticks_rejected``.  A slot that cannot be what it
was drawn to be (a late tick of a series without a watermark) is on time instead: shares are
approximate, counts are exact.  No clock is read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.feeds.simulated_market import (
    Float64s,
    Int64s,
    Market,
    activity,
    market,
    usual_sizes,
)
from barstream.feeds.simulated_series import Grouped, Kind
from barstream.model.time import MINUTE_US, SECOND_US

MAX_STEP_TICKS: Final = 65_536
MIN_STEP_TICKS: Final = 1_024
FUTURE_BY_US: Final = 3600 * SECOND_US
_REACH: Final = 0.6
"""An out-of-order tick is older than its delivery by at most this share of the grace."""


@dataclass(frozen=True, slots=True)
class SimulationRules:
    """What to make up; shares are of all ticks.

    Raises:
        ValueError: a share below 0, shares that sum to more than 0.9, or a rate of 0.
    """

    series: int = 10
    rate_per_s: float = 100.0
    seed: int = 1
    grace_us: int = 5 * SECOND_US
    out_of_order_share: float = 0.0
    duplicate_share: float = 0.0
    late_share: float = 0.0
    bad_share: float = 0.0
    """Undecodable, invalid and future ticks, a third each."""
    intraday: bool = True
    """Busy and quiet hours; False: the same rate at any time of day."""

    def __post_init__(self) -> None:
        shares = self.thresholds()
        if min(self.out_of_order_share, self.duplicate_share, self.late_share, self.bad_share) < 0:
            raise ValueError("a share must be 0 or more")
        if shares[-1] > 0.9:
            raise ValueError(f"shares must sum to 0.9 at most, found {shares[-1]:g}")
        if self.rate_per_s <= 0:
            raise ValueError(f"the rate must be above 0 ticks/s, found {self.rate_per_s:g}")

    def thresholds(self) -> list[float]:
        """Cumulated shares of the kinds after ON_TIME, in their order."""
        third = self.bad_share / 3
        shares = (
            self.out_of_order_share,
            self.duplicate_share,
            self.late_share,
            third,
            third,
            third,
        )
        return [float(x) for x in np.cumsum(shares)]


@dataclass(frozen=True, slots=True)
class SimulatedTicks:
    """Ticks in delivery order, all columns of shape (n,); prices float64, times microseconds."""

    series: Int64s
    """Index into ``Market.symbols``."""
    time_us: Int64s
    bid: Float64s
    ask: Float64s
    price: Float64s
    """The mid."""
    size: Float64s
    kind: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.series)

    def part(self, start: int, end: int) -> SimulatedTicks:
        """The ticks ``[start, end)``."""
        rows = slice(start, end)
        return SimulatedTicks(
            self.series[rows],
            self.time_us[rows],
            self.bid[rows],
            self.ask[rows],
            self.price[rows],
            self.size[rows],
            self.kind[rows],
        )

    def counts(self) -> dict[Kind, int]:
        """Ticks by kind, every kind named."""
        found = np.bincount(self.kind, minlength=len(Kind))
        return {kind: int(found[kind]) for kind in Kind}


class Simulation:
    """A market in motion: remembers where each price is, hands out the next stretch of ticks.

    Args:
        rules: what to make up.
        given: the market, of ``rules.series`` series; None: one drawn by the seed.

    Raises:
        ValueError: the market has another number of series.
    """

    def __init__(self, rules: SimulationRules, given: Market | None = None) -> None:
        self.rules = rules
        self._rng = np.random.default_rng(rules.seed)
        self.market = market(rules.series, self._rng) if given is None else given
        found = len(self.market.symbols)
        if found != rules.series:
            raise ValueError(f"the rules are for {rules.series} series, the market has {found}")
        self._borders = np.cumsum(self.market.weight)
        self._thresholds = np.array(rules.thresholds())
        self._log_mid = np.log(self.market.first_mid)
        self._walked_us = np.full(rules.series, -1, np.int64)
        # The last on-time tick of each series: -1 before there is one.
        self._last_us = np.full(rules.series, -1, np.int64)
        self._last_mid = self.market.first_mid.copy()
        self._last_size = np.ones(rules.series)

    def step(self, start_us: int, end_us: int, now_us: int) -> SimulatedTicks:
        """The ticks delivered in [start_us, end_us); steps must follow one another.

        Args:
            start_us: event clock at the beginning of the stretch.
            end_us: its end, exclusive.
            now_us: the wall clock, which decides what is in the future.
        """
        rng, rules = self._rng, self.rules
        busy = activity(start_us) if rules.intraday else 1.0
        expected = rules.rate_per_s * busy * (end_us - start_us) / SECOND_US
        n = int(rng.poisson(expected))
        at_us = np.sort(rng.integers(start_us, end_us, n))
        series = np.searchsorted(self._borders, rng.random(n), side="right")
        series = np.minimum(series, rules.series - 1).astype(np.int64)
        drawn = np.searchsorted(self._thresholds, rng.random(n), side="right") + 1
        kind = np.where(drawn > len(self._thresholds), Kind.ON_TIME, drawn).astype(np.int8)
        usual = self.market.size[series]
        size = np.round(usual * usual_sizes(n, rng) + 0.01, 2)

        order = np.argsort(series, kind="stable")
        grouped = Grouped(series[order], at_us[order], kind[order])
        mid = self._walk(grouped, rng.normal(size=n))
        grouped_size = size[order]
        self._make_possible(grouped)
        time_us = grouped.at_us.copy()
        before = grouped.last_on_time()

        twice = grouped.kind == Kind.DUPLICATE
        source, owners = before[twice], grouped.series[twice]
        here = source >= 0
        mid[twice] = np.where(here, mid[source], self._last_mid[owners])
        grouped_size[twice] = np.where(here, grouped_size[source], self._last_size[owners])
        watermark_us = np.where(before >= 0, time_us[before], self._last_us[grouped.series])
        time_us[twice] = watermark_us[twice]
        early = grouped.kind == Kind.OUT_OF_ORDER
        reach = rng.uniform(0.05, _REACH, n) * rules.grace_us
        time_us[early] -= reach[early].astype(np.int64)
        late = grouped.kind == Kind.LATE
        by_us = MINUTE_US + rules.grace_us + rng.integers(0, 3 * MINUTE_US, n)
        time_us[late] = watermark_us[late] - by_us[late]
        future = grouped.kind == Kind.FUTURE
        time_us[future] = now_us + FUTURE_BY_US + rng.integers(0, FUTURE_BY_US, n)[future]

        self._remember(grouped, mid, grouped_size)
        return self._in_delivery_order(order, grouped, time_us, mid, grouped_size)

    def snapshot(self, now_us: int) -> SimulatedTicks:
        """One tick of each series at its price, as a feed sends when somebody connects."""
        series = np.arange(len(self.market.symbols))
        mid = np.exp(self._log_mid)
        self._walked_us[:] = self._last_us[:] = now_us
        self._last_mid, self._last_size = mid, self.market.size.copy()
        return SimulatedTicks(
            series,
            np.full(len(series), now_us, np.int64),
            *self.market.quotes(series, mid),
            self._last_size,
            np.full(len(series), Kind.ON_TIME, np.int8),
        )

    def fast(self, start_us: int, now_us: int) -> Iterator[SimulatedTicks]:
        """Stretch after stretch from ``start_us``, without end, in steps worth their overhead."""
        at_us = start_us
        expected = min(MAX_STEP_TICKS, max(MIN_STEP_TICKS, int(self.rules.rate_per_s * 60)))
        step_us = max(1, int(expected / self.rules.rate_per_s * SECOND_US))
        while True:
            yield self.step(at_us, at_us + step_us, now_us)
            at_us += step_us

    def _walk(self, grouped: Grouped, z: Float64s) -> Float64s:
        """Mids of the grouped slots; the walk of each series goes on from its last slot."""
        if not len(z):
            return z
        first, _ = grouped.runs
        owners = grouped.series[first]
        since_us = np.diff(grouped.at_us, prepend=0)
        walked_us = self._walked_us[owners]
        since_us[first] = np.where(walked_us < 0, 0, grouped.at_us[first] - walked_us)
        volatility = self.market.volatility[grouped.series]
        moves = z * volatility * np.sqrt(np.maximum(since_us, 0) / SECOND_US)
        summed = np.cumsum(moves)
        base = (summed - moves)[first]
        lengths = np.diff(first, append=len(z))
        log_mid = summed - np.repeat(base, lengths) + self._log_mid[grouped.series]
        last = first + lengths - 1
        self._log_mid[owners] = log_mid[last]
        self._walked_us[owners] = grouped.at_us[last]
        tick = self.market.tick_size[grouped.series]
        mid: Float64s = np.round(np.exp(log_mid) / tick) * tick
        return mid

    def _make_possible(self, grouped: Grouped) -> None:
        """Slots that cannot be of their kind become on time."""
        if not len(grouped.kind):
            return
        first, _ = grouped.runs
        fresh = first[self._last_us[grouped.series[first]] < 0]
        grouped.kind[fresh] = Kind.ON_TIME
        before = grouped.last_on_time()
        before_us = np.where(before >= 0, grouped.at_us[before], self._last_us[grouped.series])
        # A duplicate of an old tick would be late once a heartbeat has closed its minute.
        stale = grouped.at_us - before_us > self.rules.grace_us * _REACH
        grouped.kind[(grouped.kind == Kind.DUPLICATE) & stale] = Kind.ON_TIME

    def _remember(self, grouped: Grouped, mid: Float64s, size: Float64s) -> None:
        on_time = np.flatnonzero(grouped.kind == Kind.ON_TIME)
        owners = grouped.series[on_time]
        # Ascending within a series: the last assignment of an owner stands.
        self._last_us[owners] = grouped.at_us[on_time]
        self._last_mid[owners] = mid[on_time]
        self._last_size[owners] = size[on_time]

    def _in_delivery_order(
        self, order: Int64s, grouped: Grouped, time_us: Int64s, mid: Float64s, size: Float64s
    ) -> SimulatedTicks:
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        bid, ask, price = self.market.quotes(grouped.series, mid)
        invalid = grouped.kind == Kind.INVALID
        for column in (bid, ask, price):
            column[invalid] = np.nan
        return SimulatedTicks(
            grouped.series[back],
            time_us[back],
            bid[back],
            ask[back],
            price[back],
            size[back],
            grouped.kind[back],
        )
