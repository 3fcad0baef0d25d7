"""Three workers on real HTTP, and the same bars read inside one of them and from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from barstream import Period, Rate, TimeBucket
from barstream.client import bind
from barstream.model.period import MINUTE
from barstream.model.time import MINUTE_US, us_from_iso
from tests.serve.memory_reads import FIVE, MemoryReads, Series, make_bar
from tests.serve.web_worker import WebWorker, web_worker

TEN_US = us_from_iso("2024-03-04T10:00:00Z")
#: Of 1m bars by symbol; ``S`` and ``S2`` are one prefix for whoever forgets the NUL.
MINUTES = {"A": 7, "S": 12, "S2": 5, "T/€": 3}

Read = Callable[[TimeBucket], Awaitable[Any]]


@dataclass(frozen=True)
class Service:
    """Workers that share the series among them."""

    workers: list[WebWorker]

    def inside(self, read: Read, period: Period = MINUTE, worker: int = 0) -> Any:
        """What code inside one of the workers reads, on its event loop."""
        chosen = self.workers[worker]
        bind(chosen.bars)

        async def reading() -> Any:
            return await read(TimeBucket.get(Rate, period))

        return asyncio.run_coroutine_threadsafe(reading(), chosen.loop).result(30)

    def outside(self, read: Read, period: Period = MINUTE, worker: int = 0) -> Any:
        """What a program of its own reads from one of the workers."""

        async def reading() -> Any:
            async with TimeBucket.connect(self.workers[worker].url) as service:
                return await read(service.get(Rate, period))

        return asyncio.run(reading())

    def ways(self) -> list[Callable[..., Any]]:
        """Of reading."""
        return [self.inside, self.outside]


@pytest.fixture(autouse=True)
def nothing_bound() -> Iterator[None]:
    yield
    bind(None)


@pytest.fixture
def service() -> Iterator[Service]:
    """Broker FX: minutes from 10:00, the last one live, and one of five minutes; no tick of U."""
    partition_of: dict[Series, int] = {}
    holders: dict[int, str | None] = {}
    stores = [
        MemoryReads(partition_of=partition_of, holders=holders, here={number})
        for number in range(3)
    ]
    for number, (symbol, minutes) in enumerate(MINUTES.items()):
        reads = stores[number % 3]
        partition_of["FX", symbol] = number % 3
        for minute in range(minutes):
            final = minute < minutes - 1
            start_us = TEN_US + minute * MINUTE_US
            reads.add(make_bar(start_us, 1.1 + minute / 7000, symbol=symbol, final=final))
        reads.add(make_bar(TEN_US, 1.1, symbol=symbol), period=FIVE)
    partition_of["CFD", "S"] = 0
    stores[0].add(make_bar(TEN_US, 7.0, broker="CFD", symbol="S", synthetic=True))
    with ExitStack() as stack:
        workers = [stack.enter_context(web_worker(reads)) for reads in stores]
        holders |= {number: worker.url for number, worker in enumerate(workers)}
        yield Service(workers)
