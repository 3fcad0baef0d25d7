"""What closed a final, which tick gave what, and what is not talked away."""

from __future__ import annotations

from dataclasses import replace

from barstream.codecs.topics.rules import RulesRow
from barstream.explain.facts import Neighbours, RejectionFact, RuleFacts, Scheduled, Stand
from barstream.explain.verdict import explain
from barstream.log.rules import Regime, Regimes
from barstream.market.schedule import ScheduleIndex
from barstream.market.session import RowsSchedule, SessionRow
from tests.explain_facts import (
    DATE,
    SCHEDULE,
    SECOND_US,
    bar,
    beat,
    facts,
    minute,
    tick,
    version,
)

AT = minute(1)
TICKS = (tick(0, AT + 20 * SECOND_US, 5.0), tick(1, AT + 10 * SECOND_US, 7.0), tick(2, AT, 7.0))
BAR = bar(AT, 4, open=7.0, high=7.0, low=5.0, close=5.0, tick_count=3, last_offset=2)


def test_open_is_the_earliest_close_the_latest_and_of_equal_prices_the_first_offset() -> None:
    found = explain(facts(AT, finals=(version(BAR),), ticks=TICKS))
    assert found.parts is not None
    parts = found.parts
    assert (parts.open.offset, parts.high.offset, parts.low.offset, parts.close.offset) == (
        2, 1, 0, 0,
    )  # fmt: skip
    assert parts.agrees


def test_a_bar_its_ticks_do_not_give_is_said_to_disagree() -> None:
    wrong = BAR.replace(close=7.0)
    found = explain(facts(AT, finals=(version(wrong),), ticks=TICKS))
    assert found.parts is not None
    assert not found.parts.agrees
    assert any("barstream verify" in note for note in found.notes)


def test_ticks_at_or_after_the_close_offset_and_rejected_ones_are_not_in_the_bar() -> None:
    late = tick(9, AT + 30 * SECOND_US, 99.0)
    refused = tick(3, AT + 30 * SECOND_US, 98.0)
    rejected = tuple(RejectionFact(one, "late", "", 0) for one in (refused, late))
    found = explain(
        facts(AT, finals=(version(BAR),), ticks=(*TICKS, refused, late), rejected=rejected)
    )
    assert [one.offset for one in found.places.accepted] == [0, 1, 2]
    assert "2 late" in " ".join(found.notes)


def test_the_tick_before_the_close_offset_closed_it_when_it_passes_the_grace() -> None:
    closing = tick(3, minute(2) + 5 * SECOND_US)
    beats = (beat(0, AT, 4),)
    found = explain(facts(AT, finals=(version(BAR),), until_close=(closing,), beats=beats))
    assert found.closing is not None
    assert (found.closing.by, found.closing.tick) == ("watermark", closing)


def test_a_tick_from_the_future_closed_nothing() -> None:
    ahead = replace(tick(3, minute(2) + 5 * SECOND_US), appended_us=AT)
    closing = explain(facts(AT, finals=(version(BAR),), until_close=(ahead,))).closing
    assert closing is not None
    assert closing.by == "unproven"


def test_where_the_rules_are_not_told_the_published_close_says_which_tick_it_was() -> None:
    # by the grace of now the tick at 1 had passed the minute; then it was longer
    ticks = tick(1, minute(2) + 5 * SECOND_US), tick(3, minute(3))
    closing = explain(facts(AT, finals=(version(BAR),), until_close=ticks)).closing
    assert closing is not None
    assert (closing.by, closing.tick) == ("watermark", ticks[1])


def test_a_tick_anywhere_else_did_not_close_it_whatever_its_time() -> None:
    later = tick(7, minute(2) + 5 * SECOND_US)
    found = explain(facts(AT, finals=(version(BAR),), closing_tick=later, beats=(beat(0, AT, 4),)))
    assert found.closing is not None
    assert found.closing.by == "heartbeat"


def test_a_tick_behind_the_close_offset_is_not_in_the_bar_though_nothing_rejected_it_yet() -> None:
    behind = tick(4, AT + 30 * SECOND_US, 99.0)
    found = explain(facts(AT, finals=(version(BAR),), ticks=(*TICKS, behind)))
    assert [one.offset for one in found.places.accepted] == [0, 1, 2]


def test_the_first_legal_heartbeat_with_a_barrier_below_closed_it() -> None:
    early = beat(0, AT, 4, appended_us=AT)
    beyond, right, second = beat(1, AT, 5), beat(2, minute(2), 3), beat(3, AT, 4)
    found = explain(facts(AT, finals=(version(BAR),), beats=(early, beyond, right, second)))
    assert found.closing is not None
    assert (found.closing.by, found.closing.beat) == ("heartbeat", right)
    assert "past its barrier 3" in found.closing.sentence
    at_barrier = explain(facts(AT, finals=(version(BAR),), beats=(second,))).closing
    assert at_barrier is not None
    assert "at its barrier" in at_barrier.sentence


def test_what_the_log_does_not_show_is_unproven() -> None:
    for beats in ((), (beat(0, AT, 5),)):
        closing = explain(facts(AT, finals=(version(BAR),), beats=beats)).closing
        assert closing is not None
        assert closing.by == "unproven"


def test_the_oldest_version_says_what_closed_it_and_a_revision_alone_only_what_revised_it() -> None:
    revise = RuleFacts(5 * SECOND_US, late_policy="revise")
    late = tick(8, AT + 1, 9.0)
    revised = BAR.replace(high=9.0, tick_count=4, revision=1, close_offset=9)
    closing = tick(3, minute(2) + 5 * SECOND_US)
    ticks = (*TICKS, late)
    both = facts(
        AT, finals=(version(BAR), version(revised, 1)), until_close=(closing,), ticks=ticks,
        rules=revise,
    )  # fmt: skip
    found = explain(both)
    assert found.closing is not None
    assert found.closing.by == "watermark"
    assert found.parts is not None
    assert found.parts.high == late
    alone = explain(replace(both, finals=(version(revised, 1),), until_close=(late,)))
    assert alone.closing is not None
    assert alone.closing.by == "unproven"
    assert "late tick at offset 8" in alone.closing.sentence


def test_a_bar_that_a_late_tick_made() -> None:
    late = tick(8, AT + 1, 9.0)
    one = bar(AT, 9, 9.0, first_offset=8, last_offset=8)
    revise = RuleFacts(5 * SECOND_US, late_policy="revise")
    known = facts(AT, finals=(version(one),), ticks=(late,), rules=revise, until_close=(late,))
    found = explain(known)
    assert found.closing is not None
    assert (found.closing.by, found.closing.tick) == ("late_tick", late)

    # the ordinary close of a live minute: its last tick, then the heartbeat sent after it
    in_time = explain(replace(known, beats=(beat(0, AT, 9),))).closing
    assert in_time is not None
    assert in_time.by == "heartbeat"
    # the heartbeat was sent before the tick: which of the two came first nobody can tell ...
    either = explain(replace(known, beats=(beat(0, AT, 8),))).closing
    assert either is not None
    assert (either.by, "either" in either.sentence) == ("unproven", True)
    # ... but for a bar behind it that was closed before
    after = Neighbours(after=version(bar(minute(2), 8)))
    told = explain(replace(known, beats=(beat(0, AT, 8),), neighbours=after)).closing
    assert told is not None
    assert told.by == "late_tick"


def test_a_minute_filled_after_a_bar_that_a_late_tick_made() -> None:
    late = tick(8, AT + 1, 9.0)
    flat = bar(minute(2), 9, 9.0, synthetic=True, tick_count=0, first_offset=None, last_offset=None)
    revise = RuleFacts(5 * SECOND_US, late_policy="revise")
    known = facts(minute(2), finals=(version(flat),), rules=revise, until_close=(late,))
    closing = explain(known).closing
    assert closing is not None
    assert (closing.by, closing.tick) == ("late_tick", late)
    assert "2024-01-01T06:01:00Z" in closing.sentence


def test_a_synthetic_bar_takes_its_price_from_the_last_real_one() -> None:
    at = minute(2)
    flat = bar(at, 4, synthetic=True, tick_count=0, volume=0.0, first_offset=None, last_offset=None)
    source = version(bar(AT, 4))
    found = explain(facts(at, finals=(version(flat),), neighbours=Neighbours(real_before=source)))
    assert (found.status, found.price_from) == ("final", source)


def test_a_bar_keeps_what_it_was_judged_by_when_the_schedule_changes() -> None:
    gone = Scheduled(SCHEDULE, None)
    found = explain(facts(AT, finals=(version(BAR),), ticks=TICKS, scheduled=gone))
    assert found.status == "final"
    assert any("schedule has changed" in note for note in found.notes)
    assert found.parts is not None
    assert found.parts.agrees


def test_a_tick_that_was_late_and_was_taken_in_by_a_switch_over_is_one_of_the_bar() -> None:
    # a replay with a longer grace: the close moved from 4 to 9, and the tick at 5 is in time
    late = tick(5, AT + 1, 9.0)
    rejected = (RejectionFact(late, "late", "", 0),)
    revised = BAR.replace(high=9.0, tick_count=4, revision=1, close_offset=9, last_offset=5)
    both = facts(
        AT, finals=(version(BAR), version(revised, 1)), ticks=(*TICKS, late), rejected=rejected
    )
    found = explain(both)
    assert found.parts is not None
    assert (found.parts.agrees, found.parts.high) == (True, late)
    assert any("1 tick rejected as late" in note for note in found.notes)

    never_revised = explain(replace(both, finals=(version(revised.replace(revision=0)),)))
    assert never_revised.parts is not None
    assert not never_revised.parts.agrees, "nothing but a revision takes a rejected tick in"


def in_turn(*regimes: tuple[int, int, int, RowsSchedule | None]) -> Regimes[ScheduleIndex]:
    """Regimes of (first tick offset, first heartbeat offset, grace in seconds, sessions)."""
    index = ScheduleIndex()
    found = []
    for begin, heartbeat_begin, grace_s, schedule in regimes:
        rules = RulesRow(grace_s * SECOND_US, 5 * SECOND_US, "reject", 2, False, "tests")
        then = ScheduleIndex({} if schedule is None else {("B", "S"): schedule})
        found.append(Regime(begin, heartbeat_begin, rules, then))
    return Regimes(found, index)


def test_a_shorter_grace_that_a_worker_went_on_with_closed_it() -> None:
    # 60 s of grace up to offset 4, then 5 s; the tick at 3 had passed by these only
    reached = tick(3, minute(2) + 10 * SECOND_US)
    regimes = in_turn((0, 0, 60, SCHEDULE), (4, 1, 5, SCHEDULE))
    known = facts(
        AT, finals=(version(BAR),), ticks=TICKS, regimes=regimes,
        until_close=(tick(2, minute(2) + 6 * SECOND_US), reached),
    )  # fmt: skip
    closing = explain(known).closing
    assert closing is not None
    assert (closing.by, closing.tick) == ("grace", reached)
    assert "5.0 s instead of 60.0 s" in closing.sentence
    # a heartbeat the worker before had used at that place came first, one behind it did not
    late_us = minute(4)
    before = explain(replace(known, beats=(beat(0, AT, 4, late_us),))).closing
    assert before is not None
    assert before.by == "heartbeat"
    behind = explain(replace(known, beats=(beat(1, AT, 4, late_us),))).closing
    assert behind is not None
    assert behind.by == "grace"


def test_a_bar_that_should_have_closed_before_is_sent_to_verify() -> None:
    # 5 s of grace all along: the tick at 3 closes 06:01, and the bar says 9
    passed = tick(3, minute(2) + 5 * SECOND_US)
    wrong = facts(
        AT, finals=(version(BAR.replace(close_offset=9)),), ticks=TICKS, until_close=(passed,),
        regimes=in_turn((0, 0, 5, SCHEDULE)),
    )  # fmt: skip
    closing = explain(wrong).closing
    assert closing is not None
    assert closing.by == "unproven"
    assert "offset 3" in closing.sentence
    assert "should be 4 and is 9: `barstream verify B S`" in closing.sentence
    # by rules that the log does not tell, nobody is accused
    untold = explain(replace(wrong, regimes=None)).closing
    assert untold is not None
    assert "should be" not in untold.sentence


def test_a_heartbeat_that_was_used_before_the_next_worker_took_over_closes_nothing_after() -> None:
    for begin, grace_s, by in ((3, 6, "unproven"), (3, 5, "unproven"), (4, 6, "heartbeat")):
        regimes = in_turn((0, 0, 5, SCHEDULE), (begin, 1, grace_s, SCHEDULE))
        known = facts(
            AT, finals=(version(BAR),), ticks=TICKS, regimes=regimes, beats=(beat(0, AT, 1),)
        )
        closing = explain(known).closing
        assert closing is not None
        assert closing.by == by


def test_a_heartbeat_is_judged_by_the_grace_with_which_it_was_taken() -> None:
    # appended 30 s after its minute: too early for 60 s of grace, which held for it
    early = beat(0, AT, 4, minute(2) + 30 * SECOND_US)
    for grace_s, by in ((60, "unproven"), (5, "heartbeat")):
        regimes = in_turn((0, 0, grace_s, SCHEDULE), (9, 1, 5, SCHEDULE))
        known = facts(AT, finals=(version(BAR),), ticks=TICKS, regimes=regimes, beats=(early,))
        closing = explain(known).closing
        assert closing is not None
        assert closing.by == by


def test_each_tick_is_judged_by_the_sessions_at_its_own_offset() -> None:
    # no row | an open at 06:01:15 | the whole hour: three ticks, one of each
    opens = AT + 15 * SECOND_US
    part = RowsSchedule([SessionRow("B", "S", DATE, 0, opens, AT + 600 * SECOND_US)])
    regimes = in_turn((0, 0, 5, None), (1, 0, 5, part), (2, 0, 5, SCHEDULE))
    one = BAR.replace(open=7.0, low=7.0, close=7.0, tick_count=1, first_offset=2)
    found = explain(facts(AT, finals=(version(one),), ticks=TICKS, regimes=regimes))
    assert [each.offset for each in found.places.accepted] == [2]
    told = [(each.tick.offset, each.reason) for each in found.places.rejected]
    assert told == [(0, "unscheduled"), (1, "off_session")]
    assert all("came later" in each.detail for each in found.places.rejected)
    assert "1 unscheduled, 1 off_session" in " ".join(found.notes)
    assert found.parts is not None
    assert found.parts.agrees


def test_ticks_that_are_not_applied_yet_wait() -> None:
    found = explain(facts(AT, ticks=TICKS, stand=Stand(0, 2, 0, 3)))
    assert [each.offset for each in found.places.waiting] == [2]


def test_where_the_log_does_not_say_the_sessions_the_number_of_ticks_decides() -> None:
    gone = Scheduled(RowsSchedule([SessionRow("B", "S", DATE, 0, AT, AT + SECOND_US)]), None)
    found = explain(facts(AT, finals=(version(BAR),), ticks=TICKS, scheduled=gone))
    assert [each.offset for each in found.places.accepted] == [0, 1, 2]
