"""A read touches the rows it is about and no others, however many series lie around them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from barstream import Period, Rate, TimeBucket
from barstream.client import bind
from barstream.market.schedule import MarketScheduleProvider
from barstream.metrics import Metrics
from barstream.model.period import MINUTE
from barstream.model.time import MINUTE_US, iso_from_us
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.flush import bar_rows
from barstream.serve.owner import Peers, Router
from barstream.serve.query import RoutedBars
from barstream.store.finals import FinalsPartition
from tests.serve.engine_stub import OWN_URL, StubOwned, stub_partitions, stub_reads
from tests.serve.memory_reads import FIVE, make_bar
from tests.unit.store.test_finals import Store

from .conftest import TEN_US

MINUTES = 40
#: Each is the beginning of another, or next to it in the order of keys.
AROUND = ("A", "R", "S", "S\1", "S ", "S1", "S10", "S2", "SS", "T")


@dataclass
class Touched:
    """What cursors of a store did: seeks, and rows stepped onto."""

    seeks: int = 0
    keys: int = 0


class Counting:
    """A RocksDB whose cursors are counted."""

    def __init__(self, db: Any, touched: Touched) -> None:
        self._db = db
        self._touched = touched

    def iter(self) -> Any:
        return Cursor(self._db.iter(), self._touched)

    def items(self) -> Any:
        raise AssertionError("a read must not walk through the whole store")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


class Cursor:
    def __init__(self, cursor: Any, touched: Touched) -> None:
        self._cursor = cursor
        self._touched = touched

    def __getattr__(self, name: str) -> Any:
        if name.startswith("seek"):
            self._touched.seeks += 1
        elif name in ("next", "prev"):
            self._touched.keys += 1
        return getattr(self._cursor, name)


class CountedStore(Store):
    """As a Faust table has it."""

    touched: Touched | None = None

    def _db_for_partition(self, partition: int) -> Any:
        db = super()._db_for_partition(partition)
        return db if self.touched is None else Counting(db, self.touched)


@dataclass
class Stored:
    """A worker with many series on its disk."""

    stores: list[CountedStore]

    def read(self, prefix: list[str], period: Period, **options: Any) -> tuple[int, Touched]:
        """How many bars it gives, and what it touched."""
        touched = Touched()
        for store in self.stores:
            store.touched = touched
        bars = asyncio.run(TimeBucket.get(Rate, period).to_list(prefix, **options))
        for store in self.stores:
            store.touched = None
        return len(bars), touched


def stored(path: Path, others: int) -> Stored:
    stores = {period: CountedStore(path / f"{period}-{others}") for period in (MINUTE, FIVE)}
    tables = {period: FinalsPartition(store, 0) for period, store in stores.items()}
    provider = MarketScheduleProvider.always_open()
    partitions = stub_partitions(provider, Rules(0, 5), FIVE)
    engine = PartitionMachine(
        0, Rules(0, 5), provider, lambda _broker, _symbol: None, book=FinalsView(tables),
        options=MachineOptions(periods=(FIVE,)),
    )  # fmt: skip
    partitions.owned[0] = StubOwned(engine)
    names = [*AROUND, *(f"S{number:04d}" for number in range(others))]
    for name in names:
        engine.state.add("FX", name).first_tick_us = TEN_US
    for period, table in tables.items():
        step_us = period.size_us
        bars = [
            make_bar(TEN_US + number * step_us, symbol=name)
            for name in names
            for number in range(MINUTES * MINUTE_US // step_us)
        ]
        table.write([(row.key or b"", row.value) for row in bar_rows(bars)], 1)
    reads = stub_reads(partitions, provider)
    assert reads.url == OWN_URL
    bind(RoutedBars(reads, Router(reads, Peers(Metrics()))))
    return Stored(list(stores.values()))


@pytest.fixture(params=[0, 1000])
def worker(tmp_path: Path, request: pytest.FixtureRequest) -> Stored:
    """The same bars of the same series, alone and among a thousand others."""
    return stored(tmp_path, request.param)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("symbol", ["S", "S1", "T", "A"])
def test_one_series_is_one_seek_and_its_rows(worker: Stored, symbol: str, descending: bool) -> None:
    # a prefix that were S instead of S and NUL would give rows of S1, or read and drop them
    found, touched = worker.read(["FX", symbol], MINUTE, descending=descending)
    assert found == MINUTES
    assert touched.seeks == 1
    assert touched.keys <= MINUTES + 1
    found, touched = worker.read(["FX", symbol], FIVE, descending=descending)
    assert found == MINUTES // 5
    assert touched.keys <= MINUTES // 5 + 1


@pytest.mark.parametrize("descending", [False, True])
def test_a_span_or_a_limit_touches_no_more_than_it_gives(worker: Stored, descending: bool) -> None:
    start, end = iso_from_us(TEN_US + 10 * MINUTE_US), iso_from_us(TEN_US + 15 * MINUTE_US)
    found, touched = worker.read(["FX", "S"], MINUTE, start=start, end=end, descending=descending)
    assert found == 5
    assert touched.seeks == 1
    assert touched.keys <= 5 + 1
    found, touched = worker.read(["FX", "S"], MINUTE, limit=3, descending=descending)
    assert found == 3
    # one more, to know whether there are more
    assert touched.keys <= 3 + 1
    found, touched = worker.read(["FX", "S", start], MINUTE)
    assert (found, touched.seeks) == (1, 1)
    assert touched.keys <= 1 + 1
