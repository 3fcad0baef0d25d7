"""The engine of a worker, as the views read it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from barstream.core.schedule import MarketScheduleProvider
from barstream.core.state import Rules
from barstream.core.universe import SeriesSeen, Universe
from barstream.web.reads import NotHereError, Owner
from barstream.web.worker_reads import WorkerReads

from .engine_stub import StubPartitions, feed, stub_partitions, stub_reporting
from .memory_reads import make_bar

MINUTE = 60_000_000
DAY = 1440 * MINUTE
TODAY = time.time_ns() // 1000 // DAY


def worker_reads(
    partitions: StubPartitions, provider: MarketScheduleProvider, universe: Universe | None = None
) -> WorkerReads:
    universe = universe or Universe()
    reporting = stub_reporting(partitions, provider, universe)
    return WorkerReads(partitions.real, provider, universe, reporting)


def always_open() -> tuple[MarketScheduleProvider, StubPartitions]:
    provider = MarketScheduleProvider.always_open()
    return provider, stub_partitions(provider, Rules(grace_us=0, inactive_after=5))


def test_series_that_had_no_tick_for_long_are_listed_as_asleep_here_and_elsewhere() -> None:
    provider, partitions = always_open()
    engine, universe = partitions.owned[0].engine, Universe()
    feed(engine, "AWAKE", [TODAY * DAY])
    feed(engine, "ASLEEP", [(TODAY - 6) * DAY])
    for symbol, day in (("FAR_AWAKE", TODAY - 1), ("FAR_ASLEEP", TODAY - 6)):
        universe.put(SeriesSeen("B", symbol, 3, day * DAY, day, True, day * DAY))
    kinds: dict[str, Any] = {
        info.symbol: info.kind for info in worker_reads(partitions, provider, universe).series()
    }
    assert kinds == {
        "AWAKE": "live", "ASLEEP": "asleep", "FAR_AWAKE": "live", "FAR_ASLEEP": "asleep",
    }  # fmt: skip


def test_a_partition_that_another_worker_took_over_answers_nothing_and_is_not_ready() -> None:
    """Its memory holds bars that were never committed; the new owner may make other ones."""
    provider, partitions = always_open()
    owned = partitions.owned[0]
    feed(owned.engine, "X", [TODAY * DAY, TODAY * DAY + 5 * MINUTE])
    owned.finals.put(make_bar(TODAY * DAY, broker="B", symbol="X"))
    reads = worker_reads(partitions, provider)
    assert len(reads.bars("B", "X", 0, 1 << 55, 10, descending=False)) == 6
    assert reads.owner("B", "X") == Owner(0, here=True)
    assert reads.ready().ready

    owned.fenced = True
    with pytest.raises(NotHereError):
        reads.bars("B", "X", 0, 1 << 55, 10, descending=False)
    with pytest.raises(NotHereError):
        reads.live("B", "X")
    assert not reads.owner("B", "X").here
    assert list(reads.series()) == []
    readiness = reads.ready()
    assert not readiness.ready
    assert "partition 0" in readiness.reasons[0]
    assert list(reads.stats().partitions) == []
