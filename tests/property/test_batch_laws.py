"""However the ticks are cut into batches, the bars are those of one tick at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.market.schedule import ScheduleIndex, SessionRow
from barstream.model.tick import Ticks
from barstream.partition.finals_view import FinalsView
from barstream.rules.series import FOREVER_US, PartitionState, Rules
from tests.examples import examples
from tests.plain_bar import in_plain
from tests.reference.series import MINUTE, PlainSeries
from tests.tick_batches import Partition, Taken

NAMES = ["ALPHA", "BETA", "GAMMA"]
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@st.composite
def schedules(draw: st.DrawFn) -> list[SessionRow]:
    """Up to ten trading dates with one or two short sessions, some minutes cut by open or close."""
    rows, at = [], draw(st.integers(0, 3)) * HOUR
    date = 15_000
    for _ in range(draw(st.integers(1, 10))):
        for number in range(draw(st.integers(1, 2))):
            at += draw(st.integers(1, 4)) * MINUTE
            open_us = at + draw(st.sampled_from([0, 0, 20_000_000]))
            length = draw(st.integers(1, 6)) * MINUTE
            close_us = at + length + draw(st.sampled_from([0, 0, 30_000_000]))
            rows.append(("B", date, number, open_us, close_us))
            at = -(-close_us // MINUTE) * MINUTE
        date += draw(st.integers(1, 3))
    return draw(tolerant([SessionRow("B", "", d, n, o, c) for _, d, n, o, c in rows]))


@st.composite
def tolerant(draw: st.DrawFn, rows: list[SessionRow]) -> list[SessionRow]:
    """The sessions, some of them with a close tolerance: at most up to the next open."""
    found = []
    opens = [row.open_us for row in rows[1:]]
    for row, next_open in zip_longest(rows, opens):
        room = 10 * MINUTE if next_open is None else next_open - row.close_us
        tolerances = [0, 0, 1, 10_000_000, 90_000_000, 150_000_000, room]
        longest = min(draw(st.sampled_from(tolerances)), room)
        found.append(replace(row, close_tolerance_us=longest))
    return found


@st.composite
def close_edges(draw: st.DrawFn, rows: list[SessionRow], clock: int) -> int:
    """A time at the close of a session, or at the end of its tolerance: of the one near a clock."""
    row = min(rows, key=lambda row: abs(row.close_us - clock))
    end = row.close_us + row.close_tolerance_us
    middle = row.close_us + row.close_tolerance_us // 2
    return draw(st.sampled_from([row.close_us - 1, row.close_us, middle, end - 1, end]))


#: Of what is far below nothing, and of garbage: times a size they are more than a float holds.
PRICES = st.sampled_from([-37.63, 1e-310, 1e292, -1e292, 1e308])

Event = tuple[str, int, int, float, float]


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    rows = {name: draw(schedules()) for name in NAMES[: draw(st.integers(1, 3))]}
    end = max(row.close_us for part in rows.values() for row in part)
    grace = draw(st.sampled_from([0, 5_000_000, 60_000_000, 150_000_000]))
    clock = draw(st.integers(0, end))
    events: list[Event | tuple[str, int]] = []
    for _ in range(draw(st.integers(1, 60))):
        name = draw(st.sampled_from(sorted(rows)))
        if draw(st.integers(0, 9)) == 0:
            events.append((name, clock // MINUTE * MINUTE - draw(st.integers(0, 2)) * MINUTE))
            continue
        clock += draw(st.sampled_from([0, 1, 1_000_000, 20_000_000, MINUTE, 7 * MINUTE]))
        back = draw(st.sampled_from([0, 0, 0, 1_000_000, 30_000_000, 3 * MINUTE]))
        time = max(0, clock - back)
        if draw(st.integers(0, 3)) == 0:
            time = draw(close_edges(rows[name], clock))
            clock = max(clock, time)
        price = draw(st.one_of(st.integers(-20, 110).map(lambda n: n / 10), PRICES))
        size = draw(st.sampled_from([0.0, 1.0, 0.1, 0.3, 1e17, 3e-9, 123.456]))
        events.append((name, time, 0, price, size))
    return {
        "rows": rows,
        "grace": grace,
        "inactive_after": draw(st.integers(1, 3)),
        "events": events,
        "cuts": draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events))),
        "gaps": draw(st.lists(st.integers(1, 3), min_size=len(events), max_size=len(events))),
    }


def run_core(
    case: dict[str, Any], finals: FinalsView | None = None
) -> tuple[PartitionState, Taken]:
    """Apply the events, cut into a new batch wherever ``cuts`` says so and at each heartbeat.

    With ``finals``, which take them, late ticks are merged.
    """
    index = ScheduleIndex.build(
        replace(r, symbol=name) for name, rows in case["rows"].items() for r in rows
    )
    assert not index.problems
    policy: Literal["reject", "revise"] = "reject" if finals is None else "revise"
    state = PartitionState(Rules(case["grace"], case["inactive_after"], late_policy=policy))
    state.use_schedule(index)
    partition, out = Partition(state, finals), Taken()
    batch: list[tuple[int, int, float, float, int]] = []

    def flush() -> None:
        if batch:
            slot, time, price, size, offset = zip(*batch, strict=True)
            some = partition.take(
                Ticks(
                    np.array(slot, np.int32), np.array(time, np.int64), np.array(price, np.float64),
                    np.array(size, np.float64), np.array(offset, np.int64),
                    np.full(len(slot), FOREVER_US),
                )
            )  # fmt: skip
            out.finals += some.finals
            out.revised += some.revised
            out.rejected += some.rejected
            out.merged += some.merged
            batch.clear()

    offset = 0
    for event, cut, gap in zip(case["events"], case["cuts"], case["gaps"], strict=True):
        offset += gap
        if len(event) == 2:
            flush()
            series = state.series[state.slot("B", event[0])]
            if series.last_trading_date is not None:
                out.finals += partition.close(series, event[1] + MINUTE, offset)
            continue
        name, time, _, price, size = event
        batch.append((state.slot("B", name), time, price, size, offset))
        if cut:
            flush()
    flush()
    return state, out


def run_plain(case: dict[str, Any], **policy: Any) -> dict[str, PlainSeries]:
    series = {
        name: PlainSeries(rows, case["grace"], case["inactive_after"], **policy)
        for name, rows in case["rows"].items()
    }
    offset = 0
    for event, gap in zip(case["events"], case["gaps"], strict=True):
        offset += gap
        if len(event) == 2:
            series[event[0]].heartbeat(event[1], offset)
        else:
            series[event[0]].tick(offset, event[1], event[3], event[4])
    return series


@pytest.mark.law("L1", "L5", "L8")
@pytest.mark.slow
@settings(max_examples=examples(400), deadline=None)
@given(cases())
def test_any_batching_gives_the_bars_of_one_tick_at_a_time(case: dict[str, Any]) -> None:
    state, out = run_core(case)
    plain = run_plain(case)
    refused = [(int(at), why) for offsets, why in out.rejected for at in offsets]
    assert sorted(refused) == sorted(r for s in plain.values() for r in s.rejected)
    assert state.unpriced_minutes == sum(s.unpriced for s in plain.values())
    for name, series in plain.items():
        finals = [in_plain(bar) for bar in out.finals if bar.symbol == name]
        assert finals == series.finals
        kept = state.get("B", name)
        if kept is not None and kept.last_trading_date is not None:
            assert set(kept.open_bars) == set(series.ticks)
            assert int(state.watermark_us[kept.slot]) == series.watermark
            assert kept.last_trading_date == series.last_date


@pytest.mark.law("L4")
@settings(max_examples=examples(100), deadline=None)
@given(cases())
def test_finals_ascend_without_a_hole_or_a_repeat(case: dict[str, Any]) -> None:
    _, out = run_core(case)
    for name, rows in case["rows"].items():
        starts = [bar.bucket_start_us for bar in out.finals if bar.symbol == name]
        assert starts == sorted(set(starts))
        if case["inactive_after"] > len(rows) and starts:
            minutes = {
                m
                for row in rows
                for m in range(row.open_us // MINUTE * MINUTE, row.close_us, MINUTE)
                if starts[0] <= m <= starts[-1]
            }
            assert set(starts) == minutes


if __name__ == "__main__":
    pytest.main([__file__])
