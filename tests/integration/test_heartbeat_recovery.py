"""The last emitted minute is read from the recent end of ``hb_1m``, not from days of it.

The topics here have CreateTime, so that a test can say when a record was appended.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer

from barstream.clock import system_clock_us
from barstream.codecs.topics.heartbeat import HeartbeatRecord, encode
from barstream.heartbeat.recovery import RECENT_US, Recovered, recover
from barstream.market.schedule import AlwaysOpenIndex
from barstream.model.time import MINUTE_US, SECOND_US, floor_minute
from tests.integration.heartbeat_bench import RULES, Town

HOUR_US = 60 * MINUTE_US
SCHEDULE = AlwaysOpenIndex()


def beat(symbol: str, minute_us: int, source: str = "planner") -> HeartbeatRecord:
    return HeartbeatRecord("DEMO", symbol, minute_us, 0, 0, source)


async def put(
    town: Town, partition: int, records: list[tuple[HeartbeatRecord, int]], *, commit: bool = True
) -> None:
    """Records with their append times; aborted ones if not ``commit``.

    Committed ones without a transaction: its marker would carry the time of today.
    """
    name = {} if commit else {"transactional_id": f"{town.name}-put"}
    producer = AIOKafkaProducer(**town.options, **name)
    await producer.start()
    if not commit:
        await producer.begin_transaction()
    for record, at_us in records:
        await producer.send_and_wait(
            town.beats,
            encode(record),
            key=record.key,
            partition=partition,
            timestamp_ms=at_us // 1000,
        )
    if not commit:
        await producer.abort_transaction()
    await producer.stop()


def on_time(minute_us: int) -> int:
    return RULES.closes_at(minute_us) + SECOND_US


def test_the_newest_minute_of_each_series_is_found_though_the_log_ended_hours_ago(
    kafka: Any,
) -> None:
    async def scene() -> Recovered:
        town = Town(kafka.bootstrap)
        await town.create(append_time=False)
        last = floor_minute(system_clock_us()) - 7 * HOUR_US
        minutes = [last - n * MINUTE_US for n in (3, 2, 1, 0)]
        await put(town, 0, [(beat("A", k), on_time(k)) for k in minutes])
        await put(town, 1, [(beat("B", k, "loader"), on_time(last)) for k in minutes[:2]])
        recovered = await recover(town.cluster, town.beats, system_clock_us(), [], RULES, SCHEDULE)
        assert recovered.marks == {("DEMO", "A"): last, ("DEMO", "B"): last - 2 * MINUTE_US}
        assert recovered.newest_us is not None
        assert abs(recovered.newest_us - on_time(last)) < SECOND_US
        return recovered

    asyncio.run(scene())


def test_days_of_the_log_are_not_read_but_the_windows_asked_for_are(kafka: Any) -> None:
    #  FRIDAY closed long ago   |  OLD an hour ago  |   NEW just now
    #  ^ window                    not read             ^ recent end
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create(append_time=False)
        new = floor_minute(system_clock_us()) - 2 * MINUTE_US
        old, friday = new - HOUR_US, new - 30 * HOUR_US
        for symbol, k in (("FRIDAY", friday), ("OLD", old), ("NEW", new)):
            await put(town, 0, [(beat(symbol, k), on_time(k))])
        due_us = RULES.due_us("DEMO", friday)
        windows = [(due_us, due_us + 2 * MINUTE_US)]
        assert RECENT_US < HOUR_US
        recovered = await recover(
            town.cluster, town.beats, system_clock_us(), windows, RULES, SCHEDULE
        )
        assert recovered.marks == {("DEMO", "FRIDAY"): friday, ("DEMO", "NEW"): new}

    asyncio.run(scene())


def test_aborted_heartbeats_and_markers_at_the_end_are_passed_over(kafka: Any) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create(append_time=False)
        last = floor_minute(system_clock_us()) - 3 * MINUTE_US
        await put(town, 0, [(beat("A", last), on_time(last))])
        later = last + MINUTE_US
        await put(town, 0, [(beat("A", later), on_time(later))], commit=False)
        recovered = await recover(town.cluster, town.beats, system_clock_us(), [], RULES, SCHEDULE)
        assert recovered.marks == {("DEMO", "A"): last}

    asyncio.run(scene())


def test_an_hour_of_nothing_but_aborted_heartbeats_is_looked_behind(kafka: Any) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create(append_time=False)
        last = floor_minute(system_clock_us()) - HOUR_US
        await put(town, 0, [(beat("A", last), on_time(last))])
        for k in range(last + MINUTE_US, last + HOUR_US, 20 * MINUTE_US):
            await put(town, 0, [(beat("A", k), on_time(k))], commit=False)
        recovered = await recover(town.cluster, town.beats, system_clock_us(), [], RULES, SCHEDULE)
        assert recovered.marks == {("DEMO", "A"): last}

    asyncio.run(scene())


def test_an_empty_topic_recovers_nothing(kafka: Any) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create(append_time=False)
        recovered = await recover(town.cluster, town.beats, system_clock_us(), [], RULES, SCHEDULE)
        assert (recovered.marks, recovered.newest_us) == ({}, None)

    asyncio.run(scene())


def test_a_heartbeat_from_before_its_minute_was_over_does_not_count_as_emitted() -> None:
    recovered = Recovered()
    minute_us = 28_000_000 * MINUTE_US
    recovered.take(beat("A", minute_us).key, RULES.closes_at(minute_us) - 1, RULES, SCHEDULE)
    assert recovered.marks == {}
    recovered.take(beat("A", minute_us).key, RULES.closes_at(minute_us), RULES, SCHEDULE)
    assert recovered.marks == {("DEMO", "A"): minute_us}
    recovered.take(b"garbage", RULES.closes_at(minute_us), RULES, SCHEDULE)
    assert len(recovered.marks) == 1
