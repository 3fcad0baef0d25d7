"""A close tolerance that changed after bars were made by it: they are right as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.rules import RulesRow
from barstream.market.schedule import SessionRow
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.rules.series import Rules
from tests.property.engine_cases import Case, Tick
from tests.property.rules_cases import Life, ScheduleTopic, Topics, Workers, differences, judged

CLOSE_US = 60 * MINUTE_US
TOMORROW_US = 1440 * MINUTE_US


def life(before_s: int, after_s: int) -> Life:
    """A day by one tolerance, the load of another, and the tick of the next day that closes it."""
    today = SessionRow("B", "", 0, 0, 0, CLOSE_US, before_s * SECOND_US)
    next_day = SessionRow("B", "", 1, 0, TOMORROW_US, TOMORROW_US + CLOSE_US)
    times = (CLOSE_US - 30 * SECOND_US, CLOSE_US + 10 * SECOND_US, CLOSE_US + 70 * SECOND_US)
    ticks = [
        Tick(offset, "X", time_us, 10.0 + offset, 1.0, time_us)
        for offset, time_us in enumerate([*times, TOMORROW_US + MINUTE_US])
    ]
    case = Case({"X": [today, next_day]}, Rules(), ticks, [], 4)
    rules = RulesRow(5 * SECOND_US, 0, "reject", 5, True, "tests", fold_case=True)
    schedule, store = ScheduleTopic(), Topics()
    schedule.load(case.rows)
    workers = Workers(case, rules, schedule, store)
    workers.apply(3, starts_over=False)
    changed = replace(today, close_tolerance_us=after_s * SECOND_US)
    schedule.load({"X": [changed, next_day]})
    workers.read_schedule()
    workers.apply(4, starts_over=False)
    workers.flush()
    return Life(case, rules, store, schedule, workers)


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize(("before_s", "after_s"), [(0, 90), (90, 0), (90, 30), (30, 90)])
def test_a_tolerance_that_changes_accuses_no_bar(
    before_s: int, after_s: int, *, compacted: bool
) -> None:
    made = life(before_s, after_s)
    (last,) = [decode_bar(value or b"") for _, value in made.store.finals]
    assert last.tick_count == 1 + (before_s > 10) + (before_s > 70)
    if compacted:
        newest = {record.key: record for record in made.schedule.records}
        made.schedule.records[:] = newest.values()
    assert differences(judged(made)) == []
