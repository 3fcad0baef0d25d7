"""The rules of the market schedule, one by one (spec 3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from barstream.market.schedule import (
    AlwaysOpenIndex,
    MarketScheduleProvider,
    RowsSchedule,
    ScheduleIndex,
    Session,
    SessionRow,
    UtcCalendar,
    find_conflicts,
    session_minutes,
)
from barstream.model.time import DAY_US, MINUTE_US, days_from_iso_date, us_from_iso


def row(
    open_: str,
    close: str,
    day: str = "2024-01-02",
    session: int = 0,
    symbol: str = "EURUSD",
    broker: str = "OANDA",
) -> SessionRow:
    return SessionRow(
        broker, symbol, days_from_iso_date(day), session, us_from_iso(open_), us_from_iso(close)
    )


def provider_of(*rows: SessionRow) -> MarketScheduleProvider:
    provider = MarketScheduleProvider()
    provider.swap(ScheduleIndex.build(rows))
    return provider


@pytest.mark.law("L3")
def test_open_is_in_session_and_close_is_not() -> None:
    provider = provider_of(row("2024-01-02T09:00:00", "2024-01-02T17:00:00"))
    open_us, close_us = us_from_iso("2024-01-02T09:00"), us_from_iso("2024-01-02T17:00")

    def judged(ts_us: int) -> bool:
        return provider.is_in_session("OANDA", "EURUSD", ts_us)

    assert [judged(open_us - 1), judged(open_us)] == [False, True]
    assert [judged(close_us - 1), judged(close_us)] == [True, False]


def test_an_unknown_series_is_not_in_session() -> None:
    provider = provider_of(row("2024-01-02T09:00", "2024-01-02T17:00"))
    noon_us = us_from_iso("2024-01-02T12:00")

    assert not provider.is_in_session("OANDA", "USDJPY", noon_us)
    assert not provider.is_in_session("FXCM", "EURUSD", noon_us)


def test_names_are_judged_in_their_one_spelling() -> None:
    provider = provider_of(row("2024-01-02T09:00", "2024-01-02T17:00"))

    assert provider.is_in_session(" oanda ", "eurusd", us_from_iso("2024-01-02T12:00"))


def test_a_session_may_cross_midnight() -> None:
    provider = provider_of(row("2024-01-01T22:00", "2024-01-02T22:00", "2024-01-02"))

    assert provider.is_in_session("OANDA", "EURUSD", us_from_iso("2024-01-01T23:59:59.999999"))
    assert provider.is_in_session("OANDA", "EURUSD", us_from_iso("2024-01-02T00:00"))


def test_days_that_touch_stay_two_sessions() -> None:
    # 22:00 ──── day 2 ────▶ 22:00 ──── day 3 ────▶ 22:00
    schedule = RowsSchedule(
        [
            row("2024-01-01T22:00", "2024-01-02T22:00", "2024-01-02"),
            row("2024-01-02T22:00", "2024-01-03T22:00", "2024-01-03"),
        ]
    )
    roll_us = us_from_iso("2024-01-02T22:00")

    before, after = schedule.locate(np.array([roll_us - 1, roll_us], dtype=np.int64)).tolist()

    assert schedule.session(before).trading_date == days_from_iso_date("2024-01-02")
    assert schedule.session(after).trading_date == days_from_iso_date("2024-01-03")


def test_sessions_of_one_day_keep_their_numbers() -> None:
    # 01:30 ─ 0 ─ 04:00   lunch   05:00 ─ 1 ─ 08:00
    schedule = RowsSchedule(
        [
            row("2024-01-02T05:00", "2024-01-02T08:00", session=1),
            row("2024-01-02T01:30", "2024-01-02T04:00", session=0),
            row("2024-01-03T01:30", "2024-01-03T04:00", "2024-01-03", session=0),
        ]
    )
    sessions = list(schedule.sessions_between(0, us_from_iso("2030-01-01")))

    days = [days_from_iso_date(day) for day in ("2024-01-02", "2024-01-02", "2024-01-03")]
    assert [(s.number, s.trading_date) for s in sessions] == list(zip((0, 1, 0), days, strict=True))


def test_partial_minutes_at_both_ends_are_minutes_of_the_session() -> None:
    schedule = RowsSchedule([row("2024-01-02T09:00:30", "2024-01-02T09:02:00.000001")])
    (session,) = schedule.sessions_between(0, us_from_iso("2030-01-01"))
    nine_us = us_from_iso("2024-01-02T09:00")

    assert list(session_minutes(session)) == [nine_us, nine_us + MINUTE_US, nine_us + 2 * MINUTE_US]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        pytest.param(
            row("2024-01-02T09:00", "2024-01-02T12:00"),
            row("2024-01-02T11:59:59", "2024-01-02T17:00", session=1),
            "overlap",
            id="overlap",
        ),
        pytest.param(
            row("2024-01-02T09:00", "2024-01-02T17:00"),
            row("2024-01-02T10:00", "2024-01-02T11:00", session=1),
            "overlap",
            id="one inside the other",
        ),
        pytest.param(
            row("2024-01-02T09:00", "2024-01-02T12:00:20"),
            row("2024-01-02T12:00:40", "2024-01-02T17:00", session=1),
            "share a minute",
            id="shared minute",
        ),
        pytest.param(
            row("2024-01-02T09:00", "2024-01-02T17:00", "2024-01-03"),
            row("2024-01-03T09:00", "2024-01-03T17:00", "2024-01-02"),
            "earlier trading date",
            id="trading date goes back",
        ),
        pytest.param(
            row("2024-01-02T09:00", "2024-01-02T12:00"),
            row("2024-01-02T13:00", "2024-01-02T17:00"),
            "twice",
            id="same number twice",
        ),
    ],
)
def test_rows_that_cannot_stand_together_are_refused_with_both_shown(
    first: SessionRow, second: SessionRow, reason: str
) -> None:
    (conflict,) = find_conflicts([second, first])

    assert reason in str(conflict)
    assert str(first) in str(conflict)
    assert str(second) in str(conflict)
    with pytest.raises(ValueError, match=reason):
        RowsSchedule([first, second])


def test_sessions_that_meet_at_a_whole_minute_share_none() -> None:
    assert not find_conflicts(
        [
            row("2024-01-02T09:00", "2024-01-02T12:00"),
            row("2024-01-02T12:00", "2024-01-02T17:00", session=1),
        ]
    )


def test_a_close_that_is_not_after_the_open_is_refused_with_a_reason() -> None:
    (conflict,) = find_conflicts([row("2024-01-02T09:00", "2024-01-02T09:00")])

    assert "close must be after open" in str(conflict)


def test_a_refused_series_keeps_its_schedule_and_the_others_go_on() -> None:
    good = row("2024-01-02T09:00", "2024-01-02T12:00")
    before = ScheduleIndex.build([good])
    overlapping = row("2024-01-02T11:00", "2024-01-02T13:00", session=1)
    other = row("2024-01-02T09:00", "2024-01-02T10:00", symbol="USDJPY")

    after = before.updated({("OANDA", "EURUSD"): [good, overlapping], ("OANDA", "USDJPY"): [other]})

    assert after.for_series("OANDA", "EURUSD") is before.for_series("OANDA", "EURUSD")
    assert after.for_series("OANDA", "USDJPY") is not None
    assert list(after.problems) == [("OANDA", "EURUSD")]
    assert after.changed == {("OANDA", "USDJPY")}
    assert not after.updated({("OANDA", "EURUSD"): [good]}).problems


def test_a_series_without_rows_leaves_the_index() -> None:
    before = ScheduleIndex.build([row("2024-01-02T09:00", "2024-01-02T12:00")])

    after = before.updated({("OANDA", "EURUSD"): []})

    assert after.for_series("OANDA", "EURUSD") is None
    assert before.for_series("OANDA", "EURUSD") is not None, "an index never changes"


def test_an_index_replacing_another_says_what_changed() -> None:
    first = ScheduleIndex.build([row("2024-01-02T09:00", "2024-01-02T12:00")], version=7)
    longer = row("2024-01-02T09:00", "2024-01-02T13:00")
    second = first.updated({("OANDA", "EURUSD"): [longer]}).updated({("OANDA", "USDJPY"): []})

    replacing = second.succeeding(first)

    assert replacing.version == 8
    assert replacing.changed == {("OANDA", "EURUSD")}


def test_a_provider_is_not_ready_before_its_first_index() -> None:
    provider = MarketScheduleProvider()
    heard: list[ScheduleIndex] = []
    provider.on_change(heard.append)
    ready = [provider.ready]

    index = ScheduleIndex.build([])
    provider.swap(index)

    assert [*ready, provider.ready] == [False, True]
    assert provider.index is index
    assert heard == [index]


def test_without_a_schedule_join_every_series_is_open_on_utc_days() -> None:
    provider = MarketScheduleProvider.always_open()
    sunday_us = us_from_iso("2024-01-07T03:00")

    assert provider.ready
    assert isinstance(provider.index, AlwaysOpenIndex)
    assert provider.is_in_session("anyone", "BTCUSD", sunday_us)
    schedule = provider.index.for_series("ANYONE", "BTCUSD")
    assert isinstance(schedule, UtcCalendar)
    (day,) = schedule.locate(np.array([sunday_us], dtype=np.int64)).tolist()
    assert schedule.session(day) == Session(day * DAY_US, (day + 1) * DAY_US, day, 0)


def test_sessions_between_is_lazy() -> None:
    sessions = UtcCalendar().sessions_between(0, 10**6 * DAY_US)

    assert next(sessions).trading_date == 0
    assert next(sessions).trading_date == 1


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        # ── day 2: 09:00 ─ 12:00 ── day 3: 09:00 ─ 12:00 ──
        ("2024-01-02T00:00", "2024-01-03T09:00", [2]),
        ("2024-01-02T00:00", "2024-01-03T09:00:00.000001", [2, 3]),
        ("2024-01-02T11:59", "2024-01-03T09:00", [2]),
        ("2024-01-02T11:59:00.000001", "2024-01-03T09:01", [3]),
        ("2024-01-02T10:00", "2024-01-02T10:00", []),
    ],
)
def test_sessions_between_hold_a_minute_start_inside_half_open_bounds(
    start: str, end: str, days: list[int]
) -> None:
    schedule = RowsSchedule(
        [
            row("2024-01-02T09:00", "2024-01-02T12:00", "2024-01-02"),
            row("2024-01-03T09:00", "2024-01-03T12:00", "2024-01-03"),
        ]
    )

    found = schedule.sessions_between(us_from_iso(start), us_from_iso(end))

    first = days_from_iso_date("2024-01-01")
    assert [session.trading_date - first + 1 for session in found] == days


def test_a_session_that_opens_within_the_close_tolerance_before_it_is_refused() -> None:
    noon_us = us_from_iso("2024-01-02T12:00")
    hour_us, tolerance_us = 60 * MINUTE_US, 90_000_000
    morning = SessionRow("B", "S", 19_724, 0, noon_us - hour_us, noon_us, tolerance_us)
    early, late = (
        SessionRow("B", "S", 19_724, 1, noon_us + tolerance_us - less_us, noon_us + hour_us)
        for less_us in (1, 0)
    )
    assert not ScheduleIndex.build([morning, late]).problems
    (conflict,) = ScheduleIndex.build([morning, early]).problems["B", "S"]
    assert "opens within the close tolerance" in str(conflict)
    assert "close_tolerance=90s" in str(conflict)


def test_hours_that_differ_in_tolerance_alone_are_others() -> None:
    open_us = us_from_iso("2024-01-02T09:00")
    close_us = open_us + 60 * MINUTE_US
    row = SessionRow("B", "S", 19_724, 0, open_us, close_us)
    before = ScheduleIndex.build([row])
    after = before.updated({("B", "S"): [replace(row, close_tolerance_us=1_000_000)]})
    assert after.changed == {("B", "S")}
    provider = MarketScheduleProvider()
    provider.swap(after)
    # a tick at the close is taken, and still the session is over
    assert not provider.is_in_session("B", "S", close_us)
    assert provider.is_in_session("B", "S", close_us - 1)
