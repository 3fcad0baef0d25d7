"""Sessions of the products of CME Globex, with the daily maintenance hour.

``exchange_calendars`` has one calendar for all of CME (``CMES``): open around the clock, so that
the hour in which nothing trades, 16:00 to 17:00 in Chicago, would be sixty synthetic bars a day.
Here a trading date opens at 17:00 of the day before and closes at 16:00, or earlier on the days
of the tables below.  The rules of the holidays are those of ``exchange_calendars``.

The hours are those of the exchange's own calendar, cmegroup.com/trading-hours.html, since 2022;
before, equity indices paused at 15:15 and commodities closed earlier on holidays.  A holiday on
which a family trades is a trading date of its own, as in ``CMES``; the exchange counts its
trades for the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum, auto
from typing import Final
from zoneinfo import ZoneInfo

from barstream.model.time import days_from_iso_date, us_from_datetime

KNOWN_FROM: Final = date(2022, 1, 1)

_CHICAGO: Final = ZoneInfo("America/Chicago")
_OPENS: Final = time(17)
_CLOSES: Final = time(16)
_SATURDAY: Final = 5
_FRIDAY: Final = 4
_DAYS_OF_A_WEEK: Final = 7


class Holiday(Enum):
    """A day on which some family of products closes early, or does not trade."""

    NEW_YEAR = auto()
    MARTIN_LUTHER_KING = auto()
    PRESIDENTS_DAY = auto()
    GOOD_FRIDAY = auto()
    #: A Good Friday that is the first Friday of its month: the employment report comes out.
    REPORT_ON_GOOD_FRIDAY = auto()
    MEMORIAL_DAY = auto()
    JUNETEENTH = auto()
    EVE_OF_INDEPENDENCE_DAY = auto()
    INDEPENDENCE_DAY = auto()
    LABOR_DAY = auto()
    THANKSGIVING = auto()
    DAY_AFTER_THANKSGIVING = auto()
    CHRISTMAS_EVE = auto()
    CHRISTMAS = auto()
    MOURNING = auto()


_SHORT_DAYS: Final = (
    Holiday.MARTIN_LUTHER_KING,
    Holiday.PRESIDENTS_DAY,
    Holiday.MEMORIAL_DAY,
    Holiday.JUNETEENTH,
    Holiday.INDEPENDENCE_DAY,
    Holiday.LABOR_DAY,
    Holiday.THANKSGIVING,
)
_CLOSED: Final[Mapping[Holiday, time | None]] = {
    Holiday.NEW_YEAR: None,
    Holiday.GOOD_FRIDAY: None,
    Holiday.CHRISTMAS: None,
}


@dataclass(frozen=True, slots=True)
class Family:
    """Products that keep the same hours.

    Attributes:
        name: what ``--calendar`` calls it.
        products: for messages.
        closes: when it closes on holidays, Chicago time; None: it does not trade.
    """

    name: str
    products: str
    closes: Mapping[Holiday, time | None]


FAMILIES: Final = {
    family.name: family
    for family in (
        Family(
            "CME_EQUITY",
            "equity indices (ES, NQ, RTY, YM)",
            {
                **_CLOSED,
                **dict.fromkeys(_SHORT_DAYS, time(12)),
                Holiday.REPORT_ON_GOOD_FRIDAY: time(8, 15),
                Holiday.EVE_OF_INDEPENDENCE_DAY: time(12, 15),
                Holiday.DAY_AFTER_THANKSGIVING: time(12, 15),
                Holiday.CHRISTMAS_EVE: time(12, 15),
                Holiday.MOURNING: time(8, 30),
            },
        ),
        Family(
            "CME_RATES",
            "interest rates (SR3, ZT, ZN, ZB)",
            {
                **_CLOSED,
                **dict.fromkeys(_SHORT_DAYS, time(12)),
                Holiday.REPORT_ON_GOOD_FRIDAY: time(10, 15),
                Holiday.DAY_AFTER_THANKSGIVING: time(12, 15),
                Holiday.CHRISTMAS_EVE: time(12, 15),
            },
        ),
        Family(
            "CME_FX",
            "currencies (6E, 6J, 6B)",
            {
                **_CLOSED,
                Holiday.REPORT_ON_GOOD_FRIDAY: time(10, 15),
                Holiday.DAY_AFTER_THANKSGIVING: time(12, 15),
                Holiday.CHRISTMAS_EVE: time(12, 15),
            },
        ),
        Family(
            "CME_ENERGY_METALS",
            "NYMEX and COMEX (CL, NG, GC, SI)",
            {
                **_CLOSED,
                **dict.fromkeys(_SHORT_DAYS, time(13, 30)),
                Holiday.REPORT_ON_GOOD_FRIDAY: None,
                Holiday.DAY_AFTER_THANKSGIVING: time(12, 45),
                Holiday.CHRISTMAS_EVE: time(12, 45),
            },
        ),
    )
}


def family_hours(family: Family, first: date, last: date) -> Iterator[tuple[int, int, int, int]]:
    """Trading date, session number 0, open and close of the trading dates first to last."""
    holidays = _holidays(first, last)
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        day = date.fromordinal(ordinal)
        if day.weekday() >= _SATURDAY:
            continue
        holiday = holidays.get(day)
        closes = _CLOSES if holiday is None else family.closes.get(holiday, _CLOSES)
        if closes is None:
            continue
        opened = datetime.combine(day - timedelta(days=1), _OPENS, _CHICAGO)
        closed = datetime.combine(day, closes, _CHICAGO)
        days = days_from_iso_date(day.isoformat())
        yield days, 0, us_from_datetime(opened), us_from_datetime(closed)


def _holidays(first: date, last: date) -> dict[date, Holiday]:
    # They bring pandas with them: only who asks for a calendar waits for that.
    from exchange_calendars import us_holidays as us
    from pandas import Timestamp
    from pandas.tseries.holiday import GoodFriday, USLaborDay

    rules = {
        Holiday.NEW_YEAR: us.USNewYearsDay,
        Holiday.MARTIN_LUTHER_KING: us.USMartinLutherKingJrAfter1998,
        Holiday.PRESIDENTS_DAY: us.USPresidentsDay,
        Holiday.GOOD_FRIDAY: GoodFriday,
        Holiday.MEMORIAL_DAY: us.USMemorialDay,
        Holiday.JUNETEENTH: us.USJuneteenth,
        Holiday.INDEPENDENCE_DAY: us.USIndependenceDay,
        Holiday.LABOR_DAY: USLaborDay,
        Holiday.THANKSGIVING: us.USThanksgivingDay,
        Holiday.DAY_AFTER_THANKSGIVING: us.USBlackFridayInOrAfter1993,
        Holiday.CHRISTMAS_EVE: us.ChristmasEveInOrAfter1993,
        Holiday.CHRISTMAS: us.Christmas,
    }
    found = {day.date(): Holiday.MOURNING for day in us.USNationalDaysofMourning}
    for holiday, rule in rules.items():
        found |= {day.date(): holiday for day in rule.dates(Timestamp(first), Timestamp(last))}
    for day, holiday in found.items():
        if holiday is Holiday.GOOD_FRIDAY and day.day <= _DAYS_OF_A_WEEK:
            found[day] = Holiday.REPORT_ON_GOOD_FRIDAY
    for year in range(first.year, last.year + 1):
        # Where the fourth is a Saturday, the third is the holiday itself.
        if (eve := date(year, 7, 3)).weekday() < _FRIDAY:
            found[eve] = Holiday.EVE_OF_INDEPENDENCE_DAY
    return found
