"""The clocks of a load: which minutes may be closed as ticks pass."""

from __future__ import annotations

import numpy as np

from barstream.feeds.load_clock import SeriesClocks
from barstream.market.schedule import RowsSchedule, SessionRow
from barstream.model.time import MINUTE_US, SECOND_US

NOW_US = 1_780_000_000 * SECOND_US
M0 = 1_700_000_040 * SECOND_US  # a minute start
GRACE_US = 5 * SECOND_US


def clocks(last: list[int], every: int = MINUTE_US) -> SeriesClocks:
    return SeriesClocks(np.array(last, np.int64), every, GRACE_US)


def passed(of: SeriesClocks, *ticks: tuple[int, int]) -> None:
    series, time_us = (np.array(column, np.int64) for column in zip(*ticks, strict=True))
    of.passed(series, time_us)


def test_only_minutes_whose_ticks_have_all_passed_are_due() -> None:
    # minute   M0     M1     M2
    # ticks    x      .      x (now at M2 + 10 s): M1 is the newest complete minute
    found = clocks([M0 + 10 * MINUTE_US])
    passed(found, (0, M0))
    assert found.due(NOW_US) == []
    passed(found, (0, M0 + 2 * MINUTE_US + 10 * SECOND_US))
    assert found.due(NOW_US) == [(0, M0 + MINUTE_US)]
    assert found.due(NOW_US) == []


def test_series_have_clocks_of_their_own() -> None:
    found = clocks([M0 + 10 * MINUTE_US] * 2)
    passed(found, (0, M0), (1, M0))
    found.due(NOW_US)
    passed(found, (1, M0 + 5 * MINUTE_US))
    assert found.due(NOW_US) == [(1, M0 + 4 * MINUTE_US)]


def test_heartbeats_are_as_sparse_as_asked_for() -> None:
    found = clocks([M0 + 600 * MINUTE_US], every=60 * MINUTE_US)
    beats = []
    for minute in range(600):
        passed(found, (0, M0 + minute * MINUTE_US))
        beats += found.due(NOW_US)
    assert 8 <= len(beats) <= 10


def test_a_paced_clock_runs_through_a_gap_but_not_past_the_end() -> None:
    found = clocks([M0 + 3 * MINUTE_US])
    passed(found, (0, M0))
    found.due(NOW_US)
    found.pace(M0 + 2 * MINUTE_US)
    assert found.due(NOW_US) == [(0, M0 + MINUTE_US)]
    found.pace(M0 + 50 * MINUTE_US)
    assert found.due(NOW_US) == [(0, M0 + 2 * MINUTE_US)]


def test_closing_names_the_minute_of_the_last_tick() -> None:
    found = clocks([M0 + 30 * SECOND_US, M0 + 5 * MINUTE_US])
    due, whole_from_us = found.closing(NOW_US)
    assert due == [(0, M0), (1, M0 + 5 * MINUTE_US)]
    assert whole_from_us == M0 + 6 * MINUTE_US + GRACE_US


def test_no_heartbeat_is_sent_before_it_is_legal() -> None:
    # k + 1m + grace must have passed on the wall clock
    now_us = M0 + 5 * MINUTE_US + GRACE_US - 1
    found = clocks([M0 + 4 * MINUTE_US + SECOND_US])
    passed(found, (0, M0), (0, M0 + 4 * MINUTE_US + SECOND_US))
    [(_, minute_us)] = found.closing(now_us)[0]
    assert minute_us == M0 + 3 * MINUTE_US
    assert found.closing(now_us + 1)[0] == [(0, M0 + 4 * MINUTE_US)]


def tolerant(close_us: int, tolerance_us: int) -> RowsSchedule:
    return RowsSchedule([SessionRow("B", "S", 1, 0, M0 - 60 * MINUTE_US, close_us, tolerance_us)])


def test_the_last_minute_of_a_session_is_due_once_its_close_tolerance_has_passed() -> None:
    # M0        M1 close       M2    | M2 + 30 s
    # x         |  tolerance         |       x of another session, or the pace
    hours = tolerant(M0 + MINUTE_US, 90 * SECOND_US)
    last = np.array([M0 + 600 * MINUTE_US], np.int64)
    found = SeriesClocks(last, MINUTE_US, GRACE_US, {0: hours})
    passed(found, (0, M0 - 5 * MINUTE_US))
    found.due(NOW_US)
    end_us = M0 + MINUTE_US + 90 * SECOND_US
    found.pace(end_us - 1)
    assert found.due(NOW_US) == [(0, M0 - MINUTE_US)]
    found.pace(end_us)
    assert found.due(NOW_US) == [(0, M0 + MINUTE_US)]


def test_the_closing_heartbeat_of_a_session_is_legal_when_its_tolerance_has_passed() -> None:
    hours = tolerant(M0 + MINUTE_US, 90 * SECOND_US)
    last = np.array([M0 + MINUTE_US - 1], np.int64)  # a print after the close, as it is placed
    found = SeriesClocks(last, MINUTE_US, GRACE_US, {0: hours})
    legal_us = M0 + MINUTE_US + 90 * SECOND_US + GRACE_US
    assert found.closing(legal_us - 1) == ([(0, M0 - MINUTE_US)], legal_us)
    assert found.closing(legal_us) == ([(0, M0)], legal_us)
