"""The calendars of verify and of the core: two computations, one answer, no common mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.market import session
from barstream.market.schedule import RowsSchedule, ScheduleIndex, SessionRow, find_conflicts
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US
from barstream.rules.series import Rules
from barstream.verify import hours
from barstream.verify.buckets import end_us, first_dates
from barstream.verify.hours import Hours, HoursIndex
from barstream.verify.rollup_grid import first_instant, parents_of, to_come
from tests.examples import examples
from tests.offline_rollups import Session
from tests.property.engine_cases import Beat, Case, Tick
from tests.property.rollup_cases import PERIODS
from tests.property.session_cases import rows_of, schedules
from tests.property.test_period import periods
from tests.property.test_sessions_laws import any_rows, valid_rows
from tests.property.test_verify_laws import lived

_EVER = 1 << 60
#: Trading dates of the years 1970 to 2200, and one before.
DATES = st.integers(-1, 84_006)
NAME = ("B", "S")


def hours_of(rows: Sequence[SessionRow]) -> Hours:
    found = HoursIndex().updated({NAME: rows}).of_series(NAME)
    assert found is not None
    return found


def in_sessions(rows: Sequence[SessionRow]) -> st.SearchStrategy[int]:
    """Times at and beside the ends of sessions."""
    edges = [edge for row in rows for edge in (row.open_us, row.close_us)]
    return st.builds(
        int.__add__, st.sampled_from(edges), st.sampled_from([-MINUTE_US, -1, 0, 1, 40 * MINUTE_US])
    )


@given(periods().filter(lambda period: not period.is_intraday), st.lists(DATES, min_size=1))
def test_buckets_of_dates_begin_and_end_alike(period: Period, dates: list[int]) -> None:
    found = first_dates(period, np.array(dates, np.int64))
    assert found.tolist() == [period.floor_date(date) for date in dates]
    for first in found.tolist():
        assert end_us(period, first * DAY_US) == period.advance(first * DAY_US)


@given(periods().filter(lambda period: period.is_intraday), st.integers(0, 84_006 * DAY_US))
def test_buckets_of_minutes_and_hours_begin_and_end_alike(period: Period, time_us: int) -> None:
    children = pl.DataFrame({"bucket_us": [time_us // MINUTE_US * MINUTE_US]})
    start = parents_of(period, children, hours_of([SessionRow(*NAME, 0, 0, 0, DAY_US)]))
    assert start.tolist() == [period.floor(time_us // MINUTE_US * MINUTE_US)]
    assert end_us(period, int(start[0])) == period.advance(int(start[0]))


def test_both_know_the_same_longest_tolerance() -> None:
    assert hours.LONGEST_TOLERANCE_US == session.LONGEST_TOLERANCE_US


def test_weeks_go_on_across_the_ends_of_years() -> None:
    #   Mon 30 Dec 2024 | Tue | Wed 1 Jan 2025 ... Sun 5 Jan |
    week = Period.weeks()
    dates = np.arange(20_087, 20_094)
    assert first_dates(week, dates).tolist() == [20_087] * 7
    assert end_us(week, 20_087 * DAY_US) == 20_094 * DAY_US


@settings(max_examples=examples(300), deadline=None)
@given(st.one_of(any_rows(), valid_rows()))
def test_rows_that_the_core_refuses_are_refused_and_no_others(rows: list[SessionRow]) -> None:
    index = HoursIndex().updated({NAME: rows})
    assert index.problems == ({NAME} if find_conflicts(rows) else frozenset())
    assert (index.of_series(NAME) is None) == bool(index.problems)


@given(st.lists(st.dictionaries(st.sampled_from("XYZ"), st.one_of(any_rows(), valid_rows(),
       st.just([]))), max_size=5))  # fmt: skip
def test_a_schedule_that_changes_stands_alike_at_every_step(
    steps: list[dict[str, list[SessionRow]]],
) -> None:
    """A series whose rows contradict each other keeps its hours; what changes is told."""
    core, mine = ScheduleIndex(), HoursIndex()
    for step in steps:
        rows_of = {("B", name): rows for name, rows in step.items()}
        core, mine = core.updated(rows_of), mine.updated(rows_of)
        assert mine.changed == core.changed
        assert mine.problems == core.problems.keys()
        for name in [("B", "X"), ("B", "Y"), ("B", "Z")]:
            schedule, hours = core.for_series(*name), mine.of_series(name)
            assert (schedule is None) == (hours is None)
            if schedule is not None and hours is not None:
                opens = [each.open_us for each in schedule.sessions_between(-_EVER, _EVER)]
                assert hours.open_us.tolist() == opens
        shared = [mine.of_series(("B", "X")) is mine.of_series(("B", name)) for name in "YZ"]
        assert shared == [
            core.for_series("B", "X") is core.for_series("B", name) for name in "YZ"
        ], "series with the same hours share them"


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None)
@given(st.data(), schedules(), periods())
def test_days_of_real_markets_open_close_and_hold_the_same_ticks(
    data: st.DataObject, sessions: list[Session], period: Period
) -> None:
    """Zones, both changes of the clock, holidays, half days, weeks across years."""
    rows = rows_of("S", sessions)
    schedule, hours = RowsSchedule(rows), hours_of(rows)
    times = np.array(data.draw(st.lists(in_sessions(rows), min_size=1, max_size=9)), np.int64)
    assert hours.at(times).tolist() == schedule.locate(times).tolist()
    date = data.draw(st.sampled_from(sorted({row.trading_date for row in rows})))
    bucket_us = period.floor(date * DAY_US, rows[0].open_us)
    first, end = bucket_us // DAY_US, period.advance(bucket_us) // DAY_US
    assert hours.close_of(first, end) == schedule.end_of_dates(first, end)
    if not period.is_intraday:
        open_us = schedule.start_of_dates(first, end)
        assert first_instant(period, bucket_us, hours) == (
            bucket_us if open_us is None else open_us
        )
        left = to_come(period, bucket_us, 0, hours)
        in_dates = [row for row in rows if first <= row.trading_date < end]
        assert sorted(set(left.trading_date.tolist())) == sorted(
            {row.trading_date for row in in_dates}
        )


#: A Friday and the Monday after it, 5 and 8 January 2024, and a day of the month after.
FRIDAY, MONDAY, FEBRUARY = 19_727, 19_730, 19_762
OPEN_US = 10 * 60 * MINUTE_US
HOURS = [
    SessionRow("B", "ALPHA", date, 0, date * DAY_US + OPEN_US, date * DAY_US + OPEN_US + MINUTE_US)
    for date in (FRIDAY, MONDAY, FEBRUARY)
]


def _week() -> Case:
    """A tick in each of the first two sessions, and each minute closed by a heartbeat."""
    ticks = [Tick(at, "ALPHA", row.open_us, 10.0 + at) for at, row in enumerate(HOURS[:2])]
    beats = [Beat(0, "ALPHA", HOURS[1].open_us, 2, FEBRUARY * DAY_US)]
    return Case({"ALPHA": HOURS}, Rules(0, 1_000), ticks, beats, len(ticks))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda right: lambda period, date: right(period, date) + (period.unit == "d"),
        lambda right: lambda period, date: right(period, date) - 7 * (period.unit == "wk"),
        lambda right: lambda period, date: right(period, date + 31 * (period.unit == "mo")),
    ],
    ids=["a day late", "a week early", "the next month"],
)
def test_a_bar_that_the_core_puts_into_a_wrong_bucket_of_days_is_found(
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[Callable[[Period, int], int]], Callable[[Period, int], int]],
) -> None:
    """Worker and verify run with the same broken core: only who computes alone can see it."""
    case = _week()
    assert lived(case, PERIODS, [(0, 1), (1, 2)]).verdict(case, [(0, 2)]).findings.kept == []
    with monkeypatch.context() as broken:
        broken.setattr(Period, "floor_date", wrong(Period.floor_date))
        written = lived(case, PERIODS, [(0, 1), (1, 2)])
        found = written.verdict(case, [(0, 2)]).findings
    assert found.number("difference")
    assert {each.timeframe for each in found.kept} <= {"1d", "1wk", "1mo"}


def test_a_schedule_that_the_core_wrongly_takes_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sessions that overlap: bars were made by them, and verify knows of no such hours."""
    case = _week()
    twice = [*HOURS, replace(HOURS[0], session=1, open_us=HOURS[0].open_us + 1)]
    with monkeypatch.context() as broken:
        for module in ("session", "schedule"):
            broken.setattr(f"barstream.market.{module}.find_conflicts", lambda _: [])
        case = replace(case, rows={"ALPHA": twice})
        written = lived(case, PERIODS, [(0, 1), (1, 2)])
        found = written.verdict(case, [(0, 2)]).findings
    assert found.number("difference")
