"""One sender at a time, proved from the topic itself; and no hole when it changes or fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agents.heartbeats import HeartbeatSender
from barstream.clock import system_clock_us
from barstream.market.universe import SeriesSeen
from barstream.model.time import MINUTE_US, SECOND_US, floor_minute
from tests.cluster import cluster_at
from tests.integration.heartbeat_bench import (
    RULES,
    Town,
    caught_up,
    due_minutes,
    eventually,
    leading,
    live_row,
    minutes_of,
    running,
)


def add_minutes(sender: HeartbeatSender, row: SeriesSeen) -> None:
    """Give the sender something to send now."""
    sender.universe.put(row)
    sender.wake()


@pytest.mark.law("L14")
def test_a_deposed_leader_is_fenced_and_goes_on_as_follower(kafka: Any) -> None:
    # Two workers both believe that they lead, as after a freeze.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        row = live_row("A", 0)
        old_flag, new_flag = leading(), leading()
        old, new = town.sender([row], old_flag), town.sender([row], new_flag)
        async with running(old):
            await eventually(lambda: old.report.sent_total >= len(due_minutes(row)))
            await new.start()
            await eventually(lambda: new.report.leader)
            zombie = live_row("ZOMBIE", 1)
            add_minutes(old, zombie)
            await eventually(lambda: old.report.fenced == 1)
            assert not old_flag.on
            assert not old.should_stop  # it did not crash: it plans on
            planned_by = live_row("B", 2)
            add_minutes(new, planned_by)
            add_minutes(old, planned_by)
            await eventually(lambda: bool(new.report.sent_total))
            assert not old.report.leader
            await new.stop()
        beats = await town.beats_committed()
        assert minutes_of(beats, "ZOMBIE") == []  # nothing of the deposed one is visible
        for symbol in "AB":
            minutes = minutes_of(beats, symbol)
            assert minutes == sorted(set(minutes))  # each minute once: exactly one sender

    asyncio.run(scene())


def test_a_rightful_leader_fenced_by_a_frozen_one_comes_back(kafka: Any) -> None:
    # `rightful` holds the partition and is fenced by a zombie, whose assignment is then revoked.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        rightful = town.sender([live_row("A", 0)], leading(), reclaim_s=0.5)
        zombie_flag = leading()
        zombie = town.sender([], zombie_flag, reclaim_s=0.5)
        async with running(rightful):
            await eventually(lambda: rightful.report.sent_total > 0)
            async with running(zombie):
                await eventually(lambda: zombie.report.leader)
                add_minutes(rightful, live_row("B", 1))
                await eventually(lambda: rightful.report.fenced == 1)
                zombie_flag.clear()
                await eventually(lambda: rightful.report.leader)
                row = live_row("B", 1)
                await eventually(lambda: caught_up(rightful))
                assert not zombie.report.leader
        assert set(due_minutes(row)) <= set(minutes_of(await town.beats_committed(), "B"))

    asyncio.run(scene())


@pytest.mark.law("L13")
def test_a_new_leader_goes_on_where_the_last_one_stopped(kafka: Any) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        rows = [live_row(symbol, n) for n, symbol in enumerate("ABC")]
        total = sum(len(due_minutes(row)) for row in rows)
        for _ in range(2):  # the universe still says that nothing of it is closed
            sender = town.sender(rows, leading())
            async with running(sender):
                await eventually(partial(caught_up, sender))
        beats = await town.beats_committed()
        assert total <= len(beats) <= total + len(rows)  # a minute may have come due meanwhile
        for row in rows:
            assert minutes_of(beats, row.symbol)[: len(due_minutes(row))] == due_minutes(row)

    asyncio.run(scene())


def test_a_flag_that_went_off_and_on_between_two_rounds_takes_over_anew(kafka: Any) -> None:
    # Another worker led in between: with its old producer this one would only be fenced.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        flag = leading()
        sender = town.sender([live_row("A", 0)], flag)
        async with running(sender):
            await eventually(lambda: sender.report.sent_total > 0)
            other = town.sender([], leading())
            async with running(other):
                await eventually(lambda: other.report.leader)
            flag.clear()
            flag.set()
            row = live_row("B", 1)
            sent = sender.report.sent_total
            add_minutes(sender, row)
            await eventually(lambda: sender.report.sent_total >= sent + len(due_minutes(row)))
            assert sender.report.fenced == 0

    asyncio.run(scene())


@pytest.mark.law("L13")
def test_after_an_outage_the_sender_holds_back_then_catches_up_without_a_hole(
    new_kafka: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    #  frozen broker       thawed      + hold
    #  |xxxxxxxxxxxxxxxxxxx|-- feeds --|-> B's minutes, with barriers of after the outage
    kafka = new_kafka()
    monkeypatch.setattr("agents.heartbeats.ROUND_WITHIN_S", 2.0)
    hold_us = 3 * SECOND_US

    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        cluster = cluster_at(kafka.bootstrap, request_timeout_ms=3000)
        first = live_row("A", 0)
        sender = town.sender([first], leading(), resume_hold_us=hold_us, cluster=cluster)
        async with running(sender):
            await eventually(lambda: sender.report.sent_total >= len(due_minutes(first)))
            kafka.freeze()
            try:
                row = live_row("B", 1)
                add_minutes(sender, row)
                await asyncio.sleep(9)
                assert sender.report.errors > 0
            finally:
                kafka.thaw()
            thawed_us = system_clock_us()
            await town.append(town.ticks, 1, [b"buffered"] * 7)
            await eventually(lambda: sender.report.holding, 30)
            await eventually(lambda: caught_up(sender), 30)
        beats = await town.beats_committed()
        assert minutes_of(beats, "B")[: len(due_minutes(row))] == due_minutes(row)
        of_b = [beat for beat in beats if beat.record.symbol == "B"]
        assert min(beat.appended_us for beat in of_b) >= thawed_us + hold_us
        assert {beat.record.barrier for beat in of_b} == {7}

    asyncio.run(scene())


def test_killing_the_broker_in_a_catch_up_leaves_no_hole(new_kafka: Callable[..., Any]) -> None:
    kafka = new_kafka()

    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        rows = [live_row(f"S{n:03}", n % 3, minutes_back=60) for n in range(50)]
        rules = RULES.__class__(RULES.grace_us, 5, max_catch_up=400)
        sender = town.sender(rows, leading(), rules=rules, resume_hold_us=0)
        async with running(sender):
            await eventually(lambda: sender.report.sent_total >= 800)
            await asyncio.to_thread(kafka.restart)
            await eventually(lambda: caught_up(sender), 60)
        beats = await town.beats_committed()
        newest = floor_minute(system_clock_us()) - 3 * MINUTE_US
        for row in rows:
            minutes = sorted(set(minutes_of(beats, row.symbol)))
            assert minutes == list(range(minutes[0], minutes[-1] + MINUTE_US, MINUTE_US))
            assert minutes[0] == row.closed_until_us
            assert minutes[-1] >= newest

    asyncio.run(scene())
