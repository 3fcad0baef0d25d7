"""The demo's hours: live whatever day it is, with a weekend behind."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest

from barstream.demo.venue import LISTINGS, PAST_DATES, sessions
from barstream.market.schedule import ScheduleIndex, find_conflicts
from barstream.model.time import DAY_US, MINUTE_US, days_from_iso_date, us_from_datetime

WEEK = [date(2026, 11, 23) + timedelta(days=day) for day in range(7)]  # from a Monday
TIMES = ["00:00", "00:01", "12:00", "21:59", "22:00", "22:01", "23:59"]
PAUSING = LISTINGS[0]
ALWAYS = next(listing for listing in LISTINGS if listing.around_the_clock)


def instant(day: date, time: str) -> int:
    return us_from_datetime(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=UTC))


every_start = pytest.mark.parametrize(
    "now_us", [instant(day, time) for day in WEEK for time in TIMES]
)


@every_start
def test_every_series_trades_now_and_in_every_minute_of_the_month_ahead(now_us: int) -> None:
    """A demo whose market is closed, or closes while it is watched, shows nothing live."""
    index = ScheduleIndex.build([row for each in LISTINGS for row in sessions(each, now_us)])
    for listing in LISTINGS:
        schedule = index.for_series("SIM", listing.symbol)
        assert schedule is not None
        row_now = next(r for r in sessions(listing, now_us) if r.open_us <= now_us < r.close_us)
        ahead = [row for row in sessions(listing, now_us) if row.open_us >= row_now.open_us]
        for earlier, later in itertools.pairwise(ahead):
            assert later.open_us == earlier.close_us
        assert ahead[-1].close_us > now_us + 29 * DAY_US


@every_start
def test_there_are_so_many_trading_dates_with_a_weekend_between_them(now_us: int) -> None:
    """
    ::

        ... Thu Fri         Mon Tue ...
            x x x x  - -  x x x x         at least a day without a session, for all but one
    """
    rows = [row for row in sessions(PAUSING, now_us) if row.open_us <= now_us]
    assert len(rows) == PAST_DATES
    gaps_us = [later.open_us - row.close_us for row, later in itertools.pairwise(rows)]
    assert max(gaps_us) == 2 * DAY_US
    assert set(gaps_us) <= {0, DAY_US, 2 * DAY_US}
    for row in rows[:-1]:  # the last one runs, so it may be on a weekend
        assert date.fromordinal(row.trading_date + date(1970, 1, 1).toordinal()).weekday() < 5
    always = [row for row in sessions(ALWAYS, now_us) if row.open_us <= now_us]
    assert all(b.open_us == a.close_us for a, b in itertools.pairwise(always))
    assert always[0].trading_date == rows[0].trading_date


@pytest.mark.parametrize(
    ("day", "time", "pausing", "always"),
    [
        ("2026-11-27", "21:59", "2026-11-27", "2026-11-27"),  # a Friday
        ("2026-11-27", "22:00", "2026-11-28", "2026-11-27"),
        ("2026-11-28", "12:00", "2026-11-28", "2026-11-28"),
        ("2026-11-29", "23:59", "2026-11-30", "2026-11-29"),
        ("2026-11-30", "00:00", "2026-11-30", "2026-11-30"),
    ],
)
def test_a_trading_date_begins_at_22_utc_of_the_evening_before(
    day: str, time: str, pausing: str, always: str
) -> None:
    now_us = instant(date.fromisoformat(day), time)
    assert PAUSING.trading_date(now_us) == days_from_iso_date(pausing)
    assert ALWAYS.trading_date(now_us) == days_from_iso_date(always)
    for listing in (PAUSING, ALWAYS):
        [row] = [r for r in sessions(listing, now_us) if r.open_us <= now_us < r.close_us]
        assert row.trading_date == listing.trading_date(now_us)
        assert row.close_us - row.open_us == DAY_US
        assert row.open_us % MINUTE_US == 0


@every_start
def test_the_sessions_can_be_loaded(now_us: int) -> None:
    for listing in LISTINGS:
        assert not list(find_conflicts(sessions(listing, now_us)))
