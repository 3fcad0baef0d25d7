"""Ticks within the close tolerance of their session, by examples."""

from __future__ import annotations

import numpy as np

from barstream.market.schedule import ScheduleIndex, SessionRow
from barstream.model.tick import Ticks
from barstream.model.time import MINUTE_US, SECOND_US, us_from_iso
from barstream.rules.segments import Segments
from barstream.rules.series import FOREVER_US, PartitionState, Rules
from barstream.rules.session_gate import judge_sessions
from tests.tick_batches import Partition, Taken

CLOSE_US = us_from_iso("2024-01-10T16:00:00Z")
DATE = 19_732


def partition(tolerance_us: int) -> PartitionState:
    row = SessionRow("B", "S", DATE, 0, CLOSE_US - 60 * MINUTE_US, CLOSE_US, tolerance_us)
    state = PartitionState(Rules())
    state.use_schedule(ScheduleIndex.build([row]))
    state.add("B", "S")
    return state


def apply(state: PartitionState, *times: int) -> Taken:
    count = len(times)
    ticks = Ticks(
        np.zeros(count, np.int32), np.array(times, np.int64), np.ones(count), np.ones(count),
        np.arange(count), np.full(count, FOREVER_US),
    )  # fmt: skip
    return Partition(state).take(ticks)


def test_a_series_that_begins_after_a_close_begins_in_the_minute_of_that_tick() -> None:
    # 15:59      16:00 close | x | tolerance: nothing was ever closed, and 15:59 lacks a heartbeat
    state = partition(90 * SECOND_US)
    apply(state, CLOSE_US + 20 * SECOND_US)
    (series,) = state
    assert series.first_tick_us == CLOSE_US - 1
    (bar,) = series.open_bars.values()
    assert (bar.bucket_us, bar.close_time_us) == (CLOSE_US - MINUTE_US, CLOSE_US + 20 * SECOND_US)
    assert int(state.watermark_us[series.slot]) == CLOSE_US - 1


def test_a_tick_long_after_the_close_does_not_close_its_own_minute() -> None:
    state = partition(600 * SECOND_US)
    out = apply(state, CLOSE_US - SECOND_US, CLOSE_US + 599 * SECOND_US, CLOSE_US + SECOND_US)
    assert (out.accepted, out.finals) == (3, [])
    (series,) = state
    (bar,) = series.open_bars.values()
    assert (bar.tick_count, bar.close_time_us) == (3, CLOSE_US + 599 * SECOND_US)


def test_without_a_tolerance_no_time_is_copied() -> None:
    """What nobody asked for costs nobody anything."""
    state, time_us = partition(0), np.array([CLOSE_US - 1, CLOSE_US], np.int64)
    inside, placed_us = judge_sessions(state, time_us, Segments.of(np.zeros(2, np.int32)))
    assert placed_us is time_us
    assert inside.tolist() == [True, False]
    assert not state.tolerant
