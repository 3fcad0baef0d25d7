"""Heartbeats on a real broker (spec 5): what is sent, where to, and with which barrier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from barstream.clock import system_clock_us
from barstream.heartbeat.producer import Due, LoaderHeartbeats
from barstream.market.schedule import MarketScheduleProvider
from barstream.model.time import MINUTE_US, SECOND_US, floor_minute
from barstream.rules.heartbeat_plan import HeartbeatRules
from tests.integration.heartbeat_bench import (
    RULES,
    Town,
    due_minutes,
    eventually,
    live_row,
    minutes_of,
    running,
)


def test_a_leader_catches_up_without_a_hole_in_order_each_in_the_partition_of_its_ticks(
    kafka: Any,
) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        rows = [live_row("A", 2, minutes_back=9), live_row("B", 0), live_row("C", 2)]
        rules = HeartbeatRules(SECOND_US, 5, max_catch_up=20)  # several rounds
        leader = town.leader(rows, rules=rules)
        async with running(leader):
            wanted = sum(len(due_minutes(row)) for row in rows)
            await eventually(lambda: leader.report.sent_total >= wanted)
        beats = await town.beats_committed()
        for row in rows:
            minutes = minutes_of(beats, row.symbol)
            assert minutes[: len(due_minutes(row))] == due_minutes(row)
        by_offset = [b.record.bucket_start_us for b in beats if b.partition == 2]
        assert by_offset == sorted(by_offset)  # oldest first across series
        assert {(b.record.symbol, b.partition) for b in beats} == {("A", 2), ("B", 0), ("C", 2)}
        for beat in beats:
            assert beat.key == beat.record.key
            assert beat.record.source == "planner"
            assert beat.appended_us >= rules.closes_at(beat.record.bucket_start_us)

    asyncio.run(scene())


def test_the_barrier_is_the_end_offset_with_control_records_and_open_transactions(
    kafka: Any,
) -> None:
    # p0: 3 ticks   p1: 2 ticks + commit marker   p2: 2 ticks of a transaction still open
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        await town.append(town.ticks, 0, [b"t"] * 3)
        feed = AIOKafkaProducer(**town.options, transactional_id=f"{town.name}-feed")
        await feed.start()
        async with feed.transaction():
            for _ in range(2):
                await feed.send_and_wait(town.ticks, b"t", partition=1)
        await feed.begin_transaction()
        for _ in range(2):
            await feed.send_and_wait(town.ticks, b"t", partition=2)
        rows = [live_row(symbol, n, 2) for n, symbol in enumerate("ABC")]
        leader = town.leader(rows)
        async with running(leader):
            await eventually(lambda: leader.report.sent_total >= len(rows))
        await feed.abort_transaction()
        await feed.stop()
        beats = await town.beats_committed()
        assert {(b.partition, b.record.barrier) for b in beats} == {(0, 3), (1, 3), (2, 2)}

    asyncio.run(scene())


def test_a_follower_plans_and_sends_nothing_until_it_leads_and_stops_when_it_does_not(
    kafka: Any,
) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        row = live_row("A", 0)
        leader = town.leader([row], leads=False)
        async with running(leader):
            await eventually(lambda: leader.report.planned > 0)
            assert await town.beats_committed() == []
            assert not leader.report.leader
            leader.assigned()
            await eventually(lambda: leader.report.sent_total >= len(due_minutes(row)))
            leader.revoked()
            await eventually(lambda: not leader.report.leader)
            sent = leader.report.sent_total
            leader.sources.universe.put(live_row("B", 1))
            leader.wake()
            # once, by whichever round comes next: `planned` may already be of the one after it
            await eventually(lambda: ("DEMO", "B") in leader._emitted.marks)
            assert leader.report.sent_total == sent
        assert minutes_of(await town.beats_committed(), "B") == []

    asyncio.run(scene())


def test_a_leader_sends_nothing_while_the_group_is_rebalancing(kafka: Any) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        rebalancing = [False]
        row = live_row("A", 0)
        leader = town.leader([row], rebalancing=lambda: rebalancing[0])
        async with running(leader):
            await eventually(lambda: leader.report.sent_total >= len(due_minutes(row)))
            rebalancing[0] = True
            sent, other = leader.report.sent_total, live_row("B", 1)
            leader.sources.universe.put(other)
            leader.wake()
            await eventually(lambda: leader.report.planned >= len(due_minutes(other)))
            await asyncio.sleep(0.5)
            assert leader.report.sent_total == sent
            rebalancing[0] = False
            await eventually(lambda: leader.report.sent_total >= sent + len(due_minutes(other)))

    asyncio.run(scene())


def test_what_was_appended_when_the_leadership_goes_is_never_seen(kafka: Any) -> None:
    # Asked at taking over, before sending, and last between appending and committing.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        asked: list[bool] = []

        def rebalancing() -> bool:
            asked.append(True)
            if len(asked) == 3:
                leader.revoked()
            return not leader.leads

        leader = town.leader([live_row("A", 0)], rebalancing=rebalancing)
        async with running(leader):
            await eventually(lambda: len(asked) >= 3 and not leader.report.leader)
        assert leader.report.sent_total == 0
        assert await town.beats_committed() == []

    asyncio.run(scene())


@pytest.mark.parametrize("schedule_first", [True, False])
def test_nothing_is_sent_before_schedule_and_topics_are_ready(
    kafka: Any, schedule_first: bool
) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)  # no topics yet: to touch the broker would fail
        ready = [False]
        provider = MarketScheduleProvider()
        row = live_row("A", 0)
        leader = town.leader([row], provider=provider, ready=lambda: ready[0])
        async with running(leader):
            await asyncio.sleep(0.3)
            assert leader.report.errors == 0
            await town.create()
            steps: list[Callable[[], None]] = [
                lambda: ready.__setitem__(0, True),
                lambda: provider.swap(MarketScheduleProvider.always_open().index),
            ]
            if schedule_first:
                steps.reverse()
            steps[0]()
            await asyncio.sleep(0.3)
            assert not leader.report.leader  # the other is still missing
            steps[1]()
            await eventually(lambda: leader.report.sent_total >= len(due_minutes(row)))

    asyncio.run(scene())


def test_a_minute_is_sent_when_the_clock_says_so_and_within_a_second(kafka: Any) -> None:
    # The grace is chosen so that the running minute comes due two seconds from now.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        now_us = system_clock_us()
        minute_us = floor_minute(now_us) - MINUTE_US
        grace_us = now_us + 2 * SECOND_US - (minute_us + MINUTE_US)
        row = live_row("A", 1)._replace(closed_until_us=minute_us)
        leader = town.leader([row], rules=HeartbeatRules(grace_us, 5))
        async with running(leader):
            await eventually(lambda: leader.report.sent_total > 0)
        (beat,) = await town.beats_committed()
        assert beat.record.bucket_start_us == minute_us
        due_us = minute_us + MINUTE_US + grace_us
        assert due_us - 1000 <= beat.appended_us < due_us + SECOND_US

    asyncio.run(scene())


def test_a_wrong_clock_sends_nothing_says_so_and_goes_on_when_it_is_right(kafka: Any) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        fast_us = [10 * MINUTE_US]
        row = live_row("A", 0)
        leader = town.leader([row], clock=lambda: system_clock_us() + fast_us[0])
        async with running(leader):
            await eventually(lambda: leader.report.clock_wrong)
            assert abs(leader.report.clock_offset_ms - 600_000) < 5_000
            await asyncio.sleep(0.3)
            assert leader.report.sent_total == 0
            assert await town.beats_committed() == []
            fast_us[0] = 0
            await eventually(lambda: leader.report.sent_total >= len(due_minutes(row)))
            assert not leader.report.clock_wrong
        minutes = minutes_of(await town.beats_committed(), "A")
        assert minutes[: len(due_minutes(row))] == due_minutes(row)

    asyncio.run(scene())


def test_a_clock_a_little_fast_still_closes_every_minute(kafka: Any) -> None:
    # 700 ms is allowed.  Sent by that clock alone the heartbeat would be appended before its
    # minute is over and close nothing: it has to be sent again once it counts.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        minute_us = floor_minute(system_clock_us()) - MINUTE_US
        grace_us = system_clock_us() + 2 * SECOND_US - (minute_us + MINUTE_US)
        rules = HeartbeatRules(grace_us, 5)
        row = live_row("A", 0)._replace(closed_until_us=minute_us)
        leader = town.leader([row], rules=rules, clock=lambda: system_clock_us() + 700_000)
        async with running(leader):
            await eventually(lambda: leader.report.sent_total > leader.report.early)
        beats = await town.beats_committed()
        assert {b.record.bucket_start_us for b in beats} == {minute_us}
        assert beats[-1].appended_us >= rules.closes_at(minute_us)

    asyncio.run(scene())


def test_a_loader_sends_heartbeats_of_its_own_with_barriers_after_its_ticks(kafka: Any) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        await town.append(town.ticks, 1, [b"t"] * 5)
        due = [Due("DEMO", "OLD", 1, minute * MINUTE_US) for minute in range(3)]
        async with LoaderHeartbeats(
            town.cluster, town.ticks, town.beats, system_clock_us
        ) as loader:
            assert await loader.send(due) == 3
            await town.append(town.ticks, 1, [b"t"])
            assert await loader.send([Due("DEMO", "OLD", 1, 3 * MINUTE_US)]) == 1
        beats = await town.beats_committed()
        assert [(b.partition, b.record.source, b.record.barrier) for b in beats] == [
            *[(1, "loader", 5)] * 3,
            (1, "loader", 6),
        ]
        assert minutes_of(beats, "OLD") == [minute * MINUTE_US for minute in range(4)]

    asyncio.run(scene())


def test_a_series_in_a_partition_the_topic_does_not_have_stops_no_other(kafka: Any) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        row = live_row("A", 0)
        leader = town.leader([row, live_row("GHOST", 77)])
        async with running(leader):
            await eventually(lambda: leader.report.sent_total >= len(due_minutes(row)))
            assert leader.report.errors == 0
        assert RULES.newest_due("DEMO", system_clock_us()) in minutes_of(
            await town.beats_committed(), "A"
        )

    asyncio.run(scene())
