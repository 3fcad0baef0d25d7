"""When a series may not be dropped, and what loads make of one that was."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from aiokafka.errors import ProducerFenced

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.load_position import LastTick, LoadPosition
from barstream.codecs.topics.load_position import encode as encode_position
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    WithdrawnEnd,
    encode_withdrawal,
)
from barstream.config import load_settings
from barstream.feeds.load_positions import LoadRecords
from barstream.heartbeat.recovery import Recovered
from barstream.kafka import fence
from barstream.kafka.flush import Row
from barstream.market.schedule import AlwaysOpenIndex
from barstream.market.universe import SeriesSeen
from barstream.model.key import bar_key
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules
from barstream.series.contents import Holding, HoldingReader, StoredBars, Total
from barstream.series.drop import Drop, DropRefused, refuse_loading

Rows = Mapping[tuple[str, int], Sequence[Row]]
NOW_US = 1_700_000_040_000_000
NAME = "FX", "EURUSD"
OTHER = "FX", "USDJPY"


def drop(**options: str) -> Drop:
    settings = load_settings(env={f"BARSTREAM_{key}": text for key, text in options.items()})
    return Drop(settings, NAME, lambda: NOW_US)


def refuse_live(dropping: Drop, time_us: int, stamp_us: int, *, append_time: bool = True) -> None:
    """Look at one tick with an event time and a timestamp of its record."""
    chunk = RecordChunk(
        "ticks", 0, 7, 8, [b"k"], [b"v"], np.array([7]), np.array([stamp_us]), append_time
    )
    dropping._refuse_live(chunk, np.array([0]), np.array([time_us]))


@pytest.mark.parametrize(
    ("age_us", "behind_us", "is_live"),
    [
        (0, 0, True),
        (0, 5 * SECOND_US, True),
        (0, 6 * SECOND_US, False),  # a file that was loaded just now
        (299 * SECOND_US, 0, True),
        (301 * SECOND_US, 0, False),  # its feed was stopped
    ],
)
def test_a_tick_that_came_as_it_happened_minutes_ago_is_of_a_live_feed(
    age_us: int, behind_us: int, is_live: bool
) -> None:
    stamp_us = NOW_US - age_us
    if not is_live:
        refuse_live(drop(), stamp_us - behind_us, stamp_us)
        return
    with pytest.raises(DropRefused, match=r"offset 7 of ticks\[0\] came as it happened"):
        refuse_live(drop(), stamp_us - behind_us, stamp_us)


def test_where_producers_say_the_time_the_event_time_alone_tells() -> None:
    with pytest.raises(DropRefused):
        refuse_live(drop(), NOW_US - MINUTE_US, 0, append_time=False)
    refuse_live(drop(), NOW_US - 10 * MINUTE_US, NOW_US, append_time=False)


def test_a_feed_that_is_late_by_contract_is_live_all_the_same() -> None:
    late = drop(HEARTBEATS__FEED_DELAY_S='{"FX": 900}')
    with pytest.raises(DropRefused):
        refuse_live(late, NOW_US - 900 * SECOND_US, NOW_US)
    refuse_live(drop(), NOW_US - 900 * SECOND_US, NOW_US)


def holding(partition: int = 0, ticks: int = 5, **more: Any) -> Holding:
    told: dict[str, Any] = {"bars": {}, "keys": {}, "heartbeats": 0, "is_home": False}
    return Holding(partition, ticks, WithdrawnEnd(10, 4), before=None, **(told | more))


def load(*, done: bool, age_us: int, last: dict[int, int] | None = None) -> LoadPosition:
    ticks = {partition: LastTick(at, 0) for partition, at in (last or {0: 7}).items()}
    return LoadPosition("id", "a.csv", "ticks", 9, 5, done, NOW_US - age_us, ticks)


def records(*rows: LoadPosition | WithdrawalRow) -> LoadRecords:
    return LoadRecords(
        "loads",
        {
            row.key: encode_position(row)
            if isinstance(row, LoadPosition)
            else encode_withdrawal(row)
            for row in rows
        },
    )


@pytest.mark.parametrize(
    ("position", "refused"),
    [
        (load(done=False, age_us=SECOND_US), True),
        (load(done=True, age_us=SECOND_US), False),
        (load(done=False, age_us=2 * MINUTE_US), False),
        (load(done=False, age_us=SECOND_US, last={3: 7}), False),
    ],
)
def test_a_load_that_may_go_on_in_its_partition_keeps_it(
    position: LoadPosition, refused: bool
) -> None:
    loads = records(position, WithdrawalRow(*NAME, 1, {}))
    if refused:
        with pytest.raises(DropRefused, match="a load that has ended is required"):
            refuse_loading(loads, "ticks", {0}, NOW_US)
    else:
        refuse_loading(loads, "ticks", {0}, NOW_US)
    refuse_loading(loads, "ticks", set(), NOW_US)
    refuse_loading(None, "ticks", {0}, NOW_US)


@pytest.mark.parametrize(
    ("ends", "withdrawn"),
    [
        ({0: WithdrawnEnd(8, 0)}, [NAME]),  # its newest tick there, 7, is below
        ({0: WithdrawnEnd(7, 0)}, []),  # loaded again since
        ({1: WithdrawnEnd(99, 0)}, []),
        ({1: WithdrawnEnd(99, 0), 0: WithdrawnEnd(8, 0)}, [NAME]),
    ],
)
def test_a_load_is_undone_for_series_that_were_dropped_after_its_last_tick(
    ends: dict[int, WithdrawnEnd], withdrawn: list[tuple[str, str]]
) -> None:
    position = load(done=True, age_us=0)
    found = records(position, WithdrawalRow(*NAME, NOW_US, ends))
    assert found.withdrawn(position, [NAME, OTHER]) == withdrawn


def test_partitions_add_up_and_those_with_nothing_are_left_out() -> None:
    some = {"1m": StoredBars(3, 60, 180)}, {"1m": StoredBars(1, 0, 0), "5m": StoredBars(1, 0, 0)}
    parts = [
        holding(0, bars=some[0], heartbeats=2),
        holding(1, bars=some[1], heartbeats=1),
        holding(2, ticks=0),
    ]
    total = Total.of(parts)
    assert total.bars == {"1m": StoredBars(4, 0, 180), "5m": StoredBars(1, 0, 0)}
    assert (total.ticks, total.heartbeats, total.ends) == (10, 3, {0: 10, 1: 10})


class Producers:
    """Stands in for the producers of partitions, and keeps what they write."""

    def __init__(self, failing: str | None = None) -> None:
        self.written: dict[str, Rows] = {}
        self._failing = failing
        self._started = ""

    def __call__(self, _options: Any, transactional_id: str, _within_s: float) -> Producers:
        self._started = transactional_id
        return self

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def write(self, rows: Rows) -> None:
        if self._started == self._failing:
            raise ProducerFenced
        self.written[self._started] = rows


async def nothing(*_: Any) -> None:
    """Nothing is waited for."""


def run(
    monkeypatch: pytest.MonkeyPatch, producers: Producers, parts: list[Holding]
) -> list[Holding]:
    """Drop what these partitions have."""

    async def as_it_was(_: HoldingReader, part: Holding, _home: int | None) -> Holding:
        return part

    monkeypatch.setattr(fence, "PartitionWriter", producers)
    monkeypatch.setattr(fence, "decided", nothing)
    monkeypatch.setattr(fence, "require_no_workers", nothing)
    monkeypatch.setattr(HoldingReader, "read_again", as_it_was)
    dropping = drop(APP_ID="mine")
    dropping.seen = SeriesSeen(*NAME, 0, 0, 0, live=False, closed_until_us=0)
    dropping.records = records(WithdrawalRow(*NAME, 1, {7: WithdrawnEnd(3, 3)}))
    return asyncio.run(dropping.run(parts))


HOME = holding(0, is_home=True, heartbeats=1, keys={"hb_1m": [b"beat"], "rate_1m_final": [b"bar"]})
STRAY = holding(2)


def test_the_partition_with_bars_comes_last_and_takes_what_is_of_no_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producers = Producers()
    assert run(monkeypatch, producers, [holding(1, ticks=0), STRAY, HOME]) == [STRAY, HOME]
    row = WithdrawalRow(*NAME, NOW_US, {0: WithdrawnEnd(10, 4)})
    everywhere = {0: WithdrawnEnd(10, 4), 2: WithdrawnEnd(10, 4), 7: WithdrawnEnd(3, 3)}
    marks = {
        at: [Row(row.key, encode_withdrawal(replace(row, ends={at: WithdrawnEnd(10, 4)})))]
        for at in (0, 2)
    }
    assert producers.written == {
        "mine-2": {("mine-series", 2): marks[2]},
        "mine-0": {
            ("hb_1m", 0): [Row(b"beat", None)],
            ("rate_1m_final", 0): [Row(b"bar", None)],
            ("mine-series", 0): marks[0],
            ("series_seen", 0): [Row(b"FX\0EURUSD", None)],
            ("loads", 0): [Row(row.key, encode_withdrawal(replace(row, ends=everywhere)))],
        },
    }


def test_a_drop_that_a_worker_fenced_has_written_nothing_of_that_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producers = Producers(failing="mine-0")
    with pytest.raises(DropRefused, match="a worker took partition 0 over"):
        run(monkeypatch, producers, [STRAY, HOME])
    assert list(producers.written) == ["mine-2"]


def test_a_leader_does_not_go_on_from_a_heartbeat_that_was_withdrawn() -> None:
    rules, found = HeartbeatRules(grace_us=5 * SECOND_US, inactive_after=5), Recovered()
    minute_us = NOW_US - NOW_US % MINUTE_US
    keys = {name: bar_key(*name, minute_us) for name in (NAME, OTHER)}
    for key in keys.values():
        found.take(key, minute_us + 2 * MINUTE_US, rules, AlwaysOpenIndex())
    found.withdraw(keys[NAME])
    found.withdraw(b"garbage")
    assert found.marks == {OTHER: minute_us}
