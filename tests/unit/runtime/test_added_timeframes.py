"""A timeframe that is added later has its bars as if it had been there all along."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from barstream.errors import StateUnusable
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.partition.finals_view import FinalsView
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.partition.missing_rollups import missing
from barstream.rules.series import Rules
from barstream.runtime.flush import bar_rows
from barstream.store.finals import FinalsPartition
from tests.property.engine_cases import Tick, chunk
from tests.unit.store.test_finals import Store

pytestmark = pytest.mark.slow

M = 60_000_000
D = 1440 * M
PERIODS = [Period.parse(text) for text in ("5m", "1h", "4h@session", "1d", "1wk", "1mo")]


def provider() -> MarketScheduleProvider:
    """Four weeks of two sessions a day, the first from the evening before."""
    rows: list[SessionRow] = []
    for date in range(20_003, 20_031):
        if date % 7 in (2, 3):
            continue
        open_us = date * D - 2 * 60 * M
        rows.append(SessionRow("B", "X", date, 0, open_us, open_us + 9 * 60 * M + M))
        rows.append(SessionRow("B", "X", date, 1, open_us + 10 * 60 * M, open_us + 22 * 60 * M))
    made = MarketScheduleProvider()
    made.swap(ScheduleIndex.build(rows))
    return made


def ticks() -> list[Tick]:
    rng = random.Random(5)
    at, made = 20_003 * D, list[Tick]()
    while at < 20_030 * D:
        at += int(rng.expovariate(1 / (9 * M)))
        made.append(Tick(len(made), "X", at, 100 + rng.random(), rng.choice([0.1, 0.3, 1.0])))
    return made


class Disk:
    """Local stores of one partition, and the engine on them."""

    def __init__(self, path: Path) -> None:
        self.stores = {
            period: FinalsPartition(Store(path / str(at)), 0)
            for at, period in enumerate([MINUTE, *PERIODS])
        }
        self.book = FinalsView(self.stores)

    def engine(self, periods: Iterable[Period]) -> PartitionMachine:
        engine = PartitionMachine(
            0,
            Rules(),
            provider(),
            lambda _b, _s: None,
            book=self.book,
            options=MachineOptions(periods=list(periods)),
        )
        engine.position = 0
        engine.schedule_changed()
        return engine

    def commit(self, engine: PartitionMachine) -> None:
        taken = engine.take()
        self.write(MINUTE, taken.finals)
        for period, bar in taken.rollups:
            self.write(period, [bar])

    def write(self, period: Period, bars: list[Bar]) -> None:
        store = self.stores[period]
        rows = [(row.key, row.value) for row in bar_rows(bars)]
        if rows:
            end = (store.offset() or 0) + len(rows)
            store.write([(key, value) for key, value in rows if key is not None], end)
        self.book.committed(period, bars)

    def run(self, periods: Iterable[Period], until: int) -> PartitionMachine:
        engine = self.engine(periods)
        records = ticks()[:until]
        for start in range(0, len(records), 500):
            part = chunk(records, start, min(start + 500, len(records)))
            while not engine.apply_ticks(*part, 0, at_end=False):
                self.commit(engine)
            self.commit(engine)
        return engine

    def bars(self, period: Period) -> list[Bar]:
        return self.book.between(period, "B", "X", 0, 1 << 60)


def added(
    disk: Disk, engine: PartitionMachine, periods: Iterable[Period], known: Sequence[str] = ()
) -> PartitionMachine:
    """The partition as it comes back with other periods, what is missing made."""
    again = disk.engine(periods)
    series = again.state.add("B", "X")
    again.state.closed_until_us[0] = engine.state.closed_until_us[0]
    series.first_tick_us = engine.state.series[0].first_tick_us
    again.state.saw_trading_date(series, engine.state.series[0].last_trading_date)
    again.rollups.restore(series)
    again.restored(known)
    again.fill(series)
    again.filled()
    disk.commit(again)
    return again


def test_bars_of_an_added_timeframe_are_those_it_would_have_had(tmp_path: Path) -> None:
    # one line adds a timeframe: nobody should have to wait a month for its first month
    whole, later = Disk(tmp_path / "whole"), Disk(tmp_path / "later")
    whole.run(PERIODS, 4_000)
    engine = later.run([], 4_000)
    added(later, engine, PERIODS)
    for period in PERIODS:
        assert whole.bars(period), period
        assert later.bars(period) == whole.bars(period), period


@pytest.mark.parametrize("until", [900, 1_500, 2_100, 3_333])
def test_bars_made_of_added_days_hold_all_of_them(tmp_path: Path, until: int) -> None:
    # wherever in its week, day or session the partition is when it comes back
    whole, later = Disk(tmp_path / "whole"), Disk(tmp_path / "later")
    for disk, periods in ((whole, PERIODS), (later, [])):
        engine = disk.run(periods, until)
        closed_us = int(engine.state.closed_until_us[0])
        date = max(bar.trading_date for bar in disk.bars(MINUTE))
        end_us = provider().index.for_series("B", "X")
        assert end_us is not None
        close_us = end_us.end_of_dates(date, date + 1)
        assert close_us is not None
        assert close_us >= closed_us
        # to the end of the day, and no further: the day is complete and not left behind
        engine.add_heartbeat(QueuedHeartbeat(0, "B", "X", close_us - M, 0))
        engine.heartbeats_read(1)
        disk.commit(engine)
    added(later, engine, PERIODS)
    for period in PERIODS:
        assert later.bars(period) == whole.bars(period), period


def test_a_timeframe_that_was_left_out_for_a_time_has_no_hole(tmp_path: Path) -> None:
    # 1h |==|==|  left out  |==|   removed from the settings and put back
    whole, holed = Disk(tmp_path / "whole"), Disk(tmp_path / "holed")
    engine = whole.run(PERIODS, 3_000)
    holed.run(PERIODS, 3_000)
    hour = Period.hours(1)
    store = holed.stores[hour]
    gone = [row.key for row in bar_rows(holed.bars(hour)[20:40]) if row.key is not None]
    store.write([(key, None) for key in gone], 1 << 30)
    others = [str(period) for period in PERIODS if period != hour]
    added(holed, engine, PERIODS, others)
    assert holed.bars(hour) == whole.bars(hour)


def test_a_timeframe_on_another_grid_is_refused(tmp_path: Path) -> None:
    # one topic cannot hold both
    engine = Disk(tmp_path / "grid").engine([Period.parse("4h+1h")])
    with pytest.raises(StateUnusable, match="must stay on its grid"):
        engine.restored(["4h"])


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    # a restart must not write what is there again
    disk = Disk(tmp_path / "one")
    engine = disk.run(PERIODS, 3_000)
    again = added(disk, engine, PERIODS)
    assert missing(again.book, again.rollups, again.state.series[0], PERIODS) == []
    assert again.take().rollups == []


def test_a_bucket_whose_beginning_retention_took_is_not_made(tmp_path: Path) -> None:
    # half an hour is no hour
    disk = Disk(tmp_path / "cut")
    engine = disk.run([], 3_000)
    minutes = disk.stores[MINUTE]
    minutes.begin_window(2 * D)
    cut_us = 20_004 * D + 30 * M
    late = [bar for bar in disk.bars(MINUTE) if bar.bucket_start_us >= cut_us]
    disk.write(MINUTE, late)
    for _ in minutes.expire(minutes._windows()[-1]):
        pass
    assert disk.bars(MINUTE)[0].bucket_start_us == cut_us
    added(disk, engine, [Period.hours(1)])
    assert disk.bars(Period.hours(1))[0].bucket_start_us == cut_us + 30 * M
