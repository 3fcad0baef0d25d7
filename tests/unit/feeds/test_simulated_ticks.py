"""The made-up market: the same question has the same answer, and kinds are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from barstream.feeds.simulated_market import activity
from barstream.feeds.simulated_series import Kind
from barstream.feeds.simulated_ticks import SimulatedTicks, Simulation, SimulationRules
from barstream.model.time import MINUTE_US, SECOND_US

START_US = 1_704_202_200 * SECOND_US
NOW_US = 1_780_000_000 * SECOND_US
SHARES: dict[str, Any] = {
    "out_of_order_share": 0.05,
    "duplicate_share": 0.04,
    "late_share": 0.03,
    "bad_share": 0.06,
}


def stretch(
    rules: SimulationRules, steps: int = 4, step_us: int = 30 * SECOND_US
) -> SimulatedTicks:
    simulation = Simulation(rules)
    parts = [
        simulation.step(START_US + i * step_us, START_US + (i + 1) * step_us, NOW_US)
        for i in range(steps)
    ]
    names = ("series", "time_us", "bid", "ask", "price", "size", "kind")
    return SimulatedTicks(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def test_the_same_seed_makes_the_same_ticks() -> None:
    one, two = (stretch(SimulationRules(rate_per_s=500, seed=7, **SHARES)) for _ in range(2))
    for name in ("series", "time_us", "price", "size", "kind"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=name == "price")
    other = stretch(SimulationRules(rate_per_s=500, seed=8, **SHARES))
    assert len(other) != len(one) or not np.array_equal(other.time_us, one.time_us)


def test_the_rate_is_the_one_asked_for() -> None:
    ticks = stretch(SimulationRules(rate_per_s=2_000, intraday=False))
    assert len(ticks) == pytest.approx(2_000 * 120, rel=0.02)


def test_busy_and_thin_series_are_mixed() -> None:
    ticks = stretch(SimulationRules(series=8, rate_per_s=2_000, intraday=False))
    found = np.bincount(ticks.series, minlength=8)
    assert found[0] > 0.5 * len(ticks)
    assert found[-1] < 0.002 * len(ticks)


def test_a_day_has_busy_and_quiet_hours_that_average_out() -> None:
    hours = [activity(hour * 60 * MINUTE_US) for hour in range(24)]
    assert max(hours) > 3 * min(hours)
    assert np.mean(hours) == pytest.approx(1, abs=0.02)


def test_shares_are_near_what_was_asked_for() -> None:
    ticks = stretch(SimulationRules(series=20, rate_per_s=2_000, **SHARES), steps=8)
    share = {kind: count / len(ticks) for kind, count in ticks.counts().items()}
    assert share[Kind.OUT_OF_ORDER] == pytest.approx(0.05, abs=0.01)
    assert share[Kind.DUPLICATE] == pytest.approx(0.04, abs=0.01)
    assert share[Kind.LATE] == pytest.approx(0.03, abs=0.01)
    for kind in (Kind.UNDECODABLE, Kind.INVALID, Kind.FUTURE):
        assert share[kind] == pytest.approx(0.02, abs=0.005)


def test_on_time_ticks_of_a_series_run_forward_across_steps() -> None:
    ticks = stretch(SimulationRules(rate_per_s=1_000, **SHARES))
    for series in range(10):
        own = ticks.time_us[(ticks.series == series) & (ticks.kind == Kind.ON_TIME)]
        assert (np.diff(own) >= 0).all()


def watermarks_before(ticks: SimulatedTicks) -> list[int | None]:
    """Newest accepted event time of the series before each tick, one tick at a time."""
    newest: dict[int, int] = {}
    found: list[int | None] = []
    accepted = {Kind.ON_TIME, Kind.OUT_OF_ORDER, Kind.DUPLICATE}
    rows = zip(ticks.series.tolist(), ticks.time_us.tolist(), ticks.kind.tolist(), strict=True)
    for series, time_us, kind in rows:
        found.append(newest.get(series))
        if Kind(kind) in accepted:
            newest[series] = max(newest.get(series, time_us), time_us)
    return found


def test_late_ticks_are_late_and_no_other_accepted_tick_is() -> None:
    #        bucket of the tick   grace
    # |------------------------|.......|  watermark: at or past the end of the grace = late
    rules = SimulationRules(rate_per_s=400, grace_us=5 * SECOND_US, **SHARES)
    ticks = stretch(rules, steps=10)
    before = watermarks_before(ticks)
    for time_us, kind, watermark in zip(
        ticks.time_us.tolist(), ticks.kind.tolist(), before, strict=True
    ):
        closes_us = time_us - time_us % MINUTE_US + MINUTE_US + rules.grace_us
        late = watermark is not None and watermark >= closes_us
        if kind in (Kind.ON_TIME, Kind.OUT_OF_ORDER, Kind.DUPLICATE, Kind.LATE):
            assert late == (kind == Kind.LATE)


def test_a_duplicate_repeats_an_on_time_tick_of_its_series() -> None:
    ticks = stretch(SimulationRules(rate_per_s=500, **SHARES))
    columns = (ticks.series, ticks.time_us, ticks.price, ticks.size)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    on_time = {row for row, kind in zip(rows, ticks.kind, strict=True) if kind == Kind.ON_TIME}
    twice = [row for row, kind in zip(rows, ticks.kind, strict=True) if kind == Kind.DUPLICATE]
    assert twice
    assert set(twice) <= on_time


def test_bad_ticks_are_bad() -> None:
    ticks = stretch(SimulationRules(rate_per_s=1_000, **SHARES))
    assert np.isnan(ticks.price[ticks.kind == Kind.INVALID]).all()
    assert np.isfinite(ticks.price[ticks.kind != Kind.INVALID]).all()
    assert (ticks.time_us[ticks.kind == Kind.FUTURE] > NOW_US + 10 * MINUTE_US).all()


def test_prices_walk_in_small_steps_between_bid_and_ask() -> None:
    ticks = stretch(SimulationRules(series=1, rate_per_s=200))
    assert (ticks.bid < ticks.price).all()
    assert (ticks.price < ticks.ask).all()
    assert np.abs(np.diff(np.log(ticks.price))).max() < 0.001
    assert len(np.unique(ticks.price)) > 5


@pytest.mark.parametrize(
    "wrong", [{"late_share": -0.1}, {"late_share": 0.5, "bad_share": 0.5}, {"rate_per_s": 0}]
)
def test_impossible_rules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"share|rate"):
        SimulationRules(**wrong)


def test_a_market_that_is_given_goes_on_from_its_prices() -> None:
    """A feed that takes over from another must not jump."""
    rules = SimulationRules(series=3, rate_per_s=100, intraday=False)
    given = Simulation(SimulationRules(series=3, seed=9)).market
    simulation = Simulation(rules, given)
    first = simulation.step(START_US, START_US + SECOND_US, NOW_US)
    busiest = first.price[first.series == 0]
    assert busiest[0] == pytest.approx(given.first_mid[0], abs=given.tick_size[0])
    quotes = simulation.snapshot(START_US + SECOND_US)
    assert quotes.series.tolist() == [0, 1, 2]
    assert set(quotes.time_us) == {START_US + SECOND_US}
    assert quotes.price[0] == pytest.approx(busiest[-1], abs=given.tick_size[0])
    assert set(quotes.kind) == {Kind.ON_TIME}
    with pytest.raises(ValueError, match="3 series, the market has 2"):
        Simulation(rules, Simulation(SimulationRules(series=2)).market)
