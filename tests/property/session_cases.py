"""Market schedules as they are: real zones, both changes of the clock, lunch, nights, holidays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from barstream.market.session import SessionRow
from tests.offline_rollups import Session

SECOND = 1_000_000
MINUTE = 60 * SECOND
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Market:
    """Hours of a market on its own clock; minutes from midnight of the trading date.

    A session that opens on the evening before has a negative opening.  ``half`` is when its last
    session ends on a half day.
    """

    zone: str
    hours: tuple[tuple[int, int], ...]
    half: int | None = None
    weekend: frozenset[int] = frozenset({5, 6})


def _at(hour: int, minute: int = 0) -> int:
    return hour * 60 + minute


STOCKS = Market("America/New_York", ((_at(9, 30), _at(16)),), half=_at(13))
LUNCH = Market("Asia/Tokyo", ((_at(9), _at(11, 30)), (_at(12, 30), _at(15, 30))))
ODD_MINUTE = Market("Europe/London", ((_at(8, 1), _at(16, 29)),), half=_at(12, 31))
NIGHT = Market("America/Chicago", ((_at(-7), _at(8, 30)), (_at(8, 30), _at(15, 15))), half=_at(12))
FX = Market("America/New_York", ((_at(-7), _at(17)),))
SOUTH = Market("Australia/Sydney", ((_at(-6, 50), _at(7)), (_at(9, 50), _at(16, 10))))
NO_CLOCK_CHANGE = Market("Asia/Kolkata", ((_at(9, 15), _at(15, 30)),))
WEEKEND_FRIDAY = Market("Asia/Riyadh", ((_at(10), _at(15)),), weekend=frozenset({4, 5}))
#: Open while the clock is changed, also at weekends; sessions touch.
EVERY_NIGHT = Market("Europe/London", ((_at(-2), _at(3)), (_at(3), _at(22))), weekend=frozenset())
MARKETS = (
    STOCKS, LUNCH, ODD_MINUTE, NIGHT, FX, SOUTH, NO_CLOCK_CHANGE, WEEKEND_FRIDAY, EVERY_NIGHT,
)  # fmt: skip

#: First trading dates whose following days hold a change of some market's clock or of the year.
STARTS = (
    date(2024, 3, 7),  # New York and Chicago go forward on 10 March
    date(2024, 10, 30),  # and back on 3 November: the end of a month as well
    date(2024, 3, 27),  # London goes forward on 31 March
    date(2024, 10, 24),  # and back on 27 October
    date(2024, 10, 3),  # Sydney goes forward on 6 October
    date(2024, 4, 4),  # and back on 7 April
    date(2024, 2, 27),  # a leap day
    date(2024, 12, 27),  # a year ends
    date(2024, 5, 29),
)


def instant_us(market: Market, day: date, minute: int) -> int:
    """UTC microseconds of a minute of the local clock, counted from midnight of ``day``."""
    # by the wall clock, as opening hours are: what lies between may be 23 or 25 hours
    local = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
    aware = local.replace(tzinfo=ZoneInfo(market.zone)).astimezone(UTC)
    return round(aware.timestamp()) * SECOND


def sessions_of(market: Market, day: date, *, half: bool = False) -> list[tuple[int, int]]:
    """[open, close) of the sessions of a trading date, UTC microseconds."""
    hours = list(market.hours)
    if half and market.half is not None:
        hours[-1] = (hours[-1][0], market.half)
    return [(instant_us(market, day, a), instant_us(market, day, b)) for a, b in hours]


@st.composite
def schedules(draw: st.DrawFn) -> list[Session]:
    """Sessions of one market from one of `STARTS` on, at most about 5,000 minutes in all.

    Now and then a holiday, a half day, an open or a close inside a minute; where that would be
    too many minutes, sessions are cut at the end, so that weeks and months stay small.
    """
    market = draw(st.sampled_from(MARKETS))
    first = draw(st.sampled_from(STARTS))
    length = draw(st.sampled_from([3, 8, 14, 35]))
    days = [first + timedelta(days=step) for step in range(length)]
    days = [day for day in days if day.weekday() not in market.weekend]
    holidays = draw(st.sets(st.sampled_from(days), max_size=3)) if len(days) > 3 else set()
    half_days = draw(st.sets(st.sampled_from(days), max_size=2))
    days = [day for day in days if day not in holidays]
    most_minutes = draw(st.sampled_from([600, 600, 600, 5_000]))
    longest = max(1, most_minutes // (len(days) * len(market.hours)))
    open_cut = draw(st.sampled_from([0, 0, 20, 59])) * SECOND
    close_cut = draw(st.sampled_from([0, 0, 30])) * SECOND
    found: list[Session] = []
    for day in days:
        for number, (open_us, close_us) in enumerate(
            sessions_of(market, day, half=day in half_days)
        ):
            kept_us = min(close_us - open_us, longest * MINUTE)
            found.append(
                ((day - EPOCH).days, number, open_us + open_cut, open_us + kept_us - close_cut)
            )
    return [session for session in found if session[2] < session[3]]


def rows_of(symbol: str, sessions: list[Session]) -> list[SessionRow]:
    """The rows of a market schedule that say so, of broker B."""
    return [SessionRow("B", symbol, *session) for session in sessions]
