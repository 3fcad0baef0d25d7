"""Bursts: memory stays bounded, nothing crashes, and the lag shown is the true one.

The long variants take ten times as many ticks; `python -m bench.burst` takes a hundred million.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from barstream.codecs.topics.state import POSITION_KEY
from barstream.kafka.connection import client_options
from bench.workload import produce, produce_garbage
from tests.chaos.drill import long_drill, metric, soon
from tests.chaos.observation import Observer, memory_mib
from tests.chaos.quota import producer_quota
from tests.pipeline import Pipeline, WorkerProcess, pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 2
BURST = {
    "BARS__SCHEDULE": "false",
    "BARS__TIMEFRAMES": "5m,1h",
    "TOPICS__PARTITIONS": str(PARTITIONS),
}
LONG = [pytest.mark.chaos, long_drill]


def fill(made: Pipeline, series: int, per_bar: int, bars: int, first_bar: int = 0) -> int:
    """A burst of ticks; how many."""
    options, topic = client_options(made.settings), made.names.ticks
    return asyncio.run(
        produce(options, topic, PARTITIONS, series, per_bar, bars, first_bar=first_bar)
    )


def lag(worker: WorkerProcess) -> int:
    """Of ticks and heartbeats, all partitions."""
    return int(metric(worker, "barstream_lag_records"))


def assert_finals(made: Pipeline, least: int, most: int | None = None) -> None:
    """So many finals are there, every one of them once."""
    # a commit is acknowledged a moment before its readers are given what it holds
    soon(lambda: len(made.read(made.names.final_1m)) >= least, f"{least} finals")
    keys = Counter(record.key for record in made.read(made.names.final_1m))
    assert max(keys.values()) == 1
    assert len(keys) <= (least if most is None else most)


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=LONG)])
@pytest.mark.timeout(1200)
def test_a_burst_takes_bounded_memory_and_its_lag_is_shown_as_it_is(
    kafka: Any, unique: str, tmp_path: Path, times: int
) -> None:
    series, per_bar, bars = 2000, 40, 20 * times
    with pipeline(kafka.bootstrap, unique, tmp_path, **BURST) as made:
        waiting = fill(made, series, per_bar, bars * 3 // 4)
        worker = made.worker()
        with Observer(made, worker, every_s=0.3) as observer:
            # the rest comes while the worker is busy, and hears of it by what it fetches or not
            count = waiting + fill(made, series, per_bar, bars // 4, first_bar=bars * 3 // 4)
            soon(
                lambda: metric(worker, "barstream_ticks_total") == count and lag(worker) == 0,
                "all of it is eaten", 900,
            )  # fmt: skip
        assert observer.failure is None
        early = [s.peak_mib for s in observer.samples if s.ticks <= count / 4]
        late = observer.samples[-1].peak_mib
        # what RocksDB has not written yet grows to its bound; the backlog would be several times it
        assert late < 1.6 * early[-1], (early[-1], late)
        assert observer.untrue_lags(slack_s=5.0) == []
        assert max(sum(sample.lag.values()) for sample in observer.samples) > count / 4
        assert max(observer.health_s) < 15
        assert_finals(made, series * (bars - 1))
        assert worker.stop() == 0


@pytest.mark.timeout(600)
def test_output_that_is_stuck_holds_the_ticks_back(
    new_kafka: Any, unique: str, tmp_path: Path
) -> None:
    """A broker that takes next to nothing: no more is applied than may wait, then it goes on."""
    series, per_bar, bars = 400, 12, 300
    with pipeline(new_kafka().bootstrap, unique, tmp_path, **BURST) as made:
        count = fill(made, series, per_bar, bars)
        with producer_quota(made.bootstrap, 400_000):
            worker = made.worker()
            soon(lambda: lag(worker) > 0, "it has begun")
            before, stood = -1, time.monotonic()
            deadline = time.monotonic() + 60
            while time.monotonic() - stood < 4:
                assert time.monotonic() < deadline, "ticks go on being applied"
                if (now := lag(worker)) != before:
                    before, stood = now, time.monotonic()
                time.sleep(0.2)
            # what the broker took meanwhile, at its rate, is more on a machine that is slow
            assert before > count / 5
            held_mib, _ = memory_mib(worker.process.pid)
            assert worker.ready, "reads are answered meanwhile"
            # nothing is fetched now, and the end is known all the same
            more = fill(made, series, 4, 1, first_bar=bars)
            soon(lambda: lag(worker) == before + more, "the lag follows the end", 15)
        soon(lambda: lag(worker) == 0, "it goes on", 300)
        _, peak_mib = memory_mib(worker.process.pid)
        assert peak_mib < 1.6 * held_mib
        soon(lambda: metric(worker, "barstream_ticks_total") == count + more, "all is written")
        assert_finals(made, series * bars)
        assert worker.stop() == 0


@pytest.mark.timeout(600)
def test_a_storm_of_garbage_is_set_aside_in_bounded_memory(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    records = 200_000
    with pipeline(kafka.bootstrap, unique, tmp_path, **BURST) as made:
        options, topic = client_options(made.settings), made.names.ticks
        asyncio.run(produce_garbage(options, topic, PARTITIONS, records))
        worker = made.worker()
        rejected = "barstream_ticks_rejected_total"
        soon(lambda: metric(worker, rejected) >= records / 10, "some of it is set aside", 120)
        _, early_mib = memory_mib(worker.process.pid)
        soon(lambda: metric(worker, rejected) == records, "all of it is set aside", 240)
        _, late_mib = memory_mib(worker.process.pid)
        assert late_mib < 1.6 * early_mib
        # and the ticks after it are bars
        count = fill(made, 10, 60, 5)
        soon(lambda: metric(worker, "barstream_ticks_total") == count, "ticks are applied")
        assert_finals(made, 10 * 4)
        assert worker.stop() == 0


@pytest.mark.parametrize("series", [1000, pytest.param(10_000, marks=LONG)])
@pytest.mark.timeout(1200)
def test_all_series_that_wake_at_once_fill_their_gap_in_bounded_memory(
    kafka: Any, unique: str, tmp_path: Path, series: int
) -> None:
    """One tick of each series, an hour of nothing, one tick of each: an hour of bars each."""
    gap = 60
    with pipeline(kafka.bootstrap, unique, tmp_path, **BURST) as made:
        fill(made, series, 1, 1)
        worker = made.worker()
        ticks = "barstream_ticks_total"
        soon(lambda: metric(worker, ticks) == series, "the first ticks are applied")
        with Observer(made, worker, every_s=0.3) as observer:
            fill(made, series, 1, 1, first_bar=gap)
            soon(lambda: metric(worker, ticks) == 2 * series, "the others", 600)
        assert observer.failure is None
        quarter = [s.peak_mib for s in observer.samples][len(observer.samples) // 4]
        assert observer.samples[-1].peak_mib < 1.6 * quarter
        # the minute before the second tick is open where that came within the grace
        assert_finals(made, series * (gap - 1), series * gap)
        rows = [r for r in made.read(made.names.series) if r.key == POSITION_KEY]
        # no flush of more than the bound, so it took several
        assert len(rows) >= series * gap / 40_000
        assert worker.stop() == 0
