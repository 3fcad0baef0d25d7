"""The engine of a worker, as the views read it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen, Universe
from barstream.model.bar_request import BarRequest
from barstream.model.period import MINUTE, Period
from barstream.rules.series import Rules
from barstream.runtime.membership import Membership
from barstream.serve.parameters import SeriesRequest
from barstream.serve.query import read_live
from barstream.serve.reads import NotHereError, Owner, Placement
from barstream.serve.views import series_page
from barstream.serve.worker_reads import WorkerReads

from .engine_stub import (
    OTHER_URL,
    OWN_URL,
    StubPartitions,
    feed,
    stub_partitions,
    stub_reads,
    stub_reporting,
)
from .memory_reads import FIVE, MemoryReads, make_bar

MINUTE_US = 60_000_000
DAY = 1440 * MINUTE_US
TODAY = time.time_ns() // 1000 // DAY
EVER = (0, 1 << 55, 10)


def always_open(*periods: Period) -> tuple[MarketScheduleProvider, StubPartitions]:
    provider = MarketScheduleProvider.always_open()
    return provider, stub_partitions(provider, Rules(grace_us=0, inactive_after=5), *periods)


def test_series_that_had_no_tick_for_long_are_listed_as_asleep_here_and_elsewhere() -> None:
    provider, partitions = always_open()
    engine, universe = partitions.owned[0].engine, Universe()
    feed(engine, "AWAKE", [TODAY * DAY])
    feed(engine, "ASLEEP", [(TODAY - 6) * DAY])
    for symbol, day in (("FAR_AWAKE", TODAY - 1), ("FAR_ASLEEP", TODAY - 6)):
        universe.put(SeriesSeen("B", symbol, 3, day * DAY, day, True, day * DAY))
    kinds: dict[str, Any] = {
        info.symbol: info.kind for info in stub_reads(partitions, provider, universe).series({0, 3})
    }
    assert kinds == {
        "AWAKE": "live", "ASLEEP": "asleep", "FAR_AWAKE": "live", "FAR_ASLEEP": "asleep",
    }  # fmt: skip


def test_a_partition_that_another_worker_took_over_answers_nothing_and_is_not_ready() -> None:
    """Its memory holds bars that were never committed; the new owner may make other ones."""
    provider, partitions = always_open()
    owned = partitions.owned[0]
    feed(owned.engine, "X", [TODAY * DAY, TODAY * DAY + 5 * MINUTE_US])
    owned.stored().put(make_bar(TODAY * DAY, broker="B", symbol="X"))
    reads = stub_reads(partitions, provider)
    assert len(reads.bars("B", "X", MINUTE, *EVER, descending=False)) == 6
    assert reads.owner("B", "X") == Owner(0, here=True)
    assert reads.names([0]) == [("B", "X")]
    assert reads.ready().ready

    reporting = stub_reporting(partitions, provider, Universe())
    assert list(reporting.stats().partitions) == [0]
    owned.fenced = True
    assert_nothing_is_read(reads)
    assert list(reporting.stats().partitions) == []
    readiness = reads.ready()
    assert not readiness.ready
    assert "partition 0" in readiness.reasons[0]


def assert_nothing_is_read(reads: WorkerReads) -> None:
    with pytest.raises(NotHereError):
        reads.bars("B", "X", MINUTE, *EVER, descending=False)
    with pytest.raises(NotHereError):
        reads.live("B", "X", MINUTE)
    with pytest.raises(NotHereError):
        reads.names([0])
    assert not reads.owner("B", "X").here
    assert list(reads.series({0})) == []
    assert list(reads.here) == []
    assert reads.placement().here == frozenset()


def test_a_worker_that_was_frozen_does_not_answer_for_what_it_may_have_lost() -> None:
    """Others may have made bars since that it knows nothing of, and it cannot tell yet.

    ::

        heartbeat sent   frozen                  woken    answered again
        0 s                                      7 s
        |---------- session timeout 6 s ------|
        | sure                                | not sure  | sure
    """
    now_s = [100.0]
    membership = Membership(6.0, lambda: now_s[0])
    provider, partitions = always_open()
    feed(partitions.owned[0].engine, "X", [TODAY * DAY])
    reads = stub_reads(partitions, provider, membership=membership)
    assert_nothing_is_read(reads)

    membership.heard(100.0)
    now_s[0] = 105.9
    assert reads.ready().ready
    assert reads.owner("B", "X").here

    now_s[0] = 107.0
    assert_nothing_is_read(reads)
    readiness = reads.ready()
    assert not readiness.ready
    assert "silent for 7 s" in readiness.reasons[0]

    membership.heard(107.0)
    assert reads.ready().ready


def test_final_wins_over_live_and_what_is_not_committed_is_live() -> None:
    """A bar whose transaction may still fail must not be called final.

    ::

        10:00          10:05                      10:10
        |-- on disk --|-- final in memory only --|-- open ...
    """
    provider, partitions = always_open(FIVE)
    owned, start_us = partitions.owned[0], TODAY * DAY
    feed(owned.engine, "X", [start_us + minute * MINUTE_US for minute in range(12)])
    reads = stub_reads(partitions, provider)

    def statuses(period: Period, *, descending: bool = False, limit: int = 100) -> list[Any]:
        bars = reads.bars("B", "X", period, 0, 1 << 55, limit, descending=descending)
        return [((bar.bucket_start_us - start_us) // MINUTE_US, bar.final) for bar in bars]

    assert statuses(FIVE) == [(0, False), (5, False), (10, False)]
    assert [bar.tick_count for bar in reads.live("B", "X", FIVE)] == [2]

    book = owned.engine.book
    first = book.get(FIVE, "B", "X", start_us)
    assert first is not None
    owned.stored(FIVE).put(first)
    book.committed(FIVE, [first])
    assert statuses(FIVE) == [(0, True), (5, False), (10, False)]
    assert statuses(FIVE, descending=True, limit=2) == [(10, False), (5, False)]
    assert [minute for minute, _ in statuses(MINUTE)] == list(range(12))
    assert reads.periods == (MINUTE, FIVE)

    # a revision that is not committed does not take the place of the final that is
    book.put(FIVE, first.replace(revision=1))
    assert [bar.revision for bar in reads.bars("B", "X", FIVE, *EVER, descending=False)] == [0] * 3


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_few_bars_are_the_first_or_the_last_of_many_on_disk(limit: int) -> None:
    provider, partitions = always_open()
    owned, start_us = partitions.owned[0], TODAY * DAY
    for symbol in ("Z", "X", "A"):
        feed(owned.engine, symbol, [start_us])
    bars = [make_bar(start_us + n * MINUTE_US, broker="B", symbol="X") for n in range(1, 6)]
    owned.stored().put(*bars)
    reads = stub_reads(partitions, provider)
    span = (start_us + MINUTE_US, start_us + 6 * MINUTE_US)
    assert reads.bars("B", "X", MINUTE, *span, limit, descending=False) == bars[:limit]
    assert reads.bars("B", "X", MINUTE, *span, limit, descending=True) == bars[::-1][:limit]
    assert reads.names([0]) == [("B", "A"), ("B", "X"), ("B", "Z")]


def test_an_instant_means_the_bucket_of_its_session() -> None:
    r"""::

    session      12:07        13:07        14:07 14:30  (1h@session)
    asked           12:08 -> 12:07   14:10 -> 14:07   15:00: of no session
    """
    provider, at = MarketScheduleProvider(), 12 * 60 * MINUTE_US + 7 * MINUTE_US
    provider.swap(ScheduleIndex.build([SessionRow("B", "X", 0, 0, at + 1, at + 143 * MINUTE_US)]))
    reads = stub_reads(stub_partitions(provider, Rules()), provider)
    anchored = Period.parse("1h@session")
    hour = 60 * MINUTE_US
    for asked_us, start_us in (
        (at, at),
        (at + MINUTE_US, at),
        (at + 2 * hour + 3 * MINUTE_US, at + 2 * hour),
        (at + 3 * hour, at + 3 * hour),
    ):
        assert reads.bucket_of("B", "X", anchored, asked_us) == start_us
    assert reads.bucket_of("B", "X", Period.hours(1), at) == 12 * hour
    assert reads.bucket_of("B", "UNSCHEDULED", anchored, at) == at


def test_every_partition_has_a_holder_or_is_known_to_have_none() -> None:
    provider, partitions = always_open()
    reads = stub_reads(partitions, provider)
    assert reads.placement() == Placement(
        OWN_URL, frozenset({0}), {0: OWN_URL, 1: OTHER_URL, 2: None}
    )
    assert reads.placement().elsewhere() == {OTHER_URL: {1}, None: {2}}
    # given to this worker, which does not hold it (yet): nobody is to be asked for it
    partitions.owned[0].fenced = True
    assert reads.placement().elsewhere() == {OTHER_URL: {1}, None: {0, 2}}


def test_the_list_of_series_goes_on_after_a_name_here_and_elsewhere() -> None:
    provider, partitions = always_open()
    universe = Universe()
    for symbol in ("D", "A", "C"):
        feed(partitions.owned[0].engine, symbol, [TODAY * DAY])
        universe.put(SeriesSeen("B", symbol, 0, 1, TODAY, True, TODAY * DAY))
    for symbol, partition in (("E", 3), ("B", 3), ("F", 2)):
        universe.put(SeriesSeen("B", symbol, partition, 1, TODAY, True, TODAY * DAY))
    reads = stub_reads(partitions, provider, universe)
    names = [("B", symbol) for symbol in "ABCDE"]
    for at in range(len(names) + 1):
        after = names[at - 1] if at else None
        found = [(info.broker, info.symbol) for info in reads.series({0, 3}, after)]
        assert found == names[at:]
    assert [info.symbol for info in reads.series({2, 3})] == ["B", "E", "F"]
    assert [info.symbol for info in reads.series({0}, ("B", "AA"))] == ["C", "D"]


@pytest.mark.parametrize("what", ["live", "series"])
def test_the_loop_has_its_turn_while_a_long_list_is_made(what: str) -> None:
    """Heartbeats of the group and flushes wait for nobody who looks at ten thousand series."""
    reads = MemoryReads()
    for number in range(1_000):
        reads.add(make_bar(TODAY * DAY, symbol=f"S{number:04}", final=False))
    turns = 0

    async def run() -> None:
        nonlocal turns
        listed: asyncio.Task[Any]
        if what == "live":
            listed = asyncio.create_task(read_live(reads, BarRequest(MINUTE, limit=1_000), {0}))
        else:
            listed = asyncio.create_task(series_page(reads, SeriesRequest(1_000, None), {0}))
        while not listed.done():
            await asyncio.sleep(0)
            turns += 1
        await listed

    asyncio.run(run())
    assert turns >= 10
