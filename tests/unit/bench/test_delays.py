from __future__ import annotations

import numpy as np
import polars as pl

from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from bench.open_loop import final_delays, live_delays
from bench.oracle import truth
from bench.percentiles import percentiles
from bench.tape import Shape, Tape

GRACE_US = 5 * SECOND_US
START_US = 100 * DAY_US


def tape_of(*arrivals_s: float, lag_s: float = 0.0) -> Tape:
    """One series; each tick arrives ``lag_s`` after its event time."""
    arrival = START_US + np.array([round(s * SECOND_US) for s in arrivals_s])
    count = len(arrival)
    return Tape(
        Shape("small", 1, 1, 1), np.array([0, count]), np.zeros(count, np.int64), arrival,
        arrival - round(lag_s * SECOND_US), np.ones(count), np.ones(count),
        np.zeros(count, np.int8), int(arrival.max()),
    )  # fmt: skip


def records(*rows: tuple[int, int, float]) -> pl.DataFrame:
    """Minute, ticks in it, second at which it can be read."""
    return pl.DataFrame(
        {
            "series": [0] * len(rows),
            "bucket": [START_US + minute * MINUTE_US for minute, _, _ in rows],
            "tick_count": [count for _, count, _ in rows],
            "readable_us": [START_US + round(s * SECOND_US) for _, _, s in rows],
        },
        schema=dict.fromkeys(("series", "bucket", "tick_count", "readable_us"), pl.Int64),
    )


def test_the_nearest_rank_is_a_value_that_was_measured() -> None:
    values = np.arange(1, 1001) * 1000
    assert percentiles(values, "x") == {"x_p50_ms": 500, "x_p99_ms": 990, "x_p999_ms": 999}
    assert percentiles([3000], "x") == {"x_p50_ms": 3, "x_p99_ms": 3, "x_p999_ms": 3}
    assert percentiles([1000, 2000], "x")["x_p50_ms"] == 1
    assert percentiles([], "x") == {"x_p50_ms": None, "x_p99_ms": None, "x_p999_ms": None}


def test_a_tick_is_live_with_the_first_record_that_counts_it() -> None:
    """
    ticks at s    1     2     3
    records            2.5    |     3.25: of the first two, then of all three
    """
    found = live_delays(tape_of(1, 2, 3), records((0, 2, 2.5), (0, 3, 3.25)), GRACE_US, START_US)
    assert found == {"live_p50_ms": 500, "live_p99_ms": 1500, "live_p999_ms": 1500,
                     "live_never": 0}  # fmt: skip


def test_a_delay_counts_from_when_the_tick_was_due_and_not_from_its_event_time() -> None:
    found = live_delays(tape_of(10, lag_s=3), records((0, 1, 10.5)), GRACE_US, START_US)
    assert found["live_p50_ms"] == 500


def test_ticks_of_the_warm_up_are_not_measured_and_yet_counted() -> None:
    found = live_delays(
        tape_of(1, 2), records((0, 1, 1.9), (0, 2, 2.25)), GRACE_US, START_US + 2 * SECOND_US
    )
    assert found["live_p999_ms"] == 250


def test_a_tick_that_no_record_counts_is_never_seen() -> None:
    assert live_delays(tape_of(1, 2), records((0, 1, 1.5)), GRACE_US, START_US)["live_never"] == 1


def test_finals_after_the_last_tick_are_told_apart() -> None:
    """
    minute        0      1      2
    ticks at s   30     90    125
    end + grace  65    125    185    the ticks end at 130 s
    """
    tape = tape_of(30, 90, 125)
    expected = truth(tape, GRACE_US, START_US + 3 * MINUTE_US)
    finals = records((0, 1, 65.2), (1, 1, 125.4))
    end_us = START_US + 130 * SECOND_US
    found = final_delays(expected, finals, GRACE_US, START_US, end_us)
    assert (found["final_bars"], found["final_never"]) == (2, 0)
    assert (found["final_p50_ms"], found["final_p99_ms"]) == (200, 400)
    assert (found["quiet_bars"], found["quiet_never"], found["quiet_p50_ms"]) == (1, 1, None)
    nothing = final_delays(expected, None, GRACE_US, START_US, end_us)
    assert (nothing["final_never"], nothing["quiet_never"]) == (2, 1)
