"""The demo's venue: what is listed there, when it trades and how busy it is; all of it made up.

Most series trade on weekdays, a trading date from 22:00 UTC of the evening before, as currencies
do; one trades around the clock by UTC dates.  The demo must be live whatever day it is, so the
trading date that runs (in brackets) and all that follow are open; before it, weekends are closed::

    on a Saturday   Thu Fri  -  -  Mon Tue Wed Thu Fri [Sat] Sun  Mon Tue Wed Thu Fri Sat ...
    on a Sunday     Thu Fri  -  -  Mon Tue Wed Thu Fri   -  [Sun] Mon Tue Wed Thu Fri Sat ...
    on a Monday     Thu Fri  -  -  Mon Tue Wed Thu Fri   -    -  [Mon] Tue Wed Thu Fri Sat ...

No clock is read here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from barstream.feeds.simulated_market import TRADED_SECONDS, Float64s, Market
from barstream.market.session import SessionRow
from barstream.model.time import DAY_US, SECOND_US

BROKER: Final = "SIM"
PAST_DATES: Final = 7
"""Trading dates that are there when the demo starts, the running one included: never all of them
in one week."""
DATES_AHEAD: Final = 30
_ROLL_US: Final = 2 * 3600 * SECOND_US
"""A trading date opens so long before its midnight."""
_SATURDAY: Final = 5
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class Listing:
    """One series of the venue.

    Attributes:
        symbol: its name.
        mid: price at which its history begins.
        decimals: of its prices.
        yearly_volatility: deviation of the logarithm of the price over a year of trading.
        live_a_minute: ticks a minute of the live feed, at the venue's usual rate.
        past_a_minute: ticks a minute of its older history, which is thinned out as vendors do.
        size: of a usual live tick.
        around_the_clock: trades at weekends too, its trading dates are those of UTC.
    """

    symbol: str
    mid: float
    decimals: int
    yearly_volatility: float
    live_a_minute: float
    past_a_minute: float
    size: float
    around_the_clock: bool = False

    @property
    def tick_size(self) -> float:
        """Smallest price step."""
        return float(10.0**-self.decimals)

    @property
    def volatility(self) -> float:
        """Deviation of the logarithm of the price over one second, on average over a day."""
        return self.yearly_volatility / math.sqrt(TRADED_SECONDS)

    def trading_date(self, now_us: int) -> int:
        """The trading date that runs at ``now_us``, in days since 1970-01-01."""
        return (now_us if self.around_the_clock else now_us + _ROLL_US) // DAY_US

    def session(self, trading_date: int) -> SessionRow:
        """The session of a trading date."""
        open_us = trading_date * DAY_US - (0 if self.around_the_clock else _ROLL_US)
        return SessionRow(BROKER, self.symbol, trading_date, 0, open_us, open_us + DAY_US)


LISTINGS: Final = (
    Listing("EURUSD", 1.0850, 5, 0.08, 180, 11, 3),
    Listing("BTCUSD", 61_850.0, 1, 0.45, 100, 6, 0.2, around_the_clock=True),
    Listing("XAUUSD", 2_034.5, 2, 0.17, 50, 4, 2),
    Listing("USDJPY", 148.20, 3, 0.10, 20, 3, 3),
    Listing("GBPUSD", 1.2710, 5, 0.09, 9, 2, 2),
    Listing("NZDUSD", 0.6090, 5, 0.11, 1, 0.7, 5),
    Listing("AUDUSD", 0.6550, 5, 0.11, 6, 2, 2),
    Listing("USDCHF", 0.8830, 5, 0.08, 4, 1.5, 2),
    Listing("USDCAD", 1.3520, 5, 0.07, 2, 1, 1),
    Listing("EURGBP", 0.8540, 5, 0.06, 1, 0.5, 1),
)
"""From busy to thin; the last of the first six has minutes without a tick."""


def sessions(listing: Listing, now_us: int) -> list[SessionRow]:
    """The sessions of ``listing`` from the first of its history to a month ahead, in order.

    Series that pause at weekends have a history of `PAST_DATES`, one that does not has every
    date since the first of theirs.
    """
    runs = listing.trading_date(now_us)
    days = range(_first_date(now_us), runs + 1 + DATES_AHEAD)
    always = listing.around_the_clock
    return [listing.session(day) for day in days if always or day >= runs or _is_weekday(day)]


def _first_date(now_us: int) -> int:
    day = (now_us + _ROLL_US) // DAY_US
    for _ in range(PAST_DATES - 1):
        day -= 1
        while not _is_weekday(day):
            day -= 1
    return day


def live_market(listings: Sequence[Listing], mids: Float64s, turbulence: Float64s) -> Market:
    """The market as the live feed finds it.

    Args:
        listings: its series.
        mids: price of each, shape (series,).
        turbulence: of each, a factor of its volatility and sizes.
    """
    a_minute = np.array([listing.live_a_minute for listing in listings])
    tick_size = np.array([listing.tick_size for listing in listings])
    return Market(
        symbols=tuple(listing.symbol for listing in listings),
        weight=a_minute / a_minute.sum(),
        first_mid=mids,
        tick_size=tick_size,
        half_spread=tick_size * 3,
        volatility=np.array([listing.volatility for listing in listings]) * turbulence,
        size=np.array([listing.size for listing in listings]) * turbulence,
    )


def _is_weekday(day: int) -> bool:
    return (day + _EPOCH_WEEKDAY) % 7 < _SATURDAY
