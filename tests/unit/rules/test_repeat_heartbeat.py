"""When the last minute is sent once more (spec 6), by examples; ``tests/property`` has the law."""

from __future__ import annotations

from typing import Any

import pytest

from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US, us_from_iso
from barstream.rules.heartbeat_plan import HeartbeatPlan, HeartbeatRules, plan

GRACE_US = 5 * SECOND_US
RULES = HeartbeatRules(grace_us=GRACE_US, inactive_after=5)
WEEK, MONTH = Period.weeks(), Period.months()
MONDAY_US = us_from_iso("2024-03-04T00:00:00Z")
MONDAY = MONDAY_US // DAY_US
FRIDAY = MONDAY + 4
NEXT_MONDAY_US = MONDAY_US + 7 * DAY_US
OPEN_US, CLOSE_US = 8 * 60 * MINUTE_US, 16 * 60 * MINUTE_US
NAME = "DEMO", "EURUSD"


def index(*dates: int, close_us: int = CLOSE_US) -> ScheduleIndex:
    """A session from 08:00 to 16:00 on each date."""
    return ScheduleIndex.build(
        SessionRow(*NAME, date, 0, date * DAY_US + OPEN_US, date * DAY_US + close_us)
        for date in dates
    )


def last_minute(date: int) -> int:
    return date * DAY_US + CLOSE_US - MINUTE_US


def row(**changes: Any) -> SeriesSeen:
    """A live series seen until Friday."""
    seen = SeriesSeen(*NAME, 0, MONDAY_US, FRIDAY, live=True, closed_until_us=-1)
    return seen._replace(**changes)


def planned(
    now_us: int,
    schedule: Any,
    *periods: Period,
    mark_us: int = last_minute(FRIDAY),
    heard_us: int | None = None,
    rules: HeartbeatRules = RULES,
    **changes: Any,
) -> HeartbeatPlan:
    heard = {} if heard_us is None else {NAME: heard_us}
    return plan(now_us, [row(**changes)], schedule, {NAME: mark_us}, rules, periods, heard)


def repeats(result: HeartbeatPlan) -> list[tuple[int, int]]:
    return [(each.minute_us, each.end_us) for each in result.repeats]


WORKING_WEEK = range(MONDAY, FRIDAY + 1)


def test_a_week_the_schedule_does_not_reach_past_is_proved_over_one_grace_after_its_end() -> None:
    #  Mon ... Fri 16:00              Mon 00:00   00:00:05
    #  |=== sessions ===|...no rows...| end       | k once more, not a microsecond before
    schedule = index(*WORKING_WEEK)
    due_us = NEXT_MONDAY_US + GRACE_US
    assert len(planned(due_us - 1, schedule, WEEK)) == 0
    result = planned(due_us, schedule, WEEK)
    assert repeats(result) == [(last_minute(FRIDAY), NEXT_MONDAY_US)]
    assert [(seen.name, us) for seen, us in result] == [(NAME, last_minute(FRIDAY))]


def test_a_repeat_moves_no_mark() -> None:
    """The mark may be later than the minute, where rows were withdrawn; it must not go back."""
    result = planned(NEXT_MONDAY_US + DAY_US, index(*WORKING_WEEK), WEEK)
    assert (len(result), result.marks()) == (1, {})


def test_what_was_heard_after_the_end_is_evidence_and_nothing_is_sent_for_it_again() -> None:
    schedule, now_us = index(*WORKING_WEEK), NEXT_MONDAY_US + 30 * DAY_US
    enough_us = NEXT_MONDAY_US + GRACE_US
    assert repeats(planned(now_us, schedule, WEEK, heard_us=enough_us)) == []
    assert len(repeats(planned(now_us, schedule, WEEK, heard_us=enough_us - 1))) == 1


def test_a_delayed_feed_is_given_its_delay_before_its_week_is_over() -> None:
    rules = HeartbeatRules(GRACE_US, 5, feed_delay_us={"DEMO": 15 * MINUTE_US})
    due_us = NEXT_MONDAY_US + 15 * MINUTE_US + GRACE_US
    assert repeats(planned(due_us - 1, index(*WORKING_WEEK), WEEK, rules=rules)) == []
    assert len(repeats(planned(due_us, index(*WORKING_WEEK), WEEK, rules=rules))) == 1


@pytest.mark.parametrize("days", [7, 10, 40])
def test_a_schedule_that_goes_on_is_evidence_enough_whenever_it_does(days: int) -> None:
    schedule = index(*WORKING_WEEK, MONDAY + days)
    assert repeats(planned(NEXT_MONDAY_US + 2 * DAY_US, schedule, WEEK)) == []


@pytest.mark.parametrize(
    "period",
    [Period.minutes(5), Period.hours(1), Period.minutes(30, anchor="session"), Period.days()],
)
def test_minutes_hours_and_days_need_no_evidence(period: Period) -> None:
    assert repeats(planned(NEXT_MONDAY_US + 2 * DAY_US, index(*WORKING_WEEK), period)) == []


def test_several_days_are_made_of_days_and_need_evidence_as_weeks_do() -> None:
    two_days = Period.days(2, offset=0)
    end_us = two_days.advance(two_days.floor_date(FRIDAY) * DAY_US)
    result = planned(end_us + GRACE_US, index(*WORKING_WEEK), two_days)
    assert repeats(result) == [(last_minute(FRIDAY), end_us)]


def test_until_the_last_minute_is_emitted_it_is_planned_and_not_repeated() -> None:
    """Sent that late it is evidence itself; sent before the others it would leave a hole."""
    schedule, k = index(*WORKING_WEEK), last_minute(FRIDAY)
    for missing in ([k - MINUTE_US, k], [k]):
        mark_us = missing[0] - MINUTE_US
        result = planned(NEXT_MONDAY_US + DAY_US, schedule, WEEK, mark_us=mark_us)
        assert [us for _, us in result] == missing
        assert repeats(result) == []


def test_a_week_without_a_tick_has_synthetic_bars_and_is_proved_over_too() -> None:
    """The last tick came on the Friday before, in a week that was over by the schedule."""
    schedule = index(FRIDAY - 7, *WORKING_WEEK)
    result = planned(NEXT_MONDAY_US + DAY_US, schedule, WEEK, last_trading_date=FRIDAY - 7)
    assert repeats(result) == [(last_minute(FRIDAY), NEXT_MONDAY_US)]


def test_what_is_closed_counts_as_emitted() -> None:
    """A series loaded from a file, live since, has no heartbeat in reach but is closed."""
    mark_us, closed_us = last_minute(MONDAY), last_minute(FRIDAY) + MINUTE_US
    schedule, now_us = index(*WORKING_WEEK), NEXT_MONDAY_US + DAY_US
    result = planned(now_us, schedule, WEEK, mark_us=mark_us, closed_until_us=closed_us)
    assert repeats(result) == [(last_minute(FRIDAY), NEXT_MONDAY_US)]


def test_a_week_and_a_month_that_end_at_different_times_are_each_proved_once() -> None:
    schedule, month_us = index(*WORKING_WEEK), us_from_iso("2024-04-01T00:00:00Z")
    first = planned(NEXT_MONDAY_US + GRACE_US, schedule, WEEK, MONTH)
    assert repeats(first) == [(last_minute(FRIDAY), NEXT_MONDAY_US)]
    heard_us = NEXT_MONDAY_US + GRACE_US
    between = planned(month_us, schedule, WEEK, MONTH, heard_us=heard_us)
    assert repeats(between) == []
    second = planned(month_us + GRACE_US, schedule, WEEK, MONTH, heard_us=heard_us)
    assert repeats(second) == [(last_minute(FRIDAY), month_us)]


def test_one_repeat_serves_a_week_and_a_month_that_are_both_over() -> None:
    month_us = us_from_iso("2024-04-01T00:00:00Z")
    result = planned(month_us + DAY_US, index(*WORKING_WEEK), WEEK, MONTH)
    assert repeats(result) == [(last_minute(FRIDAY), month_us)]


def test_a_series_that_fell_asleep_in_the_week_repeats_the_last_minute_it_was_awake() -> None:
    #  Mon   Tue   Wed   Thu   Fri
    #  tick  awake awake asleep ...      inactive after two trading dates
    rules = HeartbeatRules(GRACE_US, inactive_after=2)
    awake = MONDAY + 2
    result = planned(
        NEXT_MONDAY_US + DAY_US, index(*WORKING_WEEK), WEEK,
        mark_us=last_minute(awake), last_trading_date=MONDAY, rules=rules,
    )  # fmt: skip
    assert result.asleep == 1
    assert repeats(result) == [(last_minute(awake), NEXT_MONDAY_US)]


def test_a_week_slept_through_has_no_bar_and_the_one_before_was_over_by_the_schedule() -> None:
    dates = [*WORKING_WEEK, *range(MONDAY + 7, MONDAY + 12)]
    result = planned(
        MONDAY_US + 20 * DAY_US, index(*dates), WEEK, rules=HeartbeatRules(GRACE_US, 0)
    )
    assert (result.asleep, repeats(result)) == (1, [])


def test_a_series_that_is_not_live_gets_no_repeat() -> None:
    """Today's clock does not close a file that is still being loaded."""
    assert len(planned(NEXT_MONDAY_US + DAY_US, index(*WORKING_WEEK), WEEK, live=False)) == 0


def test_a_calendar_without_end_needs_none() -> None:
    result = planned(NEXT_MONDAY_US, AlwaysOpenIndex(), WEEK, MONTH, mark_us=NEXT_MONDAY_US)
    assert repeats(result) == []


def test_the_last_minute_may_be_a_partial_one() -> None:
    schedule = index(*WORKING_WEEK, close_us=CLOSE_US + 30 * SECOND_US)
    k = last_minute(FRIDAY) + MINUTE_US
    assert repeats(planned(NEXT_MONDAY_US + DAY_US, schedule, WEEK, mark_us=k)) == [
        (k, NEXT_MONDAY_US)
    ]


def test_a_week_whose_rows_were_withdrawn_behind_its_ticks_is_proved_over_too() -> None:
    """Only Monday is left of the week before; this week has bars but not one session."""
    schedule = index(MONDAY - 7)
    result = planned(NEXT_MONDAY_US + GRACE_US, schedule, WEEK, last_trading_date=FRIDAY)
    assert repeats(result) == [(last_minute(MONDAY - 7), NEXT_MONDAY_US)]


def test_repeats_share_the_bound_of_a_round_and_come_last() -> None:
    rules = HeartbeatRules(GRACE_US, 5, max_catch_up=3)
    rows = [row(symbol=symbol) for symbol in "ABC"]
    schedule = ScheduleIndex.build(
        SessionRow("DEMO", symbol, FRIDAY, 0, FRIDAY * DAY_US, FRIDAY * DAY_US + 2 * MINUTE_US)
        for symbol in "ABC"
    )
    marks = {("DEMO", s): FRIDAY * DAY_US + MINUTE_US for s in "AC"}
    marks["DEMO", "B"] = FRIDAY * DAY_US - MINUTE_US
    result = plan(NEXT_MONDAY_US + DAY_US, rows, schedule, marks, rules, [WEEK])
    assert [seen.symbol for seen, _ in result] == ["B", "B", "A"]
    assert (len(result), result.remaining) == (3, 1)
    head = result.head(2)
    assert ([seen.symbol for seen, _ in head], head.remaining) == (["B", "B"], 2)


def test_the_partitions_of_a_plan_include_those_of_its_repeats() -> None:
    """A barrier is asked for each of them; without one nothing would be sent."""
    result = planned(NEXT_MONDAY_US + DAY_US, index(*WORKING_WEEK), WEEK, partition=7)
    assert result.partitions() == {7}
