"""Rows from real calendars: clock changes, holidays, half days, lunch breaks, the FX week."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest

from barstream.market.calendar import (
    CalendarError,
    calendar_rows,
    dates_within,
    reach_of,
    warning_of,
)
from barstream.market.schedule import SessionRow, find_conflicts
from barstream.model.time import DAY_US, iso_date_from_days, iso_from_us


def shown(rows: list[SessionRow]) -> list[tuple[str, int, str, str]]:
    return [
        (
            iso_date_from_days(row.trading_date),
            row.session,
            iso_from_us(row.open_us),
            iso_from_us(row.close_us),
        )
        for row in rows
    ]


def one(name: str, first: date, last: date) -> list[tuple[str, int, str, str]]:
    return shown(calendar_rows(name, "broker", ["symbol"], first, last))


def test_new_york_opens_an_hour_earlier_in_utc_after_the_clocks_go_forward() -> None:
    assert one("XNYS", date(2024, 3, 8), date(2024, 3, 11)) == [
        ("2024-03-08", 0, "2024-03-08T14:30:00Z", "2024-03-08T21:00:00Z"),
        ("2024-03-11", 0, "2024-03-11T13:30:00Z", "2024-03-11T20:00:00Z"),
    ]


def test_new_york_opens_an_hour_later_in_utc_after_the_clocks_go_back() -> None:
    assert one("XNYS", date(2024, 11, 1), date(2024, 11, 4)) == [
        ("2024-11-01", 0, "2024-11-01T13:30:00Z", "2024-11-01T20:00:00Z"),
        ("2024-11-04", 0, "2024-11-04T14:30:00Z", "2024-11-04T21:00:00Z"),
    ]


def test_a_half_day_closes_early_and_a_holiday_has_no_row() -> None:
    assert one("xnys", date(2024, 7, 3), date(2024, 7, 5)) == [
        ("2024-07-03", 0, "2024-07-03T13:30:00Z", "2024-07-03T17:00:00Z"),
        ("2024-07-05", 0, "2024-07-05T13:30:00Z", "2024-07-05T20:00:00Z"),
    ]


def test_a_lunch_break_makes_two_sessions_and_a_half_day_one() -> None:
    # The eve of the lunar new year has no afternoon.
    assert one("XHKG", date(2024, 2, 8), date(2024, 2, 9)) == [
        ("2024-02-08", 0, "2024-02-08T01:30:00Z", "2024-02-08T04:00:00Z"),
        ("2024-02-08", 1, "2024-02-08T05:00:00Z", "2024-02-08T08:00:00Z"),
        ("2024-02-09", 0, "2024-02-09T01:30:00Z", "2024-02-09T04:00:00Z"),
    ]


def test_the_fx_week_runs_from_sunday_to_friday_at_five_in_new_york() -> None:
    # Sun 17:00 ─ Mon ─ Tue ─ Wed ─ Thu ─ Fri 17:00, winter: 22:00 UTC
    week = one("FX", date(2024, 1, 7), date(2024, 1, 14))

    assert [day for day, *_ in week] == [f"2024-01-{day:02}" for day in range(8, 13)]
    assert week[0][2] == "2024-01-07T22:00:00Z"
    assert week[-1][3] == "2024-01-12T22:00:00Z"
    assert all(before[3] == after[2] for before, after in pairwise(week))


@pytest.mark.parametrize(
    ("monday", "friday_close", "sunday_open"),
    [
        pytest.param(
            date(2024, 3, 11), "2024-03-08T22:00:00Z", "2024-03-10T21:00:00Z", id="forward"
        ),
        pytest.param(date(2024, 11, 4), "2024-11-01T21:00:00Z", "2024-11-03T22:00:00Z", id="back"),
    ],
)
def test_the_fx_week_keeps_new_york_time_through_clock_changes(
    monday: date, friday_close: str, sunday_open: str
) -> None:
    friday, next_day = one("FX", date.fromordinal(monday.toordinal() - 3), monday)

    assert friday[3] == friday_close
    assert next_day[2] == sunday_open


def test_24x7_is_every_utc_day() -> None:
    rows = calendar_rows("24x7", "b", ["s"], date(2024, 2, 28), date(2024, 3, 1))

    assert [iso_date_from_days(row.trading_date) for row in rows] == [
        "2024-02-28",
        "2024-02-29",
        "2024-03-01",
    ]
    assert all(row.open_us == row.trading_date * DAY_US for row in rows)
    assert all(row.close_us == row.open_us + DAY_US for row in rows)


@pytest.mark.parametrize("name", ["FX", "24x7", "XNYS", "XHKG", "XTKS", "XLON", "CMES"])
def test_years_of_a_calendar_hold_together(name: str) -> None:
    rows = calendar_rows(name, "b", ["s"], date(2019, 1, 1), date(2025, 12, 31))

    assert len(rows) > 1500
    assert not find_conflicts(rows)


def test_every_symbol_gets_the_rows_in_its_one_spelling() -> None:
    rows = calendar_rows("FX", " oanda", ["eurusd", "USDJPY "], date(2024, 1, 8), date(2024, 1, 8))

    assert [(row.broker, row.symbol) for row in rows] == [("OANDA", "EURUSD"), ("OANDA", "USDJPY")]


def test_an_unknown_calendar_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(CalendarError, match="XNYS"):
        one("XNYX", date(2024, 1, 1), date(2024, 1, 31))


def test_dates_without_a_session_are_refused() -> None:
    with pytest.raises(CalendarError, match="no session from 2024-01-06"):
        one("XNYS", date(2024, 1, 6), date(2024, 1, 7))


def test_dates_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(CalendarError, match="must not be before"):
        one("FX", date(2024, 1, 7), date(2024, 1, 6))


def test_the_default_dates_end_where_the_calendar_does_and_it_is_said() -> None:
    first, last, notes = dates_within("XSHG", date(2026, 11, 29))

    assert (first, last) == (date(2025, 10, 25), date(2026, 12, 31))
    assert len(notes) == 1
    assert "known until 2026-12-31" in notes[0]
    assert calendar_rows("XSHG", "b", ["s"], first, last)


def test_the_default_dates_begin_where_the_calendar_does() -> None:
    assert dates_within("CME_FX", date(2022, 6, 1))[0] == date(2022, 1, 1)
    assert "known from 2022-01-01" in dates_within("CME_FX", date(2022, 6, 1))[2][0]


def test_dates_that_are_asked_for_are_not_cut_but_refused() -> None:
    asked = date(1990, 1, 1), date(2027, 6, 30)

    assert dates_within("XSHG", date(2026, 11, 29), *asked) == (*asked, [])
    with pytest.raises(CalendarError, match="known from 1990-12-03 to 2026-12-31"):
        one("XSHG", *asked)
    with pytest.raises(CalendarError, match="known from 1990-12-03 to 2026-12-31"):
        one("XSHG", date(2027, 6, 1), date(2026, 12, 31))


@pytest.mark.parametrize("name", ["FX", "24x7", "XNYS", "24/7"])
@pytest.mark.parametrize("day", [date(1, 1, 1), date(1970, 1, 1), date(9999, 12, 31)])
def test_no_calendar_has_dates_that_no_bar_can_have(name: str, day: date) -> None:
    with pytest.raises(CalendarError, match="is known from 1970-01-02 to 2100-12-31"):
        one(name, day, day)


def test_whatever_the_library_raises_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """On pandas 3.1 ASEX raised NotImplementedError, and that was all the user saw."""
    import exchange_calendars

    def fails(*_args: object, **_options: object) -> None:
        raise NotImplementedError("implemented by subclasses")

    reach_of("ASEX")
    monkeypatch.setattr(exchange_calendars, "get_calendar", fails)

    with pytest.raises(CalendarError, match="calendar ASEX cannot be worked out") as found:
        one("ASEX", date(2024, 1, 1), date(2024, 1, 31))
    assert "subclasses" not in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["CME", "cmes", "NYMEX", "us_futures"])
def test_a_calendar_without_the_maintenance_hour_names_those_that_have_it(name: str) -> None:
    warning = warning_of(name)

    assert warning is not None
    assert "CME_EQUITY" in warning


@pytest.mark.parametrize("name", ["CME_EQUITY", "FX", "24x7", "XNYS", "24/5"])
def test_no_other_calendar_is_warned_about(name: str) -> None:
    assert warning_of(name) is None
