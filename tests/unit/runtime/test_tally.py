"""What a partition counts, and what is told of it."""

from __future__ import annotations

import logging

import pytest

from barstream.metrics import Metrics
from barstream.rules.late_share import INTERVAL_S, Arrivals
from barstream.rules.series import Rules
from barstream.runtime.tally import Tally
from tests.unit.partition.test_machine import DAY, MINUTE, SECOND, engine, feed


def test_late_ticks_are_counted_by_broker_with_their_delay() -> None:
    #    0      1 min    | 5 min            | again 0, 1 s     | 2 h: off session
    #    open            | closes 0 to 4    | late, by 7 min   | counts for nothing
    made = engine()
    feed(made, [0, MINUTE, 5 * MINUTE])
    feed(made, [0, SECOND, 120 * MINUTE], appended_us=7 * MINUTE)
    feed(made, [0], symbol="NO_SCHEDULE")
    assert made.take_counts().arrivals == {"B": Arrivals(5, 2, 7 * MINUTE)}
    assert made.take_counts().arrivals == {}


def test_where_append_times_say_nothing_the_delay_is_not_known() -> None:
    made = engine()
    feed(made, [0, 5 * MINUTE, 0], append_time=False)
    assert made.take_counts().arrivals == {"B": Arrivals(3, 1, None)}


def test_one_warning_names_the_broker_the_delay_and_both_settings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = [0.0]
    rules = Rules(grace_us=5 * SECOND, feed_delay_us={"B": 9 * SECOND})
    tally = Tally(Metrics(), rules, clock=lambda: now_s[0])
    made = engine()
    feed(made, [DAY, DAY + 10 * MINUTE])
    feed(made, [DAY] * 20, appended_us=DAY + 77 * SECOND)
    with caplog.at_level(logging.WARNING):
        for at_s in (0.0, INTERVAL_S, 2 * INTERVAL_S):
            now_s[0] = at_s
            tally.count(0, made.take_counts())
    (record,) = caplog.records
    assert isinstance(record.args, tuple)
    assert record.args[:3] == ("B", 20, 22)
    assert record.args[-3:] == ("77.000", 5.0, 9.0)
