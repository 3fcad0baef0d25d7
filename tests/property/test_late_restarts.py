"""Policy revise, in an engine over bars on disk: chunks, flushes and crashes change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.model.period import MINUTE
from tests.examples import examples
from tests.plain_bar import in_plain
from tests.property.engine_cases import Case, deliver, feed
from tests.property.rollup_cases import PERIODS, Disk, Worker
from tests.property.test_engine import closing_offsets
from tests.property.test_revised_rollups import late_cases
from tests.property.test_rollup_laws import live_through


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    databases = Disk(Path(tmp_path_factory.mktemp("finals")))
    yield databases
    databases.close()


@pytest.mark.law("L10")
@pytest.mark.slow
@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), late_cases())
def test_late_ticks_after_a_crash_find_the_bars_that_were_flushed(
    disk: Disk, data: st.DataObject, case: Case
) -> None:
    # exact volumes, revision numbers and what later fills go by must come back from disk
    case.rules = replace(case.rules, late_policy="revise")
    worker = Worker(case.rules, case.provider, disk.emptied())
    live_through(data, case.ticks, case.beats, closing_offsets(case), case.end, worker)
    for name, series in case.plain().items():
        stand = [series.bars[minute] for minute in sorted(series.bars)]
        found = worker.finals(MINUTE, name)
        assert [in_plain(bar) for bar in found.values()] == stand
        on_disk = worker.engine.book.between(MINUTE, "B", name, 0, 1 << 60)
        assert on_disk == list(found.values())


@pytest.mark.slow
@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), late_cases())
def test_upper_bars_count_the_same_late_ticks_with_and_without_a_crash(
    disk: Disk, data: st.DataObject, case: Case
) -> None:
    # written again after a crash, a revised parent must be the same bytes
    case.rules = replace(case.rules, late_policy="revise")
    steady = Worker(case.rules, case.provider, disk.emptied())
    due, given_out = closing_offsets(case), 0
    for at in range(case.end):
        upto = max(given_out, sum(offset <= at + 1 for offset in due))
        deliver(steady.engine, case.beats[given_out:upto])
        given_out = upto
        feed(steady.engine, case.ticks, at, at + 1)
    deliver(steady.engine, case.beats[given_out:])
    steady.flush()
    crashing = Worker(case.rules, case.provider, disk.emptied())
    live_through(data, case.ticks, case.beats, due, case.end, crashing)
    for period in PERIODS:
        for name in case.rows:
            assert crashing.finals(period, name) == steady.finals(period, name)
