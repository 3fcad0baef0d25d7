"""Each reason for a missing final, from facts alone, and which of two reasons comes first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from barstream.explain.absence import AbsenceReason, why_no_final
from barstream.explain.facts import Neighbours, RuleFacts, Scheduled, Stand
from barstream.explain.sessions import session_of
from barstream.market.schedule import RowsSchedule
from barstream.model.period import MINUTE
from barstream.model.time import DAY_US, MINUTE_US
from tests.explain_facts import (
    DATE,
    MONDAY_US,
    ROW,
    ROWS,
    SCHEDULE,
    SECOND_US,
    bar,
    beat,
    facts,
    minute,
    open_bar,
    tick,
    version,
)


def reason(minute_us: int, **changes: Any) -> AbsenceReason:
    return why_no_final(facts(minute_us, **changes)).reason


LIVE = replace(ROW, live=True)
LATER = Neighbours(after=version(bar(minute(9), 9), appended_us=MONDAY_US), earliest_us=minute(1))


def test_no_series_at_all() -> None:
    nothing: dict[str, Any] = {"row": None, "seen": None, "stand": None}
    assert reason(minute(1), **nothing) is AbsenceReason.NEVER_SEEN
    unscheduled = {"scheduled": Scheduled(None), "refused_before": {"unscheduled": 3}}
    assert reason(minute(1), **nothing, **unscheduled) is AbsenceReason.UNSCHEDULED
    assert reason(minute(1), **nothing, refused_before={"invalid": 1}) is AbsenceReason.NO_PRICE
    waiting = nothing | {"stand": Stand(0, None, 0, 1), "unapplied": tick(0, minute(1))}
    assert reason(minute(1), **waiting) is AbsenceReason.NOT_APPLIED


def test_of_a_series_without_a_tick_in_session_it_is_said_that_others_are_only_counted() -> None:
    nothing: dict[str, Any] = {"row": None, "seen": None}
    said = why_no_final(facts(minute(10), **nothing)).sentence
    assert "was ever seen in the tick topic in one of its sessions" in said
    assert "only counted" in said
    assert "no session after it" in said
    unknown = why_no_final(facts(minute(1), scheduled=Scheduled(None), **nothing)).sentence
    assert "it has no schedule either" in unknown


def test_a_series_that_another_application_has_seen_is_not_applied_here() -> None:
    assert reason(minute(1), row=None, stand=Stand(0, None, 0, 2)) is AbsenceReason.NOT_APPLIED


def test_a_schedule_that_was_withdrawn_or_is_refused() -> None:
    assert reason(minute(1), scheduled=Scheduled(None)) is AbsenceReason.UNSCHEDULED
    refused = why_no_final(facts(minute(1), scheduled=Scheduled(None, refused=("two overlap",))))
    assert "two overlap" in refused.sentence


@pytest.mark.parametrize(
    ("minute_us", "expected"),
    [
        (minute(10), AbsenceReason.OFF_SESSION),
        (minute(0), AbsenceReason.BEFORE_FIRST_PRICE),
        # inactive after two dates: the first is the tick's own, then 2nd and 3rd, asleep on the 4th
        (minute(0, day=3), AbsenceReason.ASLEEP),
        (minute(9, day=2), AbsenceReason.HISTORICAL),
        (minute(3), AbsenceReason.HISTORICAL),
    ],
)
def test_by_the_place_of_the_minute(minute_us: int, expected: AbsenceReason) -> None:
    assert reason(minute_us) is expected


def test_a_series_that_slept_and_woke_is_asleep_up_to_the_waking_tick_only() -> None:
    woken = replace(
        ROW,
        open_bars=(open_bar(minute(4, day=5), DATE + 5),),
        watermark_us=minute(5, day=5),
        closed_until_us=minute(4, day=5),
        last_trading_date=DATE + 5,
    )
    beside = Neighbours(real_before=version(bar(minute(3), 9)), earliest_us=minute(1))
    waking = tick(7, minute(4, day=5) + SECOND_US)
    found = why_no_final(facts(minute(3, day=5), row=woken, neighbours=beside, woken_by=waking))
    assert found.reason is AbsenceReason.ASLEEP
    assert "the tick at offset 7 with event time 2024-01-06T06:04:01Z" in found.sentence
    assert reason(minute(4, day=5), row=woken, neighbours=beside) is AbsenceReason.HISTORICAL


@pytest.mark.parametrize(
    ("minute_us", "reason"),
    [(minute(0, day=3), AbsenceReason.ASLEEP), (minute(0), AbsenceReason.BEFORE_FIRST_PRICE)],
)
def test_ticks_that_came_in_a_second_partition_are_told_first(
    minute_us: int, reason: AbsenceReason
) -> None:
    """That the series slept is true, and not why somebody who sent ticks misses a bar."""
    stray = tuple(replace(tick(at, minute_us + at), partition=3) for at in range(2))
    found = why_no_final(facts(minute_us, elsewhere=stray))
    assert found.reason is reason
    assert found.sentence.startswith(
        "2 ticks came in partition 3 and made no bar, because the series is at home in partition 0"
    )
    assert found.what_to_do == "send all ticks of a series to one partition"


def test_open_minutes_of_a_live_series_follow_the_clock() -> None:
    #      end      grace 5 s, feed delay 20 s
    #  k   k+1m     |      | due
    at = minute(3)
    late = RuleFacts(5 * SECOND_US, feed_delay_us=20 * SECOND_US)

    def when(after_s: int, **changes: Any) -> AbsenceReason:
        changed = {"row": LIVE, "rules": late} | changes
        return reason(at, now_us=at + MINUTE_US + after_s * SECOND_US, **changed)

    assert when(-1) is AbsenceReason.NOT_OVER
    assert when(-1, row=ROW) is AbsenceReason.NOT_OVER
    assert when(24) is AbsenceReason.NOT_OVER
    assert when(24, row=ROW) is AbsenceReason.HISTORICAL
    assert when(25) is AbsenceReason.HEARTBEAT_NOT_SENT
    off = replace(late, heartbeats=False)
    assert when(25, rules=off) is AbsenceReason.HEARTBEATS_OFF


def test_a_heartbeat_waits_for_its_barrier_or_is_not_used_yet_or_was_illegal() -> None:
    at = minute(3)
    assert reason(at, row=LIVE, beats=(beat(0, at, 3),)) is AbsenceReason.WAITING_FOR_BARRIER
    assert reason(at, row=LIVE, beats=(beat(0, at, 2),)) is AbsenceReason.NOT_APPLIED
    assert reason(at, row=LIVE, beats=(beat(0, minute(7), 3),)) is AbsenceReason.WAITING_FOR_BARRIER
    early = beat(0, at, 2, appended_us=at)
    found = why_no_final(facts(at, row=LIVE, beats=(early,)))
    assert found.reason is AbsenceReason.HEARTBEAT_NOT_SENT
    assert "clock was ahead" in found.sentence


def test_a_tick_that_will_close_counts_before_a_heartbeat_that_waits() -> None:
    at = minute(3)
    closing = tick(2, minute(4) + 5 * SECOND_US)
    found = why_no_final(facts(at, row=LIVE, closing_tick=closing, beats=(beat(0, at, 3),)))
    assert found.reason is AbsenceReason.NOT_APPLIED
    assert "offset 2" in found.sentence


def test_a_closed_minute_without_bar_is_explained_by_a_newer_row_or_not_at_all() -> None:
    at = minute(2)
    assert reason(at, neighbours=LATER) is AbsenceReason.UNEXPLAINED
    session = facts(at).scheduled.session
    newer = Scheduled(SCHEDULE, session, row_appended_us=MONDAY_US + 1)
    assert reason(at, scheduled=newer, neighbours=LATER) is AbsenceReason.SCHEDULE_NEWER
    older = Scheduled(SCHEDULE, session, row_appended_us=MONDAY_US - 1)
    assert reason(at, scheduled=older, neighbours=LATER) is AbsenceReason.UNEXPLAINED
    # when it was passed is not known: a newer row is no excuse
    assert reason(at, scheduled=newer) is AbsenceReason.UNEXPLAINED


def test_deleted_bars() -> None:
    at = minute(2)
    tombstone = (version(bar(at, 2)), version(None, 1))
    assert reason(at, finals=tombstone) is AbsenceReason.DELETED
    later = Neighbours(earliest_us=minute(5))
    cut = {"finals_begin": 7, "neighbours": later, "row": replace(ROW, closed_until_us=minute(9))}
    assert reason(at, **cut) is AbsenceReason.DELETED
    assert reason(minute(5), **cut) is AbsenceReason.UNEXPLAINED
    assert reason(at, **cut | {"finals_begin": 0}) is AbsenceReason.UNEXPLAINED
    assert reason(minute(0), **cut) is AbsenceReason.BEFORE_FIRST_PRICE
    assert reason(minute(10), **cut) is AbsenceReason.OFF_SESSION


def test_off_session_names_both_neighbours_and_the_command_where_the_schedule_ends() -> None:
    before, after = SCHEDULE.session(0), SCHEDULE.session(1)
    between = why_no_final(facts(minute(30), scheduled=Scheduled(SCHEDULE, None, before, after)))
    assert between.what_to_do is None
    assert "2024-01-02" in between.sentence
    ended = why_no_final(facts(minute(30), scheduled=Scheduled(SCHEDULE, None, before)))
    assert "schedule load" in str(ended.what_to_do)


def tolerant(minute_us: int) -> Scheduled:
    """The sessions, each with 90 s of close tolerance."""
    schedule = RowsSchedule([replace(row, close_tolerance_us=90 * SECOND_US) for row in ROWS])
    session = session_of(schedule, MINUTE, minute_us)
    before = None if session else schedule.session(0)
    return Scheduled(schedule, session, before, row_appended_us=MONDAY_US - DAY_US)


def test_the_last_minute_of_a_session_is_not_over_within_its_close_tolerance() -> None:
    # 06:09 | 06:10 close, tolerance to 06:11:30 | grace to 06:11:35
    at, last = tolerant(minute(9)), minute(9)
    end_us = minute(11) + 30 * SECOND_US

    def when(now_us: int) -> AbsenceReason:
        return reason(last, row=LIVE, scheduled=at, now_us=now_us)

    assert when(end_us - 1) is AbsenceReason.NOT_OVER
    assert when(end_us + 5 * SECOND_US - 1) is AbsenceReason.NOT_OVER
    assert when(end_us + 5 * SECOND_US) is AbsenceReason.HEARTBEAT_NOT_SENT
    said = why_no_final(facts(last, row=LIVE, scheduled=at, now_us=end_us - 1))
    assert "2024-01-01T06:11:35Z (end of the close tolerance, grace 5.0 s)" in said.sentence
    # one that was appended before closes nothing
    early = (beat(0, last, 1, appended_us=end_us + 5 * SECOND_US - 1),)
    assert reason(last, row=LIVE, scheduled=at, beats=early) is AbsenceReason.HEARTBEAT_NOT_SENT
    legal = (beat(0, last, 3, appended_us=end_us + 5 * SECOND_US),)
    assert reason(last, row=LIVE, scheduled=at, beats=legal) is AbsenceReason.WAITING_FOR_BARRIER


def test_of_a_minute_after_the_close_the_ticks_are_named_that_are_in_the_session_before() -> None:
    off = facts(minute(10), scheduled=tolerant(minute(10)))
    print_us = minute(10) + 20 * SECOND_US
    assert not off.is_of_minute(tick(0, print_us))
    said = why_no_final(off)
    assert said.reason is AbsenceReason.OFF_SESSION
    assert "06:10:00Z, with ticks until 2024-01-01T06:11:30Z" in said.sentence
    assert facts(minute(9)).ticks_between == (minute(9), minute(10))
    last = facts(minute(9), scheduled=tolerant(minute(9)))
    assert last.ticks_between == (minute(9), minute(11) + 30 * SECOND_US)
    assert last.is_of_minute(tick(0, print_us))
