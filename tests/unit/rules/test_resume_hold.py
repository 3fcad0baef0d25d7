"""When catching up may begin after an interval without acknowledgement."""

from __future__ import annotations

from barstream.model.time import MINUTE_US
from barstream.rules.resume_hold import ResumeRule

NOW_US = 1_000_000 * MINUTE_US
LONG_US = 10 * MINUTE_US


def test_after_failures_the_leader_holds_back_once_for_the_whole_hold() -> None:
    #  failing from 0 s       back at 40 s            70 s
    #  |xxxxxxxxxxxxxxxxxxxxxx|=== feeds deliver ====|-> catch up
    rule = ResumeRule(30.0)
    rule.failed(0.0)
    rule.failed(35.0)
    rule.took_over(NOW_US - MINUTE_US, 40.0)
    assert rule.hold_s(MINUTE_US, NOW_US, 40.0) == 30.0
    assert rule.hold_s(MINUTE_US, NOW_US, 65.0) == 5.0
    assert rule.hold_s(MINUTE_US, NOW_US, 70.0) == 0.0
    rule.acknowledged(NOW_US)
    assert rule.hold_s(LONG_US, NOW_US, 71.0) == 0.0  # the rest of the catch-up


def test_a_short_failure_is_a_retry_and_not_an_outage() -> None:
    rule = ResumeRule(30.0)
    rule.failed(0.0)
    rule.took_over(NOW_US, 3.0)
    assert rule.hold_s(MINUTE_US, NOW_US, 3.0) == 0.0


def test_a_leader_that_finds_minutes_long_overdue_and_no_sender_holds_back() -> None:
    rule = ResumeRule(30.0)
    rule.took_over(NOW_US - LONG_US, 0.0)
    assert rule.hold_s(LONG_US, NOW_US, 0.0) == 30.0
    assert rule.hold_s(LONG_US, NOW_US, 30.0) == 0.0
    assert rule.hold_s(LONG_US, NOW_US, 30.1) == 0.0  # not again for the same outage


def test_after_a_quiet_weekend_the_first_minute_is_not_held_back() -> None:
    rule = ResumeRule(30.0)
    rule.took_over(NOW_US - 48 * 60 * MINUTE_US, 0.0)
    assert rule.hold_s(0, NOW_US, 0.0) == 0.0


def test_a_series_that_joins_late_is_not_held_back_while_others_are_acknowledged() -> None:
    rule = ResumeRule(30.0)
    rule.took_over(NOW_US - MINUTE_US, 0.0)
    assert rule.hold_s(LONG_US, NOW_US, 0.0) == 0.0


def test_a_topic_without_any_heartbeat_knows_of_no_outage() -> None:
    rule = ResumeRule(30.0)
    rule.took_over(None, 0.0)
    assert rule.hold_s(LONG_US, NOW_US, 0.0) == 0.0


def test_an_outage_during_the_hold_starts_it_anew() -> None:
    rule = ResumeRule(30.0)
    rule.failed(0.0)
    rule.took_over(NOW_US, 40.0)
    rule.failed(50.0)
    rule.took_over(NOW_US, 65.0)
    assert rule.hold_s(MINUTE_US, NOW_US, 65.0) == 30.0
