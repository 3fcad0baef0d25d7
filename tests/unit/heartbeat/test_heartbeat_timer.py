"""What a Faust timer is to the leader: it is asked often, and everything else is the clock's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest

import agents.heartbeats
from barstream.cancellation import cancel
from barstream.heartbeat.leader import HeartbeatTopics, Leader, PlanSources
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import Universe
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules
from barstream.runtime.app import BarstreamApp
from tests.cluster import cluster_at

START_US = 28_000_000 * MINUTE_US
WITHIN_S = 5.0


class Rounds(Leader):
    """A leader whose rounds are counted, and take as long as one says."""

    def __init__(self, clock: Callable[[], int]) -> None:
        sources = PlanSources(
            HeartbeatRules(5 * SECOND_US, 5), MarketScheduleProvider.always_open(), Universe()
        )
        topics = HeartbeatTopics(cluster_at(), "ticks", "hb_1m", "app-heartbeats")
        super().__init__(sources, topics, clock=clock)
        self.begun = self.ended = 0
        self.takes_s = 0.0
        self.error: BaseException | None = None

    async def _round(self) -> None:
        self.begun += 1
        self._alarm.begin()
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        self.ended += 1


async def declared(leader: Leader) -> tuple[BarstreamApp, list[asyncio.Task[None]]]:
    """What Faust has of a leader once the tables are restored: it runs."""
    app = BarstreamApp("t", broker="memory://")
    agents.heartbeats.declare(app, leader)
    return app, [cast("asyncio.Task[None]", app.add_future(task())) for task in app._app_tasks]


async def eventually(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not met():
        assert time.monotonic() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.01)


def test_a_round_begins_when_the_clock_has_reached_a_minute_and_not_because_of_the_timer() -> None:
    async def scene() -> None:
        now_us = [START_US]
        leader = Rounds(lambda: now_us[0])
        _, tasks = await declared(leader)
        await eventually(lambda: leader.ended == 1)  # the first, which looks what there is
        await asyncio.sleep(3 * agents.heartbeats.LOOK_EVERY_S)
        assert leader.begun == 1
        now_us[0] += 6 * SECOND_US
        await eventually(lambda: leader.ended == 2)
        await cancel(tasks)

    asyncio.run(scene())


def test_a_round_that_takes_long_is_neither_joined_nor_followed_by_one_for_each_look() -> None:
    async def scene() -> None:
        now_us = [START_US]
        leader = Rounds(lambda: now_us[0])
        leader.takes_s = 4 * agents.heartbeats.LOOK_EVERY_S
        _, tasks = await declared(leader)
        await eventually(lambda: leader.begun == 1)
        now_us[0] += MINUTE_US  # a minute comes due meanwhile
        await asyncio.sleep(3 * agents.heartbeats.LOOK_EVERY_S)
        assert leader.begun == 1
        await eventually(lambda: leader.ended == 2)
        await asyncio.sleep(3 * agents.heartbeats.LOOK_EVERY_S)
        assert leader.begun == 2
        await cancel(tasks)

    asyncio.run(scene())


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("no such transition")])
def test_an_error_in_a_round_ends_the_worker(error: Exception) -> None:
    async def scene() -> None:
        leader = Rounds(lambda: START_US)
        leader.error = error
        app, tasks = await declared(leader)
        await eventually(lambda: app.failure is error)
        await cancel(tasks)

    asyncio.run(scene())


def test_an_error_in_the_timer_ends_the_worker() -> None:
    async def scene() -> None:
        leader = Rounds(lambda: START_US)
        app, tasks = await declared(leader)
        await eventually(lambda: leader.ended == 1)
        leader._clock = lambda: 1 // 0
        await eventually(lambda: isinstance(app.failure, ZeroDivisionError))
        await cancel(tasks)

    asyncio.run(scene())


def test_a_cancellation_that_a_client_has_left_behind_ends_the_worker() -> None:
    """Faust takes the task for one that has ended, and no minute would be closed any more."""

    async def scene() -> None:
        leader = Rounds(lambda: START_US)
        leader.error = asyncio.CancelledError()
        app, tasks = await declared(leader)
        await eventually(lambda: "cancelled by nobody" in str(app.failure))
        await cancel(tasks)

    asyncio.run(scene())


def test_what_is_cancelled_because_the_worker_stops_is_no_failure() -> None:
    async def scene() -> None:
        leader = Rounds(lambda: START_US)
        app, tasks = await declared(leader)
        await eventually(lambda: leader.ended == 1)
        await cancel(tasks)
        assert app.failure is None

    asyncio.run(scene())


def test_a_worker_that_stops_waits_for_no_client_that_drops_a_cancellation() -> None:
    """Faust cancels once, and then waits: a worker was killed by its own deadline."""

    class Dropped(Rounds):
        async def _round(self) -> None:
            self._alarm.begin()
            self.begun += 1
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def scene() -> None:
        leader = Dropped(lambda: START_US)
        app, tasks = await declared(leader)
        await eventually(lambda: leader.begun == 1)
        leader.end()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=WITHIN_S)
        assert all(task.done() for task in tasks)
        assert (leader.begun, app.failure) == (1, None)

    asyncio.run(scene())
