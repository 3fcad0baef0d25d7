"""The schedule of a series against its definition, instant by instant and minute by minute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.market.schedule import (
    OFF_SESSION,
    RowsSchedule,
    ScheduleIndex,
    SeriesSchedule,
    Session,
    SessionRow,
    UtcCalendar,
    find_conflicts,
    session_minutes,
)
from barstream.model.time import DAY_US, MINUTE_US

# One unit is 20 s: three to a minute, so that sessions begin and end inside minutes too.
UNIT_US = 20_000_000
ORIGIN_US = 20_000 * DAY_US


@st.composite
def valid_rows(draw: st.DrawFn) -> list[SessionRow]:
    """Sessions of a series that share no minute, in a drawn order."""
    rows: list[SessionRow] = []
    time_us, trading_date = ORIGIN_US, 20_000
    for _ in range(draw(st.integers(1, 6))):
        open_us = time_us + draw(st.integers(0, 7)) * UNIT_US
        close_us = open_us + draw(st.integers(1, 12)) * UNIT_US
        same_day = bool(rows) and draw(st.booleans())
        trading_date += 0 if same_day else draw(st.integers(1, 3))
        number = rows[-1].session + 1 if same_day else 0
        tolerance_us = draw(st.sampled_from([0, 0, 1, 2, 5, 9])) * UNIT_US
        rows.append(SessionRow("B", "S", trading_date, number, open_us, close_us, tolerance_us))
        time_us = -(-close_us // MINUTE_US) * MINUTE_US
        time_us = max(time_us, close_us + tolerance_us)
    return draw(st.permutations(rows))


@st.composite
def any_rows(draw: st.DrawFn) -> list[SessionRow]:
    """Sessions without any rule between them."""
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        open_us = ORIGIN_US + draw(st.integers(0, 20)) * UNIT_US
        close_us = open_us + draw(st.integers(-1, 6)) * UNIT_US
        trading_date, number = draw(st.integers(20_000, 20_002)), draw(st.integers(0, 2))
        tolerance_us = draw(st.sampled_from([0, 0, 1, 4])) * UNIT_US
        rows.append(SessionRow("B", "S", trading_date, number, open_us, close_us, tolerance_us))
    return rows


def covers(row: SessionRow | Session, ts_us: int) -> bool:
    return row.open_us <= ts_us < row.close_us


def takes(row: SessionRow, ts_us: int) -> bool:
    return row.open_us <= ts_us < row.close_us + row.close_tolerance_us


def has_minute(row: SessionRow | Session, minute_us: int) -> bool:
    return any(covers(row, t) for t in range(minute_us, minute_us + MINUTE_US, UNIT_US))


@pytest.mark.law("L3")
@given(rows=valid_rows())
def test_a_time_is_in_the_one_session_that_takes_it_and_placed_before_its_close(
    rows: list[SessionRow],
) -> None:
    schedule = RowsSchedule(rows)
    last_us = max(row.close_us + row.close_tolerance_us for row in rows)
    edges = np.arange(ORIGIN_US - UNIT_US, last_us + 2 * UNIT_US, UNIT_US, dtype=np.int64)
    times = np.concatenate([edges - 1, edges, edges + 1])

    ids = schedule.locate(times)
    placed = schedule.placed(times, ids)

    for ts_us, session_id, at_us in zip(times.tolist(), ids.tolist(), placed.tolist(), strict=True):
        expected = [row for row in rows if takes(row, ts_us)]
        if not expected:
            assert (session_id, at_us) == (OFF_SESSION, ts_us)
            continue
        assert at_us == min(ts_us, expected[0].close_us - 1)
        found, (row,) = schedule.session(session_id), expected
        assert (found.open_us, found.close_us) == (row.open_us, row.close_us)
        assert (found.trading_date, found.number) == (row.trading_date, row.session)
        assert found.close_tolerance_us == row.close_tolerance_us


@given(rows=valid_rows())
def test_a_minute_ends_when_no_tick_of_it_or_before_it_can_be_later(rows: list[SessionRow]) -> None:
    # a tick every 20 s and those just before and after; placed, they lie in minutes
    schedule = RowsSchedule(rows)
    last_us = max(row.close_us + row.close_tolerance_us for row in rows) + 2 * MINUTE_US
    edges = np.arange(ORIGIN_US - MINUTE_US, last_us, UNIT_US, dtype=np.int64)
    times = np.concatenate([edges - 1, edges])
    ids = schedule.locate(times)
    times, ids = times[ids != OFF_SESSION], ids[ids != OFF_SESSION]
    minute_of = schedule.placed(times, ids) // MINUTE_US * MINUTE_US

    minutes = range(ORIGIN_US - MINUTE_US, last_us, MINUTE_US)
    for minute_us in minutes:
        of_it = times[minute_of <= minute_us]
        end_us = schedule.minute_end(minute_us)
        assert end_us == max([minute_us + MINUTE_US, *(of_it + 1).tolist()])
        # by then it has ended, and just before it has not
        assert schedule.ended_until(end_us) > minute_us
        assert schedule.ended_until(end_us - 1) <= minute_us


@given(rows=valid_rows(), start=st.integers(-4, 80), length=st.integers(-4, 80))
def test_sessions_between_are_those_with_a_minute_that_starts_there(
    rows: list[SessionRow], start: int, length: int
) -> None:
    start_us = ORIGIN_US + start * UNIT_US
    end_us = start_us + length * UNIT_US
    minutes = range(ORIGIN_US - MINUTE_US, max(r.close_us for r in rows) + MINUTE_US, MINUTE_US)

    found = list(RowsSchedule(rows).sessions_between(start_us, end_us))

    expected = [
        row.open_us
        for row in sorted(rows, key=lambda row: row.open_us)
        if any(start_us <= minute < end_us and has_minute(row, minute) for minute in minutes)
    ]
    assert [session.open_us for session in found] == expected


@given(rows=valid_rows())
def test_session_minutes_are_the_minutes_with_an_instant_in_session(rows: list[SessionRow]) -> None:
    schedule = RowsSchedule(rows)
    horizon = range(ORIGIN_US, max(r.close_us for r in rows) + MINUTE_US, MINUTE_US)

    for session in schedule.sessions_between(ORIGIN_US, horizon.stop):
        assert list(session_minutes(session)) == [m for m in horizon if has_minute(session, m)]


@pytest.mark.law("L9")
@given(rows=valid_rows(), last=st.integers(19_998, 20_025), inactive_after=st.integers(0, 6))
def test_a_series_sleeps_from_the_first_open_after_the_dates_without_a_tick(
    rows: list[SessionRow], last: int, inactive_after: int
) -> None:
    later = sorted({row.trading_date for row in rows if row.trading_date > last})
    opens = {day: min(r.open_us for r in rows if r.trading_date == day) for day in later}

    found = RowsSchedule(rows).asleep_from(last, inactive_after)

    assert found == (opens[later[inactive_after]] if len(later) > inactive_after else None)


@given(rows=any_rows())
def test_rows_are_refused_exactly_when_a_rule_is_broken(rows: list[SessionRow]) -> None:
    def minutes(row: SessionRow) -> set[int]:
        return {t // MINUTE_US for t in range(row.open_us, row.close_us, UNIT_US)}

    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    broken = any(row.close_us <= row.open_us for row in rows) or any(
        (a.trading_date, a.session) == (b.trading_date, b.session)
        or minutes(a) & minutes(b)
        or (a.open_us < b.open_us < a.close_us + a.close_tolerance_us)
        or (b.open_us < a.open_us < b.close_us + b.close_tolerance_us)
        or (a.open_us < b.open_us and a.trading_date > b.trading_date)
        or (b.open_us < a.open_us and b.trading_date > a.trading_date)
        for a, b in pairs
    )

    assert bool(find_conflicts(rows)) == broken
    if broken:
        with pytest.raises(ValueError, match="open="):
            RowsSchedule(rows)


@given(ts_us=st.lists(st.integers(0, 40_000 * DAY_US), min_size=1))
def test_the_utc_calendar_is_the_schedule_of_rows_from_midnight_to_midnight(
    ts_us: list[int],
) -> None:
    days = sorted({t // DAY_US for t in ts_us})
    rows = [SessionRow("B", "S", day, 0, day * DAY_US, (day + 1) * DAY_US) for day in days]
    times = np.array(ts_us, dtype=np.int64)
    by_rows: SeriesSchedule = RowsSchedule(rows)
    calendar: SeriesSchedule = UtcCalendar()

    for a, b in zip(by_rows.locate(times).tolist(), calendar.locate(times).tolist(), strict=True):
        assert by_rows.session(a)[:4] == calendar.session(b)[:4]


@given(start=st.integers(-5, 15), length=st.integers(-2, 12))
def test_the_utc_calendar_knows_the_days_between(start: int, length: int) -> None:
    half_day_us = DAY_US // 2
    start_us, end_us = start * half_day_us + 1, (start + length) * half_day_us + 1

    found = [session.trading_date for session in UtcCalendar().sessions_between(start_us, end_us)]

    def has_a_minute(day: int) -> bool:
        first = max(-(-start_us // MINUTE_US) * MINUTE_US, day * DAY_US)
        return first < min(end_us, (day + 1) * DAY_US)

    assert found == [day for day in range(20) if has_a_minute(day)]


@given(rows=valid_rows())
def test_an_index_updated_series_by_series_equals_one_built_at_once(rows: list[SessionRow]) -> None:
    symbols = ["S1", "S2", "S3"]
    every = [
        SessionRow(row.broker, symbol, row.trading_date, row.session, row.open_us, row.close_us)
        for symbol in symbols
        for row in rows
    ]
    stepwise = ScheduleIndex()
    for symbol in symbols:
        stepwise = stepwise.updated({("B", symbol): [r for r in every if r.symbol == symbol]})

    at_once = ScheduleIndex.build(every)

    assert set(stepwise.series()) == set(at_once.series())
    for symbol in symbols:
        a, b = at_once.for_series("B", symbol), stepwise.for_series("B", symbol)
        assert a is not None
        assert b is not None
        assert list(a.sessions_between(0, 2 * ORIGIN_US)) == list(
            b.sessions_between(0, 2 * ORIGIN_US)
        )
    # The same hours are kept once, whoever keeps them.
    assert stepwise.for_series("B", "S1") is stepwise.for_series("B", "S3")
