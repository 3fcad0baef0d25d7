"""A worker's web server with one hour of one series, fresh for every test that changes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from barstream.model.time import MINUTE_US, us_from_iso

from .memory_reads import FIVE, MemoryReads, make_bar
from .web_worker import WebWorker, web_worker

TEN_US = us_from_iso("2024-03-04T10:00:00Z")


def an_hour(symbol: str = "EURUSD") -> MemoryReads:
    """10:00 to 10:59 final, every tenth minute synthetic, 11:00 live; and five minutes of it."""
    reads = MemoryReads()
    for minute in range(60):
        synthetic = minute % 10 == 9
        price = 1.1 + minute / 10_000
        start_us = TEN_US + minute * MINUTE_US
        reads.add(make_bar(start_us, price, symbol=symbol, synthetic=synthetic))
    reads.add(make_bar(TEN_US + 60 * MINUTE_US, 1.107, symbol=symbol, final=False))
    for minute in range(0, 65, 5):
        price, start_us = 1.2 + minute / 10_000, TEN_US + minute * MINUTE_US
        bar = make_bar(start_us, price, symbol=symbol, final=minute < 60)
        reads.add(bar.replace(revision=int(minute == 50)), period=FIVE)
    return reads


@pytest.fixture
def worker() -> Iterator[WebWorker]:
    with web_worker(an_hour()) as running:
        yield running


@pytest.fixture(scope="module")
def shared_worker() -> Iterator[WebWorker]:
    """For tests that only read."""
    with web_worker(an_hour()) as running:
        yield running
