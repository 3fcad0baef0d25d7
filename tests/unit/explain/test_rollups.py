"""Which children an upper bar should have, and what it waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from barstream.codecs.topics.session import encode_session, session_key
from barstream.explain.absence import AbsenceReason
from barstream.explain.facts import Neighbours, Scheduled
from barstream.explain.rollups import UpperFacts, expected_children, explain_upper
from barstream.explain.sessions import bucket_of, session_of, written_at
from barstream.log.schedule import ScheduleRecord
from barstream.model.bar import Bar
from barstream.model.period import DAY, MINUTE, Period
from barstream.model.time import DAY_US
from tests.explain_facts import (
    DATE,
    MONDAY_US,
    ROW,
    ROWS,
    SCHEDULE,
    bar,
    beat,
    facts,
    minute,
    open_bar,
    version,
)

FIVE = Period.minutes(5)
WEEK = Period.weeks(1)


def upper(period: Period, bucket_us: int, *children: Bar, **changes: Any) -> UpperFacts:
    evidence = changes.pop("evidence", None)
    scheduled = Scheduled(SCHEDULE, session_of(SCHEDULE, period, bucket_us))
    of = facts(bucket_us, scheduled=scheduled, period=period, **changes)
    child = DAY if period.is_made_of_days else MINUTE
    return UpperFacts(of, child, tuple(map(version, children)), evidence)


def test_children_are_expected_from_the_first_price_to_the_end_of_the_session() -> None:
    assert expected_children(upper(FIVE, minute(0))) == [minute(n) for n in (1, 2, 3, 4)]
    assert expected_children(upper(FIVE, minute(5))) == [minute(n) for n in range(5, 10)]
    whole = expected_children(upper(DAY, DATE * DAY_US))
    assert whole == [minute(n) for n in range(1, 10)]


def test_no_children_are_expected_while_asleep_and_from_the_waking_minute_on_there_are() -> None:
    assert expected_children(upper(DAY, (DATE + 3) * DAY_US)) == []
    woken = replace(
        ROW,
        open_bars=(open_bar(minute(4, day=5), DATE + 5),),
        watermark_us=minute(5, day=5),
        closed_until_us=minute(4, day=5),
        last_trading_date=DATE + 5,
    )
    before = Neighbours(real_before=version(bar(minute(3), 9)))
    day = upper(DAY, (DATE + 5) * DAY_US, row=woken, neighbours=before)
    assert expected_children(day) == [minute(n, day=5) for n in range(4, 10)]
    week = upper(WEEK, DATE * DAY_US, row=woken, neighbours=before)
    assert expected_children(week) == [(DATE + n) * DAY_US for n in (0, 1, 2, 5, 6)]
    assert explain_upper(week).waits_for_us == minute(4, day=5)


def test_an_open_bar_waits_for_the_first_minute_that_is_not_closed() -> None:
    found = explain_upper(upper(FIVE, minute(0), bar(minute(1), 2), bar(minute(2), 2)))
    assert (found.of.status, found.of.reason) == ("open", AbsenceReason.WAITING_FOR_CHILDREN)
    assert found.waits_for_us == minute(3)
    assert (found.counts.expected, found.counts.real, found.counts.missing) == (
        4, 2, (minute(3), minute(4)),
    )  # fmt: skip


def test_a_bar_before_the_first_price_or_off_session_is_none() -> None:
    late = replace(ROW, first_tick_us=minute(7))
    assert (
        explain_upper(upper(FIVE, minute(0), row=late)).of.reason
        is AbsenceReason.BEFORE_FIRST_PRICE
    )
    assert explain_upper(upper(FIVE, minute(30))).of.reason is AbsenceReason.OFF_SESSION


def test_a_closed_bucket_without_final_is_asleep_deleted_or_unexplained() -> None:
    closed = replace(ROW, closed_until_us=minute(0, day=9))
    asleep = upper(DAY, (DATE + 3) * DAY_US, row=closed)
    assert explain_upper(asleep).of.reason is AbsenceReason.ASLEEP
    without = explain_upper(upper(FIVE, minute(0), row=closed))
    assert (without.of.reason, without.told_by_us) == (AbsenceReason.NO_CHILDREN, minute(1))
    with_one = upper(FIVE, minute(0), bar(minute(1), 2), row=closed)
    assert explain_upper(with_one).of.reason is AbsenceReason.UNEXPLAINED
    cut = upper(
        FIVE, minute(0), row=closed, finals_begin=5, neighbours=Neighbours(earliest_us=minute(8))
    )
    assert explain_upper(cut).of.reason is AbsenceReason.DELETED


def test_a_week_waits_for_a_later_row_or_for_evidence_that_it_is_over() -> None:
    # the schedule ends on the Wednesday of the second week
    week_us = (DATE + 7) * DAY_US
    row = replace(
        ROW, closed_until_us=minute(10, day=9), watermark_us=minute(9, day=9),
        last_trading_date=DATE + 9,
    )  # fmt: skip
    waiting = upper(WEEK, week_us, row=row)
    assert explain_upper(waiting).of.reason is AbsenceReason.SCHEDULE_ENDS
    over = upper(WEEK, week_us, row=row, evidence=beat(0, minute(9, day=9), 2))
    assert explain_upper(over).of.reason is AbsenceReason.UNEXPLAINED


def test_values_are_given_by_children_with_ticks_when_there_are_any() -> None:
    flat = bar(minute(1), 2, 9.0, synthetic=True, tick_count=0)
    low, high = bar(minute(2), 3, 1.0), bar(minute(3), 4, 3.0)
    found = explain_upper(upper(FIVE, minute(0), flat, low, high))
    assert found.givers == {
        "open": minute(2), "high": minute(3), "low": minute(2), "close": minute(3),
    }  # fmt: skip


def test_an_anchored_bucket_begins_with_the_session_its_time_lies_in() -> None:
    anchored = Period.minutes(7, anchor="session")
    assert bucket_of(SCHEDULE, anchored, minute(8) + 1) == minute(7)
    assert bucket_of(SCHEDULE, Period.hours(1), minute(8) + 1) == MONDAY_US
    assert bucket_of(None, DAY, minute(8)) == DATE * DAY_US


def test_a_row_is_as_old_as_the_first_record_that_says_the_same() -> None:
    def record(offset: int, close_us: int | None) -> ScheduleRecord:
        row = replace(ROWS[0], close_us=close_us or ROWS[0].close_us)
        value = None if close_us is None else encode_session(row)
        return ScheduleRecord(0, offset, 100 + offset, session_key(row), value)

    session = SCHEDULE.session(0)
    same, other = ROWS[0].close_us, ROWS[0].close_us + 1

    def when(*closes: int | None) -> int | None:
        records = [record(offset, close) for offset, close in enumerate(closes)]
        return written_at(records, "B", "S", session)

    assert when(same, same) == 100
    assert when(other, same) == 101
    assert when(same, None, same, same) == 102
    assert when(same, None) is None


def test_rows_of_other_series_need_not_be_read_and_those_of_other_producers_do() -> None:
    row = ROWS[0]
    ours = ScheduleRecord(0, 0, 0, session_key(row), encode_session(row))
    assert ours.may_be_of("B", "S")
    assert not ours.may_be_of("B", "SS")
    spelled = replace(ours, key=b" b\0s \0" + session_key(row).split(b"\0", 2)[2])
    assert spelled.may_be_of("B", "S"), "its key says the same, written otherwise"
    assert replace(ours, value=None).may_be_of("B", "S"), "a session that is withdrawn"
    for value in (b"{}", b"\0\0\0\0\1\2"):
        assert replace(ours, key=b"any", value=value).may_be_of("B", "S")
