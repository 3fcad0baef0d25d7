"""Hours of CME Globex: the maintenance hour, and the days on which a family closes early."""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from barstream.market.calendar import calendar_rows
from barstream.market.cme_calendar import FAMILIES
from barstream.market.schedule import find_conflicts
from barstream.model.time import MINUTE_US, days_from_iso_date, iso_date_from_days

CHICAGO = ZoneInfo("America/Chicago")
REGULAR = "16:00"


def closes(name: str, day: str) -> str | None:
    """When the trading date closes in Chicago; None: it has no session."""
    on = date.fromisoformat(day)
    rows = calendar_rows(name, "b", ["s"], date(on.year, 1, 1), date(on.year, 12, 31))
    of_day = [row for row in rows if row.trading_date == days_from_iso_date(day)]
    if not of_day:
        return None
    (row,) = of_day
    opened = datetime.fromtimestamp(row.open_us / 1e6, CHICAGO)
    closed = datetime.fromtimestamp(row.close_us / 1e6, CHICAGO)
    assert (opened.date().toordinal(), f"{opened:%H:%M}") == (on.toordinal() - 1, "17:00")
    assert closed.date() == on
    return f"{closed:%H:%M}"


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_in_session_in_the_maintenance_hour(name: str) -> None:
    """Mon 17:00 ──── Tue 16:00 · (one hour) · Tue 17:00 ──── Wed 16:00, summer and winter"""
    rows = calendar_rows(name.lower(), "b", ["s"], date(2024, 1, 1), date(2026, 12, 31))

    assert not find_conflicts(rows)
    assert len(rows) > 3 * 250
    assert min(after.open_us - before.close_us for before, after in pairwise(rows)) == (
        60 * MINUTE_US
    )


@pytest.mark.parametrize(
    ("day", "equity", "rates", "currencies", "commodities"),
    [
        pytest.param("2024-01-01", None, None, None, None, id="new year"),
        pytest.param("2024-01-15", "12:00", "12:00", REGULAR, "13:30", id="Martin Luther King"),
        pytest.param("2025-02-17", "12:00", "12:00", REGULAR, "13:30", id="presidents' day"),
        pytest.param("2024-03-29", None, None, None, None, id="Good Friday"),
        pytest.param("2026-04-03", "08:15", "10:15", "10:15", None, id="report on Good Friday"),
        pytest.param("2025-05-26", "12:00", "12:00", REGULAR, "13:30", id="memorial day"),
        pytest.param("2024-06-19", "12:00", "12:00", REGULAR, "13:30", id="Juneteenth"),
        pytest.param("2024-07-03", "12:15", REGULAR, REGULAR, REGULAR, id="third of July"),
        pytest.param("2024-07-04", "12:00", "12:00", REGULAR, "13:30", id="fourth of July"),
        pytest.param("2026-07-02", REGULAR, REGULAR, REGULAR, REGULAR, id="before a Friday off"),
        pytest.param("2026-07-03", "12:00", "12:00", REGULAR, "13:30", id="fourth on a Saturday"),
        pytest.param("2025-09-01", "12:00", "12:00", REGULAR, "13:30", id="labor day"),
        pytest.param("2024-11-28", "12:00", "12:00", REGULAR, "13:30", id="thanksgiving"),
        pytest.param("2024-11-29", "12:15", "12:15", "12:15", "12:45", id="the day after"),
        pytest.param("2024-12-24", "12:15", "12:15", "12:15", "12:45", id="Christmas Eve"),
        pytest.param("2024-12-25", None, None, None, None, id="Christmas"),
        pytest.param("2024-12-26", REGULAR, REGULAR, REGULAR, REGULAR, id="after Christmas"),
        pytest.param("2024-12-31", REGULAR, REGULAR, REGULAR, REGULAR, id="new year's eve"),
        pytest.param("2025-01-09", "08:30", REGULAR, REGULAR, REGULAR, id="mourning"),
        pytest.param("2024-03-10", None, None, None, None, id="a Sunday"),
        pytest.param("2024-03-11", REGULAR, REGULAR, REGULAR, REGULAR, id="clocks changed"),
    ],
)
def test_known_days_close_when_the_exchange_did(
    day: str,
    equity: str | None,
    rates: str | None,
    currencies: str | None,
    commodities: str | None,
) -> None:
    names = ("CME_EQUITY", "CME_RATES", "CME_FX", "CME_ENERGY_METALS")

    assert [closes(name, day) for name in names] == [equity, rates, currencies, commodities]


def test_a_day_alone_has_the_hours_it_has_among_others() -> None:
    """Holidays are worked out for the dates asked for: that must not depend on their range."""
    year = calendar_rows("CME_EQUITY", "b", ["s"], date(2026, 1, 1), date(2026, 12, 31))
    short = [row for row in year if row.close_us - row.open_us != 23 * 60 * MINUTE_US]

    assert len(short) == 10
    for row in short:
        day = date.fromisoformat(iso_date_from_days(row.trading_date))
        assert calendar_rows("CME_EQUITY", "b", ["s"], day, day) == [row]
