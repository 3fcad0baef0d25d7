"""The ticks of the days before the demo started, as somebody at its venue would have kept them.

A price is a random walk whose volatility follows the hour of the day and comes in clusters of
hours and days: the factor that `Turbulence` gives is made of slow waves.  While a market is
closed its price moves as in an hour of trading, so it opens with a gap.  The last hours have as
many ticks as the live feed that goes on from them, what lies further back has fewer and fewer;
sizes make up for it, so that volumes are of one height.  What a real feed gets wrong is there once
each: a correction that arrives when its minute is final, and a tick whose price is no number.

No clock is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from barstream.demo.venue import Listing, live_market
from barstream.feeds.simulated_market import Float64s, Int64s, Market, busyness, usual_sizes
from barstream.feeds.simulated_series import Kind
from barstream.feeds.simulated_ticks import SimulatedTicks
from barstream.market.session import SessionRow
from barstream.model.time import MINUTE_US, SECOND_US

CORRECTED_BEFORE_US: Final = 15 * MINUTE_US
"""The minute that is corrected began at least so long before the end of the tape."""
CORRECTED_AFTER_US: Final = 4 * MINUTE_US
"""From the start of that minute to the arrival of the correction, at least."""
DENSE_MINUTES: Final = 120
"""Of trading before the end, as dense as the live feed; what is more falls with the cube beyond."""
_DENSEST: Final = 600.0
"""Ticks a minute over all series: a live feed that is faster has a past that is thinner."""
REJECTED_BEFORE_US: Final = 6 * MINUTE_US
_CORRECTED_TICKS: Final = 3
"""A minute with fewer shows too little of a bar."""
_CLOSED_LIKE_US: Final = 60 * MINUTE_US
_PERIODS_H: Final = (1.7, 5.3, 17.0, 41.0)
_AMPLITUDE: Final = 0.35
_MEAN_SQUARE: Final = float(np.i0(2 * _AMPLITUDE)) ** len(_PERIODS_H)
"""Of ``exp(_AMPLITUDE * sum of sines)``: the mean over a period of each is a Bessel function."""

_TICK: Final = np.dtype(
    [
        ("series", np.int64),
        ("time_us", np.int64),
        ("arrival_us", np.int64),
        ("mid", np.float64),
        ("size", np.float64),
        ("kind", np.int8),
    ]
)
Ticks = NDArray[Any]
"""Ticks as records of ``_TICK``."""


@dataclass(frozen=True, slots=True)
class Tape:
    """Ticks in order of arrival up to ``until_us``, and how the market stands then."""

    ticks: SimulatedTicks
    until_us: int
    market: Market


class Turbulence:
    """How nervous one series is: a factor of its volatility, and of the sizes of its ticks.

    The mean of its square is 1, so that the variance over days is that of the listing.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._phases = rng.uniform(0, 2 * np.pi, len(_PERIODS_H))

    def at(self, time_us: Int64s) -> Float64s:
        """The factor at each instant, same shape."""
        turns = time_us[..., np.newaxis] / (np.array(_PERIODS_H) * 3600 * SECOND_US)
        waves = np.sin(2 * np.pi * turns + self._phases)
        factor: Float64s = np.exp(_AMPLITUDE * waves.sum(axis=-1)) / np.sqrt(_MEAN_SQUARE)
        return factor


def record(
    listings: Sequence[Listing],
    hours: Sequence[Sequence[SessionRow]],
    until_us: int,
    rate_per_s: float,
    seed: int,
) -> Tape:
    """The tape of ``listings`` from their first session to ``until_us``.

    Args:
        listings: from the busiest to the thinnest.
        hours: the sessions of each, in order.
        until_us: where it ends.
        rate_per_s: of the live feed that goes on from there.
        seed: the same seed, the same tape.
    """
    rng = np.random.default_rng(seed)
    nerves = [Turbulence(rng) for _ in listings]
    now = np.array([until_us])
    factor = np.concatenate([turbulence.at(now) for turbulence in nerves])
    opening = np.array([listing.mid for listing in listings])
    market = live_market(listings, opening, factor)
    a_minute = market.weight * rate_per_s * 60
    near = a_minute * min(1.0, _DENSEST / a_minute.sum())
    tracks = [
        _track(number, listing, nerves[number], hours[number], until_us, near[number], rng)
        for number, listing in enumerate(listings)
    ]
    for track, feed, tape in zip(tracks, a_minute, near, strict=True):
        track["size"] *= feed / tape
    wrong = [_correction(tracks[0], listings[0], until_us), _rejected(tracks[-1], until_us)]
    ticks = np.concatenate([*tracks, *wrong])
    ticks = ticks[np.argsort(ticks["arrival_us"], kind="stable")]
    series, size = ticks["series"], np.round(ticks["size"] + 0.01, 2)
    quotes = market.quotes(series, ticks["mid"])
    columns = SimulatedTicks(series, ticks["time_us"], *quotes, size, ticks["kind"])
    closing = np.array([track["mid"][-1] for track in tracks])
    return Tape(columns, until_us, live_market(listings, closing, factor))


def _track(
    number: int,
    listing: Listing,
    turbulence: Turbulence,
    hours: Sequence[SessionRow],
    until_us: int,
    near: float,
    rng: np.random.Generator,
) -> Ticks:
    """The ticks of one series that are as they should be, in order.

    The last hours have ``near`` ticks a minute, on average over a day, and sizes as in a live
    feed of so many; further back sizes are such that the volume is the same.
    """
    minutes = np.concatenate(
        [
            np.arange(session.open_us, min(session.close_us, until_us), MINUTE_US)
            for session in hours
        ]
    )
    back = np.arange(len(minutes), 0, -1)
    more = (near - listing.past_a_minute) * np.minimum(1.0, (DENSE_MINUTES / back) ** 3)
    density = listing.past_a_minute + more
    counts = rng.poisson(density * busyness(minutes))
    each = np.repeat(np.arange(len(minutes)), counts)
    time_us = minutes[each] + rng.integers(0, MINUTE_US, len(each))
    order = np.lexsort((time_us, each))
    order = order[time_us[order] < until_us]
    time_us, each = time_us[order], each[order]
    since_us = np.minimum(np.diff(time_us, prepend=time_us[:1]), _CLOSED_LIKE_US)
    moves = rng.normal(size=len(time_us)) * np.sqrt(since_us / SECOND_US)
    moves *= listing.volatility * turbulence.at(time_us) * np.sqrt(busyness(time_us))
    track = np.zeros(len(time_us), _TICK)
    track["series"] = number
    track["time_us"] = track["arrival_us"] = time_us
    track["mid"] = listing.mid * np.exp(np.cumsum(moves))
    track["size"] = listing.size * turbulence.at(time_us) * usual_sizes(len(time_us), rng)
    track["size"] *= near / density[each]
    track["kind"] = Kind.ON_TIME
    return track


def _correction(track: Ticks, listing: Listing, until_us: int) -> Ticks:
    """A tick above the high of its minute, which arrives when that is final."""
    time_us = track["time_us"]
    minutes, counts = np.unique(time_us - time_us % MINUTE_US, return_counts=True)
    old = (minutes < until_us - CORRECTED_BEFORE_US) & (minutes <= time_us[-1] - CORRECTED_AFTER_US)
    eligible = old & (counts >= _CORRECTED_TICKS)
    minute_us = int(minutes[eligible][-1])
    inside = track[(time_us >= minute_us) & (time_us < minute_us + MINUTE_US)]
    high, low = inside["mid"].max(), inside["mid"].min()
    correction = inside[-1:].copy()
    correction["arrival_us"] = time_us[np.searchsorted(time_us, minute_us + CORRECTED_AFTER_US)]
    correction["mid"] = high + max(high - low, 10 * listing.tick_size)
    correction["kind"] = Kind.LATE
    return correction


def _rejected(track: Ticks, until_us: int) -> Ticks:
    """A tick whose price is no number."""
    before = np.searchsorted(track["time_us"], until_us - REJECTED_BEFORE_US) - 1
    rejected = track[before : before + 1].copy()
    rejected["mid"] = np.nan
    rejected["kind"] = Kind.INVALID
    return rejected
