from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.market.session import SessionRow
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from bench.oracle import VALUES, Misses, misses, truth, verdict
from bench.tape import Fault, Shape, Tape, make_tape
from bench.workload import BROKER
from tests.reference.series import PlainSeries

GRACE_US = 5 * SECOND_US
Bars = dict[int, tuple[float, ...]]


def series_of(tape: Tape) -> PlainSeries:
    hours = tape.shape.hours
    if hours:
        rows = [
            SessionRow(
                broker=BROKER, symbol="any", trading_date=each.trading_date.toordinal(),
                session=each.number, open_us=each.open_us, close_us=each.close_us,
            )
            for each in hours
        ]  # fmt: skip
    else:
        day = tape.end_us // DAY_US
        rows = [
            SessionRow(
                broker=BROKER, symbol="any", trading_date=0, session=0,
                open_us=(day - 5) * DAY_US, close_us=(day + 5) * DAY_US,
            )
        ]  # fmt: skip
    return PlainSeries(rows, GRACE_US, 5)


def reference(tape: Tape) -> tuple[dict[tuple[int, int], tuple[float, ...]], int, int]:
    """Final bars by series and bucket, and how many ticks were late and off session."""
    found: dict[int, PlainSeries] = {}
    for offset in range(len(tape)):
        if tape.fault[offset]:
            continue
        number = int(tape.series[offset])
        found.setdefault(number, series_of(tape)).tick(
            offset, int(tape.time_us[offset]), float(tape.price[offset]), float(tape.size[offset])
        )
    bars = {
        (number, bar["bucket"]): (*bar["ohlc"], bar["volume"], bar["count"], bar["synthetic"])
        for number, series in found.items()
        for bar in series.finals
    }
    reasons = [reason for series in found.values() for _, reason in series.rejected]
    return bars, reasons.count("late"), reasons.count("off_session")


def by_key(bars: pl.DataFrame) -> dict[tuple[int, int], tuple[float, ...]]:
    columns = ("open", "high", "low", "close", "volume", "tick_count", "is_synthetic")
    return {(row[0], row[1]): row[2:] for row in bars.select("series", "bucket", *columns).rows()}


@pytest.mark.parametrize("has_sessions", [False, True])
@given(
    series=st.integers(1, 3), per_bar=st.integers(1, 8), bars=st.integers(4, 12),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_the_oracle_is_the_definition_of_a_bar_in_arrays(
    series: int, per_bar: int, bars: int, seed: int, *, has_sessions: bool
) -> None:
    shape = Shape("small", series, per_bar, bars, has_sessions=has_sessions)
    tape = make_tape(shape, seed=seed, grace_us=GRACE_US, partitions=2)
    found = truth(tape, GRACE_US)
    bars_of, late, off_session = reference(tape)
    assert by_key(found.bars) == bars_of
    assert (found.late, found.off_session) == (late, off_session)
    assert found.accepted + found.late + found.off_session + found.bad == len(tape)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.integers(-400, 100), st.integers(0, 9)),
        min_size=1, max_size=60,
    )
)  # fmt: skip
def test_also_where_ticks_are_scattered_without_any_rule(
    steps: list[tuple[int, int, int]],
) -> None:
    shape = Shape("small", 3, 1, 1)
    series = np.array([number for number, _, _ in steps])
    event = np.cumsum([abs(seconds) for _, seconds, _ in steps])
    event = event + np.array([min(0, seconds) for _, seconds, _ in steps])
    time_us = 10 * DAY_US + event * SECOND_US
    price = np.array([float(price) for *_, price in steps])
    tape = Tape(
        shape, np.array([0, len(steps)]), series, time_us, time_us, price, price / 7,
        np.zeros(len(steps), np.int8), int(time_us.max()),
    )  # fmt: skip
    found = truth(tape, GRACE_US)
    bars_of, late, _ = reference(tape)
    assert by_key(found.bars) == bars_of
    assert found.late == late


def small() -> Tape:
    return make_tape(Shape("small", 20, 60, 10), seed=1, grace_us=GRACE_US, partitions=4)


def test_a_tape_has_what_a_feed_does_to_ticks() -> None:
    tape = small()
    judged = verdict(tape, GRACE_US)
    count = 20 * 60 * 10
    assert len(tape) == count + round(0.0005 * count) + 1 + 2 * 20
    assert set(tape.fault.tolist()) == {int(fault) for fault in Fault}
    displaced = tape.arrival_us - tape.time_us
    is_out_of_order = (displaced > 0) & (displaced < GRACE_US)
    assert math.isclose(is_out_of_order.sum() / count, 0.05, rel_tol=0.05)
    assert not judged.is_late[is_out_of_order].any()
    assert judged.is_late.sum() == round(0.001 * count)
    assert (np.diff(tape.arrival_us[: tape.starts[1]]) >= 0).all()


def test_the_same_seed_gives_the_same_tape_and_another_seed_another() -> None:
    tape, again = small(), small()
    assert tape.records(slice(None)) == again.records(slice(None))
    other = make_tape(tape.shape, seed=2, grace_us=GRACE_US, partitions=4)
    assert not np.array_equal(other.price, tape.price)


def test_the_span_of_sessions_has_a_break_and_a_change_of_the_clock() -> None:
    hours = Shape("small", 1, 1, 16, has_sessions=True).hours
    assert [each.number for each in hours] == [0, 1, 0, 1]
    friday, monday = hours[0].open_us % DAY_US, hours[2].open_us % DAY_US
    assert (friday - monday) // MINUTE_US == 60


def published(tape: Tape) -> pl.DataFrame:
    return truth(tape, GRACE_US).bars.select("series", "bucket", *VALUES)


def test_what_equals_the_truth_has_no_misses() -> None:
    tape = small()
    expected = truth(tape, GRACE_US)
    assert misses(expected, published(tape), has_fills=True) == Misses(expected=len(expected.bars))
    real = expected.bars.filter(~pl.col("is_synthetic"))
    assert misses(expected, real.select("series", "bucket", *VALUES), has_fills=False).bars == 0


def test_each_kind_of_miss_is_counted() -> None:
    tape = small()
    expected, bars = truth(tape, GRACE_US), published(tape)
    count = bars["tick_count"]
    there = bars.with_columns(
        close=pl.when(pl.int_range(pl.len()) == 3).then(pl.col("close") + 1).otherwise("close"),
        tick_count=pl.when(pl.int_range(pl.len()) == 5).then(7).otherwise("tick_count"),
    )
    moved = there[2].with_columns(bucket=pl.col("bucket") - 100 * MINUTE_US)
    found = misses(expected, pl.concat([there[:2], there[3:], moved]), has_fills=True)
    assert (found.missing, found.extra, found.differ) == (1, 1, 2)
    assert (found.close, found.tick_count, found.open) == (1, 1, 0)
    assert found.ticks_lost == count[2] + count[5] - 7
    assert found.ticks_taken == count[2]


def test_a_difference_is_contested_where_a_late_tick_is_in_the_bar() -> None:
    tape = small()
    judged, expected = verdict(tape, GRACE_US), truth(tape, GRACE_US)
    taken = replace(tape, fault=tape.fault)
    # as a framework that calls nothing late
    rows = pl.DataFrame(
        {
            "series": taken.series, "bucket": taken.time_us // MINUTE_US * MINUTE_US,
            "time": taken.time_us, "at": np.arange(len(taken)), "price": taken.price,
            "size": taken.size,
        }
    ).filter(judged.is_readable)  # fmt: skip
    bars = (
        rows.sort("time", "at")
        .group_by("series", "bucket", maintain_order=True)
        .agg(
            open=pl.col("price").first(), high=pl.col("price").max(), low=pl.col("price").min(),
            close=pl.col("price").last(), volume=pl.col("size").sum(),
            tick_count=pl.len().cast(pl.Int64),
        )
        .filter(pl.col("bucket") < tape.end_us + MINUTE_US)
    )  # fmt: skip
    found = misses(expected, bars, has_fills=False)
    assert found.ticks_taken == expected.late > 0
    assert found.bars == found.contested > 0
    assert found.mistakes == 0
