"""What a load changes: exactly its series within its dates."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session import encode_session, session_key, session_to_json
from barstream.feeds.schedule_load import (
    CurrentSchedule,
    ScheduleConflictError,
    ScheduleDifference,
    dates_of,
    difference,
    records_of_changes,
)
from barstream.market.schedule import SessionRow

HOUR_US = 3_600_000_000


def row(day: int, session: int = 0, hours: int = 8, symbol: str = "S") -> SessionRow:
    open_us = day * 24 * HOUR_US + session * 12 * HOUR_US
    return SessionRow("B", symbol, day, session, open_us, open_us + hours * HOUR_US)


def topic_with(*rows: SessionRow, partition: int = 0) -> ScheduleRows:
    held = ScheduleRows()
    for offset, each in enumerate(rows):
        held.apply(session_key(each), encode_session(each), partition, offset, offset * 1000)
    return held


def test_rows_absent_from_the_load_are_withdrawn_within_its_dates_only() -> None:
    #   in force   1  2  3  4  5     other series: 3
    #   load          2     4'
    current = topic_with(*[row(day) for day in range(1, 6)], row(3, symbol="OTHER"))
    wanted = [row(2), row(4, hours=4)]

    found = difference(current, wanted, dates_of(wanted))

    assert found == ScheduleDifference([], [(row(4), row(4, hours=4))], [row(3)], 1)


def test_a_range_given_withdraws_to_its_ends() -> None:
    current = topic_with(*[row(day) for day in range(1, 6)])
    wanted = [row(3)]

    found = difference(current, wanted, dates_of(wanted, 2, 4))

    assert found.withdrawn == [row(2), row(4)]


def test_a_session_that_goes_away_within_a_day_is_withdrawn() -> None:
    current = topic_with(row(1, 0), row(1, 1))

    found = difference(current, [row(1, 0)], dates_of([row(1, 0)]))

    assert found == ScheduleDifference([], [], [row(1, 1)], 1)


def test_a_row_outside_the_range_given_is_refused() -> None:
    with pytest.raises(ScheduleConflictError, match="outside the dates"):
        difference(topic_with(), [row(9)], dates_of([row(9)], 1, 5))


def test_a_load_that_would_overlap_what_stays_is_refused_with_both_shown() -> None:
    current = topic_with(row(1, hours=30))

    with pytest.raises(ScheduleConflictError, match="overlap") as refused:
        difference(current, [row(2)], dates_of([row(2)]))

    assert str(row(1, hours=30)) in str(refused.value)
    assert str(row(2)) in str(refused.value)


schedules = st.dictionaries(
    st.tuples(st.sampled_from(["S", "T"]), st.integers(1, 6), st.integers(0, 1)),
    st.integers(1, 11),
    max_size=12,
).map(lambda d: [row(day, session, hours, symbol) for (symbol, day, session), hours in d.items()])


@given(before=schedules, wanted=schedules.filter(bool))
def test_after_a_load_the_topic_holds_the_load_and_what_it_does_not_own(
    before: list[SessionRow], wanted: list[SessionRow]
) -> None:
    current, dates = topic_with(*before), dates_of(wanted)

    changes = difference(current, wanted, dates)
    by_partition = records_of_changes(CurrentSchedule(current, 4), changes)

    for partition, records in by_partition.items():
        for offset, (key, value) in enumerate(records, start=100):
            current.apply(key, value, partition, offset, 10**6)
    kept = [
        each
        for each in before
        if not (
            (owned := dates.get((each.broker, each.symbol)))
            and owned[0] <= each.trading_date <= owned[1]
        )
    ]
    after = [each for series in current.series() for each in current.rows_of(series)]
    assert set(after) == {*kept, *wanted}
    assert not difference(current, wanted, dates), "loading the same again changes nothing"


def test_a_session_of_another_producer_is_changed_and_withdrawn_where_it_lies() -> None:
    """Its key is not ours; a plain body of ours would be believed by nobody under it."""
    theirs = ScheduleRows()
    value = json.dumps(session_to_json(row(1))).encode()
    for partition in (2, 3):
        theirs.apply(b"eurusd monday", value, partition, 5, 1000)
    current = CurrentSchedule(theirs, 4)

    changed = records_of_changes(current, ScheduleDifference(changed=[(row(1), row(1, hours=2))]))
    withdrawn = records_of_changes(current, ScheduleDifference(withdrawn=[row(1)]))

    assert {p: [(b"eurusd monday", None)] for p in (2, 3)} == withdrawn
    for partition, records in changed.items():
        for key, new in records:
            theirs.apply(key, new, partition, 6, 2000)
    assert theirs.rows_of(("B", "S")) == [row(1, hours=2)]
    assert not theirs.refused
    written = [key for records in changed.values() for key, new in records if new is not None]
    assert written == [session_key(row(1))]


def test_a_session_under_our_key_in_another_spelling_changes_in_its_place() -> None:
    theirs = ScheduleRows()
    key = session_key(row(1)).lower()
    theirs.apply(key, encode_session(row(1)), 2, 5, 1000)

    changed = records_of_changes(
        CurrentSchedule(theirs, 4), ScheduleDifference(changed=[(row(1), row(1, hours=2))])
    )

    assert changed == {2: [(key, encode_session(row(1, hours=2)))]}


def test_a_tolerance_that_is_added_changes_a_session() -> None:
    tolerant = replace(row(1), close_tolerance_us=1_000_000)

    found = difference(topic_with(row(1), row(2)), [tolerant, row(2)], {("B", "S"): (1, 2)})

    assert found == ScheduleDifference([], [(row(1), tolerant)], [], 1)


def test_of_many_sessions_that_do_not_go_together_some_are_named() -> None:
    """Sessions that touch, as those of FX do, leave no room for a tolerance."""
    rows = [replace(row(day, hours=24), close_tolerance_us=1_000_000) for day in range(100)]

    with pytest.raises(ScheduleConflictError, match="close tolerance") as refused:
        difference(topic_with(), rows, dates_of(rows))

    assert str(refused.value).count("\n") < 25
    assert "and 79 more" in str(refused.value)
