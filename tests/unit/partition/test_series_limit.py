"""A partition that has as many series as `bars.max_series` allows takes no other."""

from __future__ import annotations

from typing import cast

from barstream.kafka.offsets import Extent
from barstream.market.schedule import MarketScheduleProvider
from barstream.model.key import series_key
from barstream.model.rejection import Reason
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.restored_state import restore_engine
from barstream.store.rocksdb import LocalPartition
from tests.property.engine_cases import Store, Tick, feed
from tests.property.verify_cases import rules_row, series_rows

RULES = Rules(0)
SECOND = 1_000_000


def started(store: Store, limit: int) -> PartitionMachine:
    """A worker that takes the partition over; its market never closes."""
    provider = MarketScheduleProvider.always_open()
    engine = PartitionMachine(
        0, RULES, provider, lambda _broker, _symbol: None,
        MachineOptions(judged_by=rules_row(RULES), max_series=limit),
    )  # fmt: skip
    engine.state.use_schedule(provider.index)
    everything = Extent(0, 1 << 40)
    restore_engine(
        engine, cast("LocalPartition", store.series), "ticks", None, everything, everything
    )
    return engine


def ticks(symbols: str, start: int = 0) -> list[Tick]:
    """One of each letter, a second apart."""
    return [Tick(at, name, at * SECOND, 1.0) for at, name in enumerate(symbols, start)]


def give(engine: PartitionMachine, symbols: str, start: int = 0) -> None:
    feed(engine, ticks(symbols, start), start, start + len(symbols))


def refused(store: Store) -> list[int]:
    return [
        int(said["offset"])
        for _, _, said in store.rejected
        if said["reason"] == Reason.TOO_MANY_SERIES.value.encode()
    ]


def test_series_that_come_when_all_places_are_taken_are_rejected_and_the_others_go_on() -> None:
    # offset  0 1 2 3 4 5 6
    # series  A A B C A B C    two places: full behind the first B
    store = Store()
    engine = started(store, 2)
    give(engine, "AABCABC")
    store.flush(engine)
    assert refused(store) == [3, 6]
    assert [(row.from_offset, row.is_full) for row in series_rows(store.series).rules] == [
        (0, False), (3, True),
    ]  # fmt: skip
    assert engine.gate.fullness == 1.0


def test_nothing_is_kept_of_names_that_a_full_partition_refuses() -> None:
    store = Store()
    engine = started(store, 1)
    give(engine, "A")
    for at in range(1, 200):
        feed(engine, [Tick(at, f"MADE UP {at}", at * SECOND, 1.0)], at, at + 1)
    assert len(engine.state) == 1
    store.flush(engine)
    assert len(refused(store)) == 199
    assert set(series_rows(store.series).series) == {("B", "A")}


def test_with_a_higher_limit_the_next_tick_of_a_series_is_its_first() -> None:
    store = Store()
    engine = started(store, 1)
    give(engine, "ABB")
    store.flush(engine)
    engine = started(store, 2)
    give(engine, "BC", 3)
    store.flush(engine)
    assert refused(store) == [1, 2, 4]
    assert [(row.from_offset, row.is_full) for row in series_rows(store.series).rules] == [
        (0, False), (1, True), (3, False), (4, True),
    ]  # fmt: skip


def test_with_a_lower_limit_those_that_are_taken_stay() -> None:
    store = Store()
    engine = started(store, 3)
    give(engine, "ABC")
    store.flush(engine)
    engine = started(store, 1)
    give(engine, "CBAD", 3)
    store.flush(engine)
    assert refused(store) == [6]


def test_the_place_of_a_series_that_was_dropped_is_free() -> None:
    store = Store()
    engine = started(store, 1)
    give(engine, "AB")
    store.flush(engine)
    del store.series[series_key("B", "A")]
    engine = started(store, 1)
    give(engine, "BA", 2)
    store.flush(engine)
    assert refused(store) == [1, 3]
