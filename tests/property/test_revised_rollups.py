"""Laws of late ticks that revise: batching changes nothing, and a parent follows its children."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.market.schedule import SessionRow
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.model.time import DAY_US
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.rollup_fold import fold
from barstream.rules.series import Rules
from tests.examples import examples
from tests.property.engine_cases import Beat, Case, Tick, cuts, deliver, feed
from tests.property.test_batch_laws import NAMES, close_edges, schedules
from tests.property.test_engine import closing_offsets
from tests.reference.series import PlainSeries

M = 60_000_000
PERIODS = [Period.parse(text) for text in ("2m", "5m", "7m@session", "1d", "1wk", "1mo")]


@st.composite
def late_cases(draw: st.DrawFn) -> Case:
    """Ticks late by minutes or dates, of a series and now and then of another, and heartbeats."""
    rows = {name: draw(schedules()) for name in NAMES[: draw(st.integers(1, 2))]}
    minutes = sorted(
        {m for part in rows.values() for r in part for m in range(r.open_us, r.close_us, M)}
    )
    grace = draw(st.sampled_from([0, 5_000_000, 60_000_000]))
    at, offset = draw(st.integers(0, len(minutes) - 1)), 0
    ticks: list[Tick] = []
    beats: list[Beat] = []
    for _ in range(draw(st.integers(1, 50))):
        name = draw(st.sampled_from(sorted(rows)))
        offset += draw(st.integers(1, 2))
        if draw(st.integers(0, 7)) == 0:
            minute = minutes[at] // M * M - draw(st.integers(-3, 2)) * M
            over = PlainSeries(rows[name], grace, 0).over(minute)
            beats.append(Beat(len(beats), name, minute, offset, over + grace))
            continue
        at = min(len(minutes) - 1, at + draw(st.sampled_from([0, 0, 0, 1, 2, 5, 15])))
        back = draw(st.sampled_from([0, 0, 0, 1, 2, 3, 5, 15, 40]))
        time_us = minutes[max(0, at - back)] + draw(st.sampled_from([0, 1, 59_999_999]))
        if draw(st.integers(0, 3)) == 0:
            time_us = draw(close_edges(rows[name], time_us))
        price, size = draw(st.integers(90, 110)) / 10, draw(st.sampled_from([0.0, 0.1, 0.3, 1e17]))
        ticks.append(Tick(offset, name, time_us, price, size))
    return Case(rows, Rules(grace, draw(st.integers(1, 3))), ticks, beats, offset + 1)


Versions = dict[tuple[Period, str, int], Bar]


def newest(engine: PartitionMachine) -> Versions:
    """What was written, the last version of each bar."""
    taken = engine.take()
    written = [*((MINUTE, bar) for bar in taken.finals), *taken.rollups]
    return {(period, bar.symbol, bar.bucket_start_us): bar for period, bar in written}


def run(case: Case, parts: Iterable[tuple[int, int]]) -> tuple[PartitionMachine, Versions]:
    """The log in these chunks, each heartbeat given just before its barrier."""
    rules = replace(case.rules, late_policy="revise")
    engine = PartitionMachine(
        0, rules, case.provider, lambda _b, _s: None, MachineOptions(periods=PERIODS)
    )
    effective, done = closing_offsets(case), 0
    for start, end in parts:
        upto = sum(at <= end for at in effective)
        deliver(engine, case.beats[done:upto])
        done = max(done, upto)
        feed(engine, case.ticks, start, end)
    deliver(engine, case.beats[done:])
    return engine, newest(engine)


@pytest.mark.slow
@settings(max_examples=examples(300), deadline=None)
@given(st.data(), late_cases())
def test_bars_and_upper_bars_do_not_depend_on_the_chunks_late_ticks_came_in(
    data: st.DataObject, case: Case
) -> None:
    # a replay in other batches must give the same bytes, revision numbers included
    _, one_by_one = run(case, [(at, at + 1) for at in range(case.end)])
    _, batched = run(case, cuts(data.draw, 0, case.end))
    assert batched == one_by_one


def test_a_day_that_a_late_tick_began_while_asleep_does_not_wait_for_the_one_that_wakes() -> None:
    # date   100     101       102
    #        tick    filled    asleep, closed to :46 | late at :42 | tick at :50 closes nothing
    dates = ((100, 0, 10), (101, 20, 30), (102, 40, 60))
    rows = [SessionRow("B", "ALPHA", date, 0, start * M, end * M) for date, start, end in dates]
    ticks = [Tick(at, "ALPHA", minute * M, 1.0, 1.0) for at, minute in enumerate((5, 42, 50))]
    beats = [Beat(0, "ALPHA", 45 * M, 1, 56 * M)]
    case = Case({"ALPHA": rows}, Rules(10 * M, 1), ticks, beats, 3)
    _, one_by_one = run(case, [(at, at + 1) for at in range(3)])
    _, batched = run(case, [(0, 1), (1, 3)])
    assert (Period.parse("1d"), "ALPHA", 102 * DAY_US) in one_by_one
    assert batched == one_by_one


@pytest.mark.law("L11")
@pytest.mark.slow
@settings(max_examples=examples(200), deadline=None)
@given(st.data(), late_cases())
def test_every_parent_is_the_fold_of_its_revised_children(data: st.DataObject, case: Case) -> None:
    # what late ticks changed below must have arrived above
    engine, written = run(case, cuts(data.draw, 0, case.end))
    for (period, symbol, bucket_us), parent in written.items():
        if period == MINUTE:
            continue
        series = engine.state.get("B", symbol)
        assert series is not None
        below = engine.rollups.children.of(series, period, bucket_us)
        expected = fold(below, bucket_us)
        assert parent.revision >= expected.revision
        assert parent == expected.replace(revision=parent.revision)
