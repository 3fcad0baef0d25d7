"""Which schedule rows may be the reason for what a bar is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barstream.codecs.topics.session import encode_session, session_key
from barstream.log.schedule import ScheduleRecord
from barstream.market.session import SessionRow
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from barstream.verify.schedule_changes import ScheduleChanges
from tests.property.verify_cases import untold

DATE = 19_800
NOON_US = DATE * DAY_US + DAY_US // 2
ROW = SessionRow("X", "A", DATE, 0, DATE * DAY_US, (DATE + 1) * DAY_US)
GRACE_US = 5 * SECOND_US


FIRST_US = NOON_US - DAY_US


def row_at(appended_us: int, row: SessionRow = ROW, *, withdraws: bool = False) -> ScheduleRecord:
    value = None if withdraws else encode_session(row)
    return ScheduleRecord(0, 0, appended_us, session_key(row), value)


def changed_at(appended_us: int, *, withdraws: bool = False) -> ScheduleChanges:
    """The rows of a date were loaded long before, and one of them changed."""
    return ScheduleChanges(
        [row_at(FIRST_US), row_at(appended_us, withdraws=withdraws)], GRACE_US, untold()
    )


#            tick judged        row        bar written
#   ------------|----------------|--------------|------->
#               |<-- 1m + grace + time to read ->|
@pytest.mark.parametrize(
    ("row_after_bar_us", "may_be_the_reason"),
    [
        (SECOND_US, True),
        (-MINUTE_US - GRACE_US, True),
        (-MINUTE_US - GRACE_US - 5 * SECOND_US + 1, True),
        (-MINUTE_US - GRACE_US - 5 * SECOND_US, False),
        (-DAY_US // 4, False),
    ],
)
@pytest.mark.parametrize("withdraws", [False, True])
def test_a_change_explains_what_was_judged_before_it_was_read(
    row_after_bar_us: int, may_be_the_reason: bool, withdraws: bool
) -> None:
    bar_us = NOON_US + 3 * MINUTE_US
    changes = changed_at(bar_us + row_after_bar_us, withdraws=withdraws)
    assert changes.explain(("X", "A"), NOON_US, bar_us, None) is may_be_the_reason


@pytest.mark.parametrize(
    ("row_after_bar_us", "may_be_the_reason"),
    [(SECOND_US, True), (-4 * SECOND_US, True), (-5 * SECOND_US, False)],
)
def test_the_first_rows_of_a_date_excuse_no_bar_that_came_after_them(
    row_after_bar_us: int, may_be_the_reason: bool
) -> None:
    loaded_us = NOON_US + row_after_bar_us
    # one load: sessions of several dates, one after the other
    rows = [
        row_at(loaded_us - 100 * number, replace(ROW, trading_date=DATE + number, session=number))
        for number in (1, 0)
    ]
    changes = ScheduleChanges(rows, GRACE_US, untold())
    assert changes.explain(("X", "A"), NOON_US, NOON_US, None) is may_be_the_reason


def test_what_was_never_written_is_explained_by_nothing() -> None:
    assert not changed_at(NOON_US).explain(("X", "A"), NOON_US, None, None)


def test_rows_of_other_series_and_of_far_dates_explain_nothing() -> None:
    changes = changed_at(NOON_US + 1)
    assert not changes.explain(("X", "B"), NOON_US, NOON_US, None)
    assert not changes.explain(("X", "A"), NOON_US + 3 * DAY_US, NOON_US, None)
