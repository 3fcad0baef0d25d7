"""Which heartbeats are due (spec 5), by examples; ``tests/property`` has the laws."""

from __future__ import annotations

from typing import Any

import pytest

from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US, us_from_iso
from barstream.rules.heartbeat_plan import HeartbeatPlan, HeartbeatRules, plan, recovery_windows

GRACE_US = 5 * SECOND_US
RULES = HeartbeatRules(grace_us=GRACE_US, inactive_after=5)
MONDAY_US = us_from_iso("2024-03-04T00:00:00Z")
MONDAY = MONDAY_US // DAY_US
OPEN_24X7 = AlwaysOpenIndex()


def row(symbol: str = "EURUSD", **changes: Any) -> SeriesSeen:
    seen = SeriesSeen("DEMO", symbol, 0, MONDAY_US, MONDAY, live=True, closed_until_us=-1)
    return seen._replace(**changes)


def at(text: str) -> int:
    return MONDAY_US + us_from_iso(f"1970-01-01T{text}Z")


def sessions(*spans: tuple[int, int, int], symbol: str = "EURUSD") -> ScheduleIndex:
    """An index of (trading date, open, close); session numbers count within the date."""
    rows = []
    for number, (date, open_us, close_us) in enumerate(spans):
        rows.append(SessionRow("DEMO", symbol, date, number, open_us, close_us))
    return ScheduleIndex.build(rows)


def minutes(result: HeartbeatPlan) -> list[tuple[str, int]]:
    return [(seen.symbol, minute_us) for seen, minute_us in result]


def test_a_minute_is_due_exactly_one_grace_after_its_end() -> None:
    #  10:00          10:01      10:01:05
    #  |==== k =======|== grace ==|  due here, not a microsecond before
    marks = {("DEMO", "EURUSD"): at("09:59:00")}
    due_us = at("10:01:05")
    assert minutes(plan(due_us - 1, [row()], OPEN_24X7, marks, RULES)) == []
    assert minutes(plan(due_us, [row()], OPEN_24X7, marks, RULES)) == [("EURUSD", at("10:00:00"))]


def test_a_delayed_feed_is_due_later_by_its_delay_and_others_are_not() -> None:
    rules = HeartbeatRules(GRACE_US, 5, feed_delay_us={"SLOW": 15 * MINUTE_US})
    slow = row()._replace(broker="SLOW")
    marks = {("DEMO", "EURUSD"): at("09:59:00"), ("SLOW", "EURUSD"): at("09:59:00")}
    early = plan(at("10:01:05"), [row(), slow], OPEN_24X7, marks, rules)
    assert [seen.broker for seen, _ in early] == ["DEMO"]
    marks[("DEMO", "EURUSD")] = at("10:15:00")
    assert len(plan(at("10:16:05") - 1, [row(), slow], OPEN_24X7, marks, rules)) == 0
    late = plan(at("10:16:05"), [row(), slow], OPEN_24X7, marks, rules)
    assert [(seen.broker, us) for seen, us in late] == [("SLOW", at("10:00:00"))]


def test_a_late_wake_up_plans_every_minute_missed_oldest_first_across_series() -> None:
    marks = {("DEMO", "A"): at("09:59:00"), ("DEMO", "B"): at("10:00:00")}
    result = plan(at("10:03:05"), [row("A"), row("B")], OPEN_24X7, marks, RULES)
    assert minutes(result) == [
        ("A", at("10:00:00")),
        ("A", at("10:01:00")),
        ("B", at("10:01:00")),
        ("A", at("10:02:00")),
        ("B", at("10:02:00")),
    ]


def test_catch_up_is_bounded_and_tells_what_remains() -> None:
    rules = HeartbeatRules(GRACE_US, 5, max_catch_up=3)
    marks = {("DEMO", "A"): at("09:59:00"), ("DEMO", "B"): at("09:59:00")}
    result = plan(at("10:03:05"), [row("A"), row("B")], OPEN_24X7, marks, rules)
    assert minutes(result) == [
        ("A", at("10:00:00")),
        ("B", at("10:00:00")),
        ("A", at("10:01:00")),
    ]
    assert result.remaining == 3


def test_nothing_is_planned_outside_sessions() -> None:
    index = sessions(
        (MONDAY, at("10:00:00"), at("10:02:00")), (MONDAY, at("12:00:00"), at("12:01:00"))
    )
    marks = {("DEMO", "EURUSD"): at("09:00:00")}
    result = plan(at("13:00:00"), [row()], index, marks, RULES)
    assert [us for _, us in result] == [at("10:00:00"), at("10:01:00"), at("12:00:00")]


def test_the_partial_first_and_last_minutes_of_a_session_are_planned() -> None:
    index = sessions((MONDAY, at("10:00:30"), at("10:02:30")))
    marks = {("DEMO", "EURUSD"): at("09:00:00")}
    result = plan(at("13:00:00"), [row()], index, marks, RULES)
    assert [us for _, us in result] == [at("10:00:00"), at("10:01:00"), at("10:02:00")]


def test_a_historical_series_gets_none_and_is_counted() -> None:
    result = plan(at("10:03:05"), [row(live=False)], OPEN_24X7, {}, RULES)
    assert (len(result), result.historical) == (0, 1)


def test_a_series_without_schedule_gets_none_and_is_counted() -> None:
    result = plan(at("10:03:05"), [row()], ScheduleIndex(), {}, RULES)
    assert (len(result), result.unscheduled) == (0, 1)


def test_a_series_falls_asleep_at_an_open_but_minutes_before_it_are_still_owed() -> None:
    # Two trading dates may pass without a tick; from the open of the third it sleeps, also
    # when that open lies inside its first minute.
    index = sessions(
        *((MONDAY + n, MONDAY_US + n * DAY_US + 30 * SECOND_US, MONDAY_US + n * DAY_US + MINUTE_US)
          for n in range(5))
    )  # fmt: skip
    rules = HeartbeatRules(GRACE_US, inactive_after=2)
    marks = {("DEMO", "EURUSD"): MONDAY_US}
    result = plan(MONDAY_US + 10 * DAY_US, [row()], index, marks, rules)
    assert [us for _, us in result] == [MONDAY_US + DAY_US, MONDAY_US + 2 * DAY_US]
    assert result.asleep == 1


def test_a_series_that_woke_is_not_caught_up_through_the_stretch_it_slept() -> None:
    woke_us = at("10:00:00") + 60 * DAY_US
    awake = row(last_trading_date=MONDAY + 60, closed_until_us=woke_us)
    marks = {("DEMO", "EURUSD"): at("10:00:00")}
    result = plan(woke_us + 2 * MINUTE_US + GRACE_US, [awake], OPEN_24X7, marks, RULES)
    assert [us for _, us in result] == [woke_us, woke_us + MINUTE_US]


def test_without_a_heartbeat_in_the_log_a_series_goes_on_from_what_is_closed() -> None:
    seen = row(closed_until_us=at("10:01:00"))
    result = plan(at("10:03:05"), [seen], OPEN_24X7, {}, RULES)
    assert [us for _, us in result] == [at("10:01:00"), at("10:02:00")]


def test_a_series_with_nothing_closed_starts_with_the_minute_of_its_first_tick() -> None:
    seen = row(first_tick_us=at("10:01:30"))
    result = plan(at("10:03:05"), [seen], OPEN_24X7, {}, RULES)
    assert [us for _, us in result] == [at("10:01:00"), at("10:02:00")]


@pytest.mark.parametrize("backfill", [0, 1, 2])
def test_a_series_nothing_is_known_of_starts_with_the_backfill(backfill: int) -> None:
    rules = HeartbeatRules(GRACE_US, 5, backfill_minutes=backfill)
    unknown = row(first_tick_us=-1)
    first = plan(at("10:03:05"), [unknown], OPEN_24X7, {}, rules)
    assert [us for _, us in first] == [at("10:01:00"), at("10:02:00")][2 - backfill :]
    # ... and from there on misses nothing, although with 0 nothing was sent yet.
    marks = {**first.began, **first.marks()}
    second = plan(at("10:04:05"), [unknown], OPEN_24X7, marks, rules)
    assert [us for _, us in second] == [at("10:03:00")]


@pytest.mark.parametrize("backfill", [-1, 3])
def test_a_backfill_outside_0_to_2_is_refused(backfill: int) -> None:
    with pytest.raises(ValueError, match="0 to 2"):
        HeartbeatRules(GRACE_US, 5, backfill_minutes=backfill)


def test_the_next_wake_up_is_the_next_instant_any_broker_has_minutes_due() -> None:
    rules = HeartbeatRules(GRACE_US, 5, feed_delay_us={"SLOW": 30 * SECOND_US})
    assert rules.next_due_us(at("10:00:00")) == at("10:00:05")
    assert rules.next_due_us(at("10:00:05")) == at("10:00:35")  # later than now, never now
    assert rules.next_due_us(at("10:00:34")) == at("10:00:35")
    assert rules.next_due_us(at("10:00:35")) == at("10:01:05")


def test_the_head_of_a_plan_leaves_the_rest_as_remaining() -> None:
    marks = {("DEMO", "EURUSD"): at("09:59:00")}
    whole = plan(at("10:03:05"), [row()], OPEN_24X7, marks, RULES)
    head = whole.head(1)
    assert [us for _, us in head] == [at("10:00:00")]
    assert (len(head), head.remaining) == (1, 2)


def test_recovery_reads_where_each_series_had_its_last_heartbeat_not_the_days_between() -> None:
    # A closed on Friday 22:00, B at Friday 22:30, and today is Sunday.
    friday = MONDAY + 4
    rows = [
        SessionRow("DEMO", symbol, friday, 0, friday * DAY_US, friday * DAY_US + close_us)
        for symbol, close_us in (("A", 22 * 60 * MINUTE_US), ("B", (22 * 60 + 30) * MINUTE_US))
    ]
    index = ScheduleIndex.build(rows)
    known = [row(s, last_trading_date=friday, closed_until_us=friday * DAY_US) for s in "AB"]
    windows = recovery_windows((friday + 2) * DAY_US, known, index, RULES, 2 * MINUTE_US)
    ends = [friday * DAY_US + close_us + GRACE_US for close_us in
            (22 * 60 * MINUTE_US, (22 * 60 + 30) * MINUTE_US)]  # fmt: skip
    assert windows == [(end, end + 2 * MINUTE_US) for end in ends]


def test_the_last_minute_of_a_session_waits_for_its_close_tolerance() -> None:
    #  15:59          16:00        16:01:30   16:01:35
    #  |== last k ====|  tolerance |== grace ==|  due here; the minute before it as ever
    close_us = at("16:00:00")
    hours = ScheduleIndex.build(
        [SessionRow("DEMO", "EURUSD", MONDAY, 0, at("09:00:00"), close_us, 90 * SECOND_US)]
    )
    marks = {("DEMO", "EURUSD"): at("15:57:00")}
    early = plan(at("16:00:05"), [row()], hours, marks, RULES)
    assert minutes(early) == [("EURUSD", at("15:58:00"))]
    assert early.held_until_us == at("16:01:35")
    marks = early.marks()
    assert not len(plan(at("16:01:35") - 1, [row()], hours, marks, RULES))
    late = plan(at("16:01:35"), [row()], hours, marks, RULES)
    assert (minutes(late), late.held_until_us) == ([("EURUSD", at("15:59:00"))], None)
    # it was sent then, so a new leader looks for it there
    (window,) = recovery_windows(at("20:00:00"), [row()], hours, RULES, MINUTE_US)
    assert window == (at("16:01:35"), at("16:02:35"))


def test_a_series_met_within_the_tolerance_gets_the_heartbeat_that_still_comes_due() -> None:
    close_us = at("16:00:00")
    hours = ScheduleIndex.build(
        [SessionRow("DEMO", "EURUSD", MONDAY, 0, at("09:00:00"), close_us, 90 * SECOND_US)]
    )
    new = row(first_tick_us=-1)
    met = plan(at("16:00:10"), [new], hours, {}, RULES)
    assert not len(met)
    assert minutes(plan(at("16:01:35"), [new], hours, met.began, RULES)) == [
        ("EURUSD", at("15:59:00"))
    ]
