"""Where series start, and with what."""

from __future__ import annotations

import polars as pl

from barstream.log.series import SeriesRow
from barstream.replay.start_points import StartPoint, starts_of
from barstream.rules.series import NEVER_US

MINUTE = 60_000_000
NAME = ("B", "X")


def minutes(*rows: tuple[int, int, int, int]) -> pl.DataFrame:
    """Finals of one series: (minute, ticks, first offset, close offset); closes at its number."""
    return pl.DataFrame(
        [
            ("B", "X", at * MINUTE, 100 + at, float(at), count, at * MINUTE + 7 if count else None,
             first if count else None, close)
            for at, count, first, close in rows
        ],
        schema={
            "broker": pl.String, "symbol": pl.String, "bucket_start": pl.Int64,
            "trading_date": pl.Int32, "close": pl.Float64, "tick_count": pl.Int64,
            "close_time": pl.Int64, "first_offset": pl.Int64, "close_offset": pl.Int64,
        },
        orient="row",
    )  # fmt: skip


def start(
    frame: pl.DataFrame, from_us: int | None = None, begin: int = 0, first_us: int | None = 3
) -> StartPoint | None:
    row = SeriesRow("B", "X", None, None, None, first_us, None, 0, ())
    return starts_of(frame, frame, {NAME: row}, from_us, begin).get(NAME)


def test_it_takes_over_from_the_final_before_it() -> None:
    frame = minutes((0, 2, 0, 5), (1, 1, 5, 9), (2, 0, 0, 9), (3, 1, 9, 12))
    # the date of the last tick decides when it falls asleep, the last final the price
    assert start(frame, 3 * MINUTE) == StartPoint(3 * MINUTE, False, 2.0, 101, MINUTE + 7, 3)


def test_a_time_inside_a_minute_means_the_next_one() -> None:
    found = start(minutes((0, 1, 0, 5), (1, 1, 5, 9)), 1)
    assert found is not None
    assert found.start_us == MINUTE


def test_from_the_first_offset_on_nothing_is_left_out() -> None:
    assert start(minutes((0, 1, 0, 5)), first_us=7) is None


def test_from_an_offset_on_it_starts_after_the_last_minute_with_a_tick_before() -> None:
    # offsets   0    5    9  begin=8
    frame = minutes((0, 1, 0, 5), (1, 1, 5, 9), (2, 1, 9, 12))
    found = start(frame, begin=8)
    assert found is not None
    assert (found.start_us, found.previous_close, found.later) == (2 * MINUTE, 1.0, True)


def test_from_an_offset_on_it_starts_after_the_last_minute_closed_before() -> None:
    frame = minutes((0, 1, 0, 5), (1, 0, 0, 5), (2, 1, 9, 12))
    found = start(frame, begin=5)
    assert found is not None
    assert found.start_us == 2 * MINUTE


def test_a_series_that_begins_inside_starts_with_its_first_tick() -> None:
    found = start(minutes((5, 1, 0, 5)), 3 * MINUTE, first_us=5 * MINUTE)
    assert found == StartPoint(3 * MINUTE)
    assert not found.is_known
    assert found.first_tick_us == NEVER_US


def test_where_retention_took_the_final_before_it_starts_after_the_first_that_is_left() -> None:
    found = start(minutes((5, 1, 0, 5), (6, 1, 5, 9)), 3 * MINUTE, first_us=MINUTE)
    assert found is not None
    assert (found.start_us, found.previous_close, found.later) == (6 * MINUTE, 5.0, True)
