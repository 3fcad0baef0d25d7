"""One leader at a time, proved from the topic itself; and no hole when it changes or fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from barstream.clock import system_clock_us
from barstream.heartbeat.leader import Leader, LeaderPauses, LeaderState
from barstream.market.universe import SeriesSeen
from barstream.model.time import MINUTE_US, SECOND_US, floor_minute
from tests.cluster import cluster_at
from tests.integration.heartbeat_bench import (
    RULES,
    Town,
    caught_up,
    due_minutes,
    eventually,
    live_row,
    minutes_of,
    running,
)

SOON = LeaderPauses(0, reclaim_s=0.5)


def add_minutes(leader: Leader, row: SeriesSeen) -> None:
    """Give the leader something to send now."""
    leader.sources.universe.put(row)
    leader.wake()


@pytest.mark.law("L14")
def test_a_deposed_leader_is_fenced_and_goes_on_as_follower(kafka: Any) -> None:
    # Two workers both believe that they lead, as after a freeze.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        row = live_row("A", 0)
        old, new = town.leader([row]), town.leader([row])
        async with running(old):
            await eventually(lambda: old.report.sent_total >= len(due_minutes(row)))
            async with running(new):
                await eventually(lambda: new.report.leader)
                zombie = live_row("ZOMBIE", 1)
                add_minutes(old, zombie)
                await eventually(lambda: old.report.fenced == 1)
                assert not old.leads
                assert old.state is LeaderState.DEPOSED  # it did not crash: it plans on
                planned_by = live_row("B", 2)
                add_minutes(new, planned_by)
                add_minutes(old, planned_by)
                await eventually(lambda: bool(new.report.sent_total))
                assert not old.report.leader
        beats = await town.beats_committed()
        assert minutes_of(beats, "ZOMBIE") == []  # nothing of the deposed one is visible
        for symbol in "AB":
            minutes = minutes_of(beats, symbol)
            assert minutes == sorted(set(minutes))  # each minute once: exactly one leader

    asyncio.run(scene())


def test_a_rightful_leader_fenced_by_a_frozen_one_comes_back(kafka: Any) -> None:
    # `rightful` holds the partition and is fenced by a zombie, whose assignment is then revoked.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        rightful = town.leader([live_row("A", 0)], pauses=SOON)
        zombie = town.leader([], pauses=SOON)
        async with running(rightful):
            await eventually(lambda: rightful.report.sent_total > 0)
            async with running(zombie):
                await eventually(lambda: zombie.report.leader)
                add_minutes(rightful, live_row("B", 1))
                await eventually(lambda: rightful.report.fenced == 1)
                zombie.revoked()
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
            leader = town.leader(rows)
            async with running(leader):
                await eventually(partial(caught_up, leader))
        beats = await town.beats_committed()
        assert total <= len(beats) <= total + len(rows)  # a minute may have come due meanwhile
        for row in rows:
            assert minutes_of(beats, row.symbol)[: len(due_minutes(row))] == due_minutes(row)

    asyncio.run(scene())


def test_a_leadership_that_went_and_came_between_two_rounds_takes_over_anew(kafka: Any) -> None:
    # Another worker led in between: with its old producer this one would only be fenced.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        leader = town.leader([live_row("A", 0)])
        async with running(leader):
            await eventually(lambda: leader.report.sent_total > 0)
            other = town.leader([])
            async with running(other):
                await eventually(lambda: other.report.leader)
            leader.revoked()
            leader.assigned()
            row = live_row("B", 1)
            sent = leader.report.sent_total
            add_minutes(leader, row)
            await eventually(lambda: leader.report.sent_total >= sent + len(due_minutes(row)))
            assert leader.report.fenced == 0

    asyncio.run(scene())


@pytest.mark.law("L13")
def test_after_an_outage_the_sender_holds_back_then_catches_up_without_a_hole(
    new_kafka: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    #  frozen broker       thawed      + hold
    #  |xxxxxxxxxxxxxxxxxxx|-- feeds --|-> B's minutes, with barriers of after the outage
    kafka = new_kafka()
    monkeypatch.setattr("barstream.heartbeat.leader.ROUND_WITHIN_S", 2.0)
    hold_us = 3 * SECOND_US

    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        cluster = cluster_at(kafka.bootstrap, request_timeout_ms=3000)
        first = live_row("A", 0)
        leader = town.leader([first], pauses=LeaderPauses(0, hold_us), cluster=cluster)
        async with running(leader):
            await eventually(lambda: leader.report.sent_total >= len(due_minutes(first)))
            kafka.freeze()
            try:
                row = live_row("B", 1)
                add_minutes(leader, row)
                await asyncio.sleep(9)
                assert leader.report.errors > 0
            finally:
                kafka.thaw()
            thawed_us = system_clock_us()
            await town.append(town.ticks, 1, [b"buffered"] * 7)
            await eventually(lambda: leader.report.holding, 30)
            await eventually(lambda: caught_up(leader), 30)
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
        leader = town.leader(rows, rules=rules, pauses=LeaderPauses(0, 0))
        async with running(leader):
            await eventually(lambda: leader.report.sent_total >= 800)
            await asyncio.to_thread(kafka.restart)
            await eventually(lambda: caught_up(leader), 60)
        beats = await town.beats_committed()
        newest = floor_minute(system_clock_us()) - 3 * MINUTE_US
        for row in rows:
            minutes = sorted(set(minutes_of(beats, row.symbol)))
            assert minutes == list(range(minutes[0], minutes[-1] + MINUTE_US, MINUTE_US))
            assert minutes[0] == row.closed_until_us
            assert minutes[-1] >= newest

    asyncio.run(scene())
