"""Every exchange calendar there is: what is known of its days, and what any of them must keep.

On a pandas that exchange_calendars does not fit, calendars lose sessions without a word; this is
what says whether the upper bound of pandas in pyproject.toml can be raised.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import pytest

from barstream.market.calendar import calendar_rows, reach_of
from barstream.market.schedule import SessionRow, find_conflicts
from barstream.model.time import (
    MINUTE_US,
    days_from_iso_date,
    iso_date_from_days,
    iso_from_us,
)

#: Trading dates and minutes in session of 2024, 2025 and 2026.  pandas 2.3.3 and 3.0.6 agree on
#: them; 2024 and 2025 are history, 2026 may change with what an exchange announces.
YEARS: Final = """
24/5       262 377280  261 375840  261 375840
24/7       366 527040  365 525600  365 525600
AIXK       248  89280  245  88200  246  88560
ASEX       248 109120  248 109120  248 109120
BVMF       251 120300  250 119820  247 118380
CMES       259 370560  257 367680  258 369120
IEPA       259 340080  257 337440  258 338760
XAMS       256 130150  255 129640  256 130150
XASX       254  91220  253  90860  254  91220
XBDA       252 113250  251 112800  251 112800
XBEL       251  67770  248  66960  252  68040
XBKK       243  94770  242  94380  242  94380
XBOG       245  95550  244  95160  242  94380
XBOM       246  92250  248  93000  245  91875
XBRA       250  67500  248  66960  250  67500
XBRU       256 130150  255 129640  256 130150
XBSE       252 117180  250 116250  252 117180
XBUD       247 118560  248 119040  249 119520
XBUE       248  88800  245  87720  246  88080
XCBF       252 101880  250 101070  251 101475
XCSE       250 120000  249 119520  250 120000
XCYS       246  95940  245  95550  245  95550
XDUB       255 129060  254 128552  254 128552
XDUS       254 212880  253 212040  254 212880
XEEE       254 152400  253 151800  254 152400
XETR       254 129330  253 128820  254 129330
XEUR       254 213360  253 212520  254 213360
XFRA       254 129330  253 128820  254 129330
XHAM       254 212880  253 212040  254 212880
XHEL       251 128010  250 127500  251 128010
XHKG       246  80640  246  80640  247  80970
XICE       248  89280  247  88920  248  89280
XIDX       237  97170  237  97170  252 103320
XIST       250 119340  251 119820  251 119490
XJSE       251 120480  250 120000  251 120480
XKAR       246  88068  250  89500  254  90932
XKLS       247 118020  245 117330  247 118020
XKRX       244  95100  242  94320  246  95880
XLIM       249 104580  249 104580  248 104160
XLIS       256 130150  255 129640  256 130150
XLIT       249  89640  250  90000  249  89640
XLJU       247  88920  248  89280  251  90360
XLON       254 129060  253 128550  253 128550
XLUX       256 132690  255 132170  256 132690
XMAD       256 130140  255 129630  256 130140
XMEX       252  98280  251  97890  251  97890
XMIL       253 129030  252 128520  254 129540
XMOS       256 134400  251 131775  251 131775
XNYS       252  97740  250  96960  251  97530
XNZE       251 101175  250 100770  250 100770
XOSL       250 109800  250 109800  251 110240
XPAR       256 130150  255 129640  256 130150
XPHS       246  88560  243  87480  244  87840
XPRA       251 110440  250 110000  249 109560
XRIS       249  89640  247  88920  250  90000
XSAU       246  73800  251  75300  249  74700
XSES       252 120960  252 120960  251 120480
XSGO       248 100860  248 100800  250 101580
XSHG       242  58080  243  58320  242  58080
XSTO       251 126660  249 125910  251 126660
XSTU       254 220980  253 220110  254 220980
XSWX       250 127500  249 126990  251 128010
XTAE       246 101701  246 101436  246  96856
XTAI       243  65610  243  65610  243  65610
XTAL       252  90720  249  89640  250  90000
XTKS       245  74700  243  80190  242  79860
XTSE       252  98100  251  97710  251  97710
XWAR       249 119520  249 119520  251 120480
XWBO       254 129345  253 128835  253 128835
XZAG       248 104160  247 103740  249 104580
us_futures 259 372960  258 371520  258 371520
"""
COUNTS: Final = {
    name: list(zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True))
    for name, *numbers in map(str.split, YEARS.strip().splitlines())
}

HOLIDAYS: Final = {
    "XNYS": """2024-01-01 2024-01-15 2024-02-19 2024-03-29 2024-05-27 2024-06-19 2024-07-04
        2024-09-02 2024-11-28 2024-12-25 2025-01-01 2025-01-09 2025-01-20 2025-02-17 2025-04-18
        2025-05-26 2025-06-19 2025-07-04 2025-09-01 2025-11-27 2025-12-25 2026-01-01 2026-01-19
        2026-02-16 2026-04-03 2026-05-25 2026-06-19 2026-07-03 2026-09-07 2026-11-26
        2026-12-25""",
    "XLON": """2024-01-01 2024-03-29 2024-04-01 2024-05-06 2024-05-27 2024-08-26 2024-12-25
        2024-12-26 2025-01-01 2025-04-18 2025-04-21 2025-05-05 2025-05-26 2025-08-25 2025-12-25
        2025-12-26 2026-01-01 2026-04-03 2026-04-06 2026-05-04 2026-05-25 2026-08-31 2026-12-25
        2026-12-28""",
    "XETR": """2024-01-01 2024-03-29 2024-04-01 2024-05-01 2024-12-24 2024-12-25 2024-12-26
        2024-12-31 2025-01-01 2025-04-18 2025-04-21 2025-05-01 2025-12-24 2025-12-25 2025-12-26
        2025-12-31 2026-01-01 2026-04-03 2026-04-06 2026-05-01 2026-12-24 2026-12-25
        2026-12-31""",
}

SESSIONS: Final = [
    # Saturdays on which the market was open
    ("XBOM", "2024-01-20", [("03:45", "10:00")]),
    ("XBOM", "2025-02-01", [("03:45", "10:00")]),
    ("XMOS", "2024-04-27", [("07:00", "15:45")]),
    # half days
    ("XNYS", "2024-11-29", [("14:30", "18:00")]),
    ("XNYS", "2025-07-03", [("13:30", "17:00")]),
    ("XNYS", "2026-12-24", [("14:30", "18:00")]),
    ("XLON", "2024-12-24", [("08:00", "12:30")]),
    ("XTSE", "2024-12-24", [("14:30", "18:00")]),
    # lunch, and none on the eve of the lunar new year
    ("XTKS", "2024-11-01", [("00:00", "02:30"), ("03:30", "06:00")]),
    ("XTKS", "2024-11-05", [("00:00", "02:30"), ("03:30", "06:30")]),
    ("XSHG", "2024-02-08", [("01:30", "03:30"), ("05:00", "07:00")]),
    ("XHKG", "2025-01-27", [("01:30", "04:00"), ("05:00", "08:00")]),
    ("XHKG", "2025-01-28", [("01:30", "04:00")]),
    # the day before and after the clocks change
    ("XLON", "2024-03-28", [("08:00", "16:30")]),
    ("XLON", "2024-04-02", [("07:00", "15:30")]),
    ("XLON", "2025-10-24", [("07:00", "15:30")]),
    ("XLON", "2025-10-27", [("08:00", "16:30")]),
    ("XNYS", "2026-03-06", [("14:30", "21:00")]),
    ("XNYS", "2026-03-09", [("13:30", "20:00")]),
    ("XASX", "2024-04-05", [("23:00", "05:00")]),
    ("XASX", "2024-04-08", [("00:00", "06:00")]),
    # a week from Sunday to Thursday became one from Monday to Friday
    ("XTAE", "2026-01-04", [("07:59", "13:40")]),
    ("XTAE", "2026-01-09", [("07:59", "11:50")]),
]

NO_SESSION: Final = [
    ("XBOM", "2024-01-22"),
    ("XBOM", "2024-01-27"),
    ("XTAE", "2026-01-11"),
    ("XTAE", "2026-01-02"),
    ("XTKS", "2024-12-31"),
    ("XSHG", "2024-10-01"),
    ("XHKG", "2025-01-29"),
]


def rows_of(name: str, first: date, last: date) -> list[SessionRow]:
    return calendar_rows(name, "b", ["s"], first, last)


def hours_on(name: str, day: str) -> list[tuple[str, str]]:
    on = date.fromisoformat(day)
    around = rows_of(name, on - timedelta(days=9), on + timedelta(days=9))
    return [
        (iso_from_us(row.open_us)[11:16], iso_from_us(row.close_us)[11:16])
        for row in around
        if row.trading_date == days_from_iso_date(day)
    ]


def test_no_calendar_is_left_out() -> None:
    import exchange_calendars

    assert set(COUNTS) == set(exchange_calendars.get_calendar_names(include_aliases=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_three_years_of_every_calendar_are_those_that_are_known(name: str) -> None:
    rows = rows_of(name, date(2024, 1, 1), date(2026, 12, 31))

    assert not find_conflicts(rows)
    years: dict[str, list[SessionRow]] = {}
    for row in rows:
        years.setdefault(iso_date_from_days(row.trading_date)[:4], []).append(row)
    assert [
        (
            len({row.trading_date for row in of_year}),
            sum(row.close_us - row.open_us for row in of_year) // MINUTE_US,
        )
        for of_year in years.values()
    ] == COUNTS[name]


@pytest.mark.parametrize("name", HOLIDAYS)
def test_the_weekdays_without_a_session_are_the_holidays(name: str) -> None:
    first, last = date(2024, 1, 1), date(2026, 12, 31)
    open_on = {row.trading_date for row in rows_of(name, first, last)}
    days = range(days_from_iso_date("2024-01-01"), days_from_iso_date("2026-12-31") + 1)
    weekdays = [day for day in days if date.fromisoformat(iso_date_from_days(day)).weekday() < 5]

    assert [iso_date_from_days(day) for day in weekdays if day not in open_on] == HOLIDAYS[
        name
    ].split()
    assert open_on <= set(weekdays)


@pytest.mark.parametrize(("name", "day", "hours"), SESSIONS)
def test_known_days_have_their_hours(name: str, day: str, hours: list[tuple[str, str]]) -> None:
    assert hours_on(name, day) == hours


@pytest.mark.parametrize(("name", "day"), NO_SESSION)
def test_known_days_have_no_session(name: str, day: str) -> None:
    assert hours_on(name, day) == []


@pytest.mark.parametrize("name", ["XSHG", "XBOM", "XSES"])
def test_a_calendar_is_read_to_the_last_day_it_knows(name: str) -> None:
    """Nothing is asked for beyond it, not even to be left out."""
    first, last = reach_of(name)

    assert rows_of(name, last.replace(day=1), last)[-1].trading_date == days_from_iso_date(
        last.isoformat()
    )
    assert rows_of(name, last, last)
    assert rows_of(name, first, first.replace(month=12, day=31))
