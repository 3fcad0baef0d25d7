"""The engine of a worker, as the views read it."""

from __future__ import annotations

import time
from typing import Any, cast

from barstream.core.schedule import MarketScheduleProvider
from barstream.core.state import Rules
from barstream.core.universe import SeriesSeen, Universe
from barstream.web.reporting import Reporting
from barstream.web.worker_reads import WorkerReads

from .engine_stub import StubPartitions, feed, stub_partitions

MINUTE = 60_000_000
DAY = 1440 * MINUTE
TODAY = time.time_ns() // 1000 // DAY


class NoReporting:
    """Who holds what is not known."""

    def url_of(self, _partition: int) -> str | None:
        return None


def worker_reads(
    partitions: StubPartitions, provider: MarketScheduleProvider, universe: Universe | None = None
) -> WorkerReads:
    return WorkerReads(
        partitions.real, provider, universe or Universe(), cast("Reporting", NoReporting())
    )


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
