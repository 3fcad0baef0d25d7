"""The ticks of the days before a demo: a market that has what a chart of one has."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from barstream.demo.tape import CORRECTED_BEFORE_US, Tape, Turbulence, record
from barstream.demo.venue import LISTINGS, sessions
from barstream.feeds.simulated_market import busyness
from barstream.feeds.simulated_series import Kind
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US, us_from_datetime

SERIES = LISTINGS[:6]
GRACE_US = 5 * SECOND_US
STARTS = [
    us_from_datetime(datetime(2026, 11, day, hour, minute, second, tzinfo=UTC))
    for day, hour, minute, second in [
        (29, 18, 34, 20),  # a Sunday
        (29, 22, 0, 0),  # the instant at which Monday's trading date begins
        (29, 22, 3, 7),
        (28, 0, 0, 0),
        (27, 23, 59, 59),
        (30, 12, 0, 0),
    ]
]
every_start = pytest.mark.parametrize("until_us", STARTS)


@cache
def tape_at(until_us: int, seed: int = 7) -> Tape:
    return record(SERIES, [sessions(each, until_us) for each in SERIES], until_us, 40.0, seed)


@every_start
def test_every_tick_lies_in_a_session_and_before_the_end(until_us: int) -> None:
    """One later would be rejected as from the future, one outside as off session."""
    ticks = tape_at(until_us).ticks
    assert ticks.time_us.max() < until_us
    for number, listing in enumerate(SERIES):
        mine = ticks.time_us[ticks.series == number]
        rows = sessions(listing, until_us)
        opens = np.array([row.open_us for row in rows])
        closes = np.array([row.close_us for row in rows])
        at = np.searchsorted(opens, mine, side="right") - 1
        assert (at >= 0).all()
        assert (mine < closes[at]).all()
        assert mine.min() < opens[0] + 60 * MINUTE_US


@every_start
def test_each_series_is_in_order_but_for_one_correction(until_us: int) -> None:
    """
    ::

        event time   | x  x  c x |          |          |
        arrival      | x  x    x |  x  x ...|  x  c x    c: its minute is final
    """
    ticks = tape_at(until_us).ticks
    [late] = np.flatnonzero(ticks.kind == Kind.LATE)
    for number in range(len(SERIES)):
        rows = np.flatnonzero((ticks.series == number) & (ticks.kind == Kind.ON_TIME))
        assert (np.diff(ticks.time_us[rows]) >= 0).all()
    assert ticks.series[late] == 0
    minute_us = ticks.time_us[late] - ticks.time_us[late] % MINUTE_US
    assert minute_us < until_us - CORRECTED_BEFORE_US
    before = ticks.time_us[:late][ticks.series[:late] == 0]
    assert before.max() >= minute_us + MINUTE_US + GRACE_US
    inside = before[(before >= minute_us) & (before < minute_us + MINUTE_US)]
    assert len(inside) >= 3
    high = ticks.price[:late][(ticks.series[:late] == 0) & (ticks.time_us[:late] >= minute_us)]
    assert ticks.price[late] > high[: len(inside)].max()


@every_start
def test_one_tick_has_no_price_and_all_others_have_one_of_their_own_decimals(
    until_us: int,
) -> None:
    ticks = tape_at(until_us).ticks
    assert np.isnan(ticks.price).sum() == 1
    assert ticks.kind[np.isnan(ticks.price)] == Kind.INVALID
    for number, listing in enumerate(SERIES):
        prices = ticks.price[(ticks.series == number) & (ticks.kind != Kind.INVALID)]
        assert (prices == np.round(prices, listing.decimals)).all()
        assert (prices != np.round(prices, listing.decimals - 1)).any()


def test_there_are_busy_series_and_one_with_minutes_without_a_tick() -> None:
    ticks = tape_at(STARTS[0]).ticks
    counts = np.bincount(ticks.series)
    assert counts[0] > 10 * counts[-1]
    minutes = np.unique(ticks.time_us[ticks.series == 5] // MINUTE_US)
    open_minutes = sum(
        (min(row.close_us, STARTS[0]) - row.open_us) // MINUTE_US
        for row in sessions(SERIES[5], STARTS[0])
        if row.open_us < STARTS[0]
    )
    assert 0.2 < len(minutes) / open_minutes < 0.8


@pytest.mark.parametrize("seed", range(3))
def test_days_move_as_far_as_the_volatility_of_a_listing_says(seed: int) -> None:
    """The ranges of days tell a market from noise: a few per mille for currencies, not zero."""
    ticks = tape_at(STARTS[0], seed).ticks
    for number, listing in enumerate(SERIES):
        mine = (ticks.series == number) & (ticks.kind == Kind.ON_TIME)
        day = ticks.time_us[mine] // DAY_US
        prices = ticks.price[mine]
        ranges = np.array([np.ptp(np.log(prices[day == each])) for each in np.unique(day)])
        usual = listing.volatility * np.sqrt(DAY_US / SECOND_US)
        # The range of a random walk is 1.6 deviations on average.
        assert 0.5 * usual < np.median(ranges) < 4 * usual


def test_turbulence_comes_in_clusters_and_leaves_the_variance() -> None:
    at_us = np.arange(0, 400 * DAY_US, 10 * MINUTE_US)
    factor = Turbulence(np.random.default_rng(3)).at(at_us)
    assert np.mean(factor**2) == pytest.approx(1, rel=0.02)
    assert factor.max() > 2 * factor.min()
    near = np.corrcoef(factor[:-1], factor[1:])[0, 1]
    assert near > 0.9


def test_the_live_market_begins_where_the_tape_ends() -> None:
    """No jump in price, and volumes of the same height."""
    tape = tape_at(STARTS[0])
    for number in range(len(SERIES)):
        mine = (tape.ticks.series == number) & (tape.ticks.kind == Kind.ON_TIME)
        last = tape.ticks.price[mine][-1]
        assert tape.market.first_mid[number] == pytest.approx(
            last, abs=tape.market.tick_size[number]
        )
    assert tape.market.symbols == tuple(listing.symbol for listing in SERIES)
    assert tape.market.weight.sum() == pytest.approx(1)
    busiest = tape.ticks.series == 0
    recent = busiest & (tape.ticks.time_us >= STARTS[0] - DAY_US)
    a_minute = tape.ticks.size[recent].sum() / (DAY_US // MINUTE_US)
    usual = np.exp(0.5 + 0.9**2 / 2) * SERIES[0].size
    assert a_minute == pytest.approx(tape.market.weight[0] * 40 * 60 * usual, rel=0.6)


@every_start
def test_the_last_hours_are_as_dense_as_the_live_feed_and_the_rest_is_thin(until_us: int) -> None:
    """No jump at the seam; and what is to be loaded does not grow with the rate."""
    rate = 6.0
    tape = record(SERIES, [sessions(each, until_us) for each in SERIES], until_us, rate, 7)
    rows = [row for row in sessions(SERIES[0], until_us) if row.open_us < until_us]
    minutes = np.concatenate(
        [np.arange(row.open_us, min(row.close_us, until_us), MINUTE_US) for row in rows]
    )
    begin_us = minutes[-100]
    times = tape.ticks.time_us[tape.ticks.series == 0]
    inside = minutes[(minutes >= begin_us) & (minutes + MINUTE_US <= until_us)]
    expected = tape.market.weight[0] * rate * 60 * busyness(inside).sum()
    found = ((times >= begin_us) & (times < inside[-1] + MINUTE_US)).sum()
    assert found == pytest.approx(expected, rel=0.1)
    assert len(tape.ticks) < 500_000
    assert len(tape_at(until_us).ticks) < 600_000


def test_the_same_seed_makes_the_same_tape() -> None:
    one = tape_at(STARTS[0])
    two = record(SERIES, [sessions(each, STARTS[0]) for each in SERIES], STARTS[0], 40.0, 7)
    assert np.array_equal(one.ticks.price, two.ticks.price, equal_nan=True)
    assert not np.array_equal(one.ticks.time_us, tape_at(STARTS[0], 8).ticks.time_us)
