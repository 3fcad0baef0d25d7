"""What a leader remembers of a round: only what the broker says it has, and when it got it."""

from __future__ import annotations

import numpy as np

from barstream.heartbeat.last_minute import Emitted
from barstream.heartbeat.producer import Appended
from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatPlan, HeartbeatRules
from barstream.rules.repeat_heartbeat import Repeat

RULES = HeartbeatRules(grace_us=5 * SECOND_US, inactive_after=5)
HOURS = AlwaysOpenIndex()
K_US = 28_000_000 * MINUTE_US
END_US = K_US - K_US % DAY_US + DAY_US
NAME = "DEMO", "A"


def seen(symbol: str = "A", partition: int = 0) -> SeriesSeen:
    return SeriesSeen("DEMO", symbol, partition, 0, 0, live=True, closed_until_us=-1)


def planned(*rows: SeriesSeen, repeats: tuple[Repeat, ...] = ()) -> HeartbeatPlan:
    """Minute `K_US` of each row, and repeats."""
    index = np.arange(len(rows))
    minute = np.full(len(rows), K_US)
    return HeartbeatPlan(END_US + DAY_US, rows, index, minute, 0, {}, 0, 0, 0, repeats)


def answer(at_us: int | None) -> Appended:
    return Appended(1, at_us, at_us)


def test_a_minute_advances_the_mark_once_its_heartbeat_counts() -> None:
    emitted, counts_us = Emitted(), RULES.closes_at(K_US)
    early = emitted.acknowledged(planned(seen()), {0: answer(counts_us - 1)}, 0, RULES, HOURS)
    assert (early, emitted.marks) == ((1, 0), {})
    done = emitted.acknowledged(planned(seen()), {0: answer(counts_us)}, 0, RULES, HOURS)
    assert (done, emitted.marks) == ((0, 0), {NAME: K_US})
    assert emitted.heard == {NAME: counts_us}


def test_a_partition_without_an_answer_changes_nothing() -> None:
    """A series whose partition the tick topic does not have is left out of the round."""
    emitted = Emitted()
    repeat = Repeat(seen("B", 7), K_US, END_US)
    due = planned(seen("A", 7), seen("C", 0), repeats=(repeat,))
    assert emitted.acknowledged(due, {0: answer(END_US)}, 0, RULES, HOURS) == (0, 0)
    assert set(emitted.marks) == set(emitted.heard) == {("DEMO", "C")}


def test_a_repeat_is_evidence_by_its_append_time_and_leaves_the_mark() -> None:
    """By a broker whose clock is slower the week was not over yet: it has to be sent again."""
    emitted = Emitted(marks={NAME: K_US + MINUTE_US})
    due, enough_us = planned(repeats=(Repeat(seen(), K_US, END_US),)), END_US + RULES.grace_us
    assert emitted.acknowledged(due, {0: answer(enough_us - 1)}, 0, RULES, HOURS) == (1, 0)
    assert emitted.heard == {NAME: enough_us - 1}
    assert emitted.acknowledged(due, {0: answer(enough_us)}, 0, RULES, HOURS) == (0, 1)
    assert emitted.heard == {NAME: enough_us}
    assert emitted.marks == {NAME: K_US + MINUTE_US}


def test_without_append_times_the_own_clock_counts() -> None:
    emitted = Emitted()
    assert emitted.acknowledged(planned(seen()), {0: answer(None)}, END_US, RULES, HOURS) == (0, 0)
    assert (emitted.marks, emitted.heard) == ({NAME: K_US}, {NAME: END_US})


def test_a_follower_takes_what_it_planned_as_sent_by_the_leader() -> None:
    """Or it would plan it again every minute and look busy."""
    emitted = Emitted()
    due = planned(seen(), repeats=(Repeat(seen("B"), K_US, END_US),))
    emitted.by_another(due)
    assert emitted.marks == {NAME: K_US}
    assert emitted.heard == {("DEMO", "B"): due.now_us}


def test_what_was_heard_of_a_series_is_forgotten_with_its_schedule() -> None:
    """A heartbeat that was no evidence then, because sessions were left, may be lacking now."""
    emitted = Emitted({NAME: K_US}, {NAME: END_US, ("DEMO", "B"): END_US})
    emitted.schedule_changed([NAME, ("DEMO", "NEW")])
    assert (emitted.marks, emitted.heard) == ({NAME: K_US}, {("DEMO", "B"): END_US})


def test_a_heartbeat_within_the_close_tolerance_of_its_minute_does_not_count_yet() -> None:
    """The sessions may have got a tolerance between the plan and the answer: it is sent again."""
    row, close_us = seen(), K_US + MINUTE_US
    session = SessionRow("DEMO", "A", 0, 0, K_US, close_us, 30 * SECOND_US)
    hours, emitted = ScheduleIndex.build([session]), Emitted()
    counts_us = close_us + 30 * SECOND_US + RULES.grace_us
    early = emitted.acknowledged(planned(row), {0: answer(counts_us - 1)}, 0, RULES, hours)
    assert (early, emitted.marks) == ((1, 0), {})
    done = emitted.acknowledged(planned(row), {0: answer(counts_us)}, 0, RULES, hours)
    assert (done, emitted.marks) == ((0, 0), {NAME: K_US})
