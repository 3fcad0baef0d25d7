"""Which schedule rows may be the reason for what a bar is."""

from __future__ import annotations

import pytest

from barstream.codecs.session import encode_session, session_key
from barstream.core.sessions import SessionRow
from barstream.core.time import DAY_US, MINUTE_US, SECOND_US
from barstream.history.schedule import ScheduleRecord
from barstream.verify.changes import ScheduleChanges

DATE = 19_800
NOON_US = DATE * DAY_US + DAY_US // 2
ROW = SessionRow("X", "A", DATE, 0, DATE * DAY_US, (DATE + 1) * DAY_US)
GRACE_US = 5 * SECOND_US


def changed_at(appended_us: int, value: bytes | None = encode_session(ROW)) -> ScheduleChanges:
    record = ScheduleRecord(0, 0, appended_us, session_key(ROW), value)
    return ScheduleChanges([record], GRACE_US)


#            tick judged        row        bar written
#   ------------|----------------|--------------|------->
#               |<-- 1m + grace + time to read ->|
@pytest.mark.parametrize(
    ("row_after_bar_us", "may_be_the_reason"),
    [
        (SECOND_US, True),
        (-MINUTE_US - GRACE_US, True),
        (-2 * MINUTE_US - GRACE_US + 1, True),
        (-2 * MINUTE_US - GRACE_US, False),
        (-DAY_US, False),
    ],
)
def test_a_row_explains_what_was_judged_before_it_was_read(
    row_after_bar_us: int, may_be_the_reason: bool
) -> None:
    bar_us = NOON_US + 3 * MINUTE_US
    changes = changed_at(bar_us + row_after_bar_us)
    assert changes.explain(("X", "A"), NOON_US, bar_us) is may_be_the_reason


def test_a_withdrawn_row_explains_as_a_new_one_does() -> None:
    assert changed_at(NOON_US + 1, None).explain(("X", "A"), NOON_US, NOON_US)


def test_rows_of_other_series_and_of_far_dates_explain_nothing() -> None:
    changes = changed_at(NOON_US + 1)
    assert not changes.explain(("X", "B"), NOON_US, NOON_US)
    assert not changes.explain(("X", "A"), NOON_US + 3 * DAY_US, NOON_US)
