"""A market that is closed for longer than brokers remember who wrote, and what a group had read.

The brokers of these runs forget producers and transactional ids within seconds and the offsets of
an empty group within a minute, where by default they take a day and seven days.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Collection

from barstream.kafka.connection import admin_client
from tests.chaos.faults.base import Fault, Scene
from tests.pipeline import until

#: All that brokers forget of somebody who says nothing is forgotten by then.
FORGETS_S = 6
_OFFSETS_S = 60


class Rest(Fault):
    """No tick and no heartbeat for longer than brokers remember those who wrote before."""

    name = "rest"
    family = "idle"
    thing = "feed"
    shortest_s = FORGETS_S + 4.0
    longest_s = FORGETS_S + 12.0

    def begin(self, scene: Scene) -> str:
        scene.feed.resting = True
        return "no tick"

    def end(self, scene: Scene) -> None:
        scene.feed.resting = False
        # and some ticks after it
        scene.least_s += self.longest_s + 4


class RestTwice(Rest):
    """A rest, a moment of ticks, and another rest: what was made anew is forgotten as well."""

    name = "rest_twice"

    def end(self, scene: Scene) -> None:
        scene.feed.resting = False
        time.sleep(2)
        scene.feed.resting = True
        time.sleep(self.rng.uniform(self.shortest_s, self.longest_s))
        super().end(scene)


class RestStopped(Rest):
    """All workers are stopped for the rest, and come back to a group without offsets."""

    name = "rest_stopped"
    shortest_s = _OFFSETS_S + 8.0
    longest_s = _OFFSETS_S + 14.0
    alerts = frozenset({"BarstreamWorkerGone"})

    def begin(self, scene: Scene) -> str:
        scene.feed.resting = True
        # another fault may want one of them back meanwhile
        scene.crew.at_rest = True
        for slot in scene.crew.slots:
            slot.end(self.rng.choice((signal.SIGTERM, signal.SIGKILL)))
        return "all workers, until their group is forgotten"

    def end(self, scene: Scene) -> None:
        until(
            lambda: not asyncio.run(_offsets(scene)), 60, "the offsets of the group are forgotten"
        )
        scene.crew.at_rest = False
        super().end(scene)


async def _offsets(scene: Scene) -> Collection[object]:
    """What the brokers remember of the group."""
    settings = scene.made.settings
    async with admin_client(settings) as admin:
        found: Collection[object] = await admin.list_consumer_group_offsets(settings.app_id)
        return found


class RestFrozen(Rest):
    """All workers are frozen for the rest: their group has expired, and everything they hold."""

    name = "rest_frozen"
    shortest_s = FORGETS_S + 6.0
    longest_s = FORGETS_S + 14.0
    alerts = frozenset({"BarstreamWorkerGone"})

    def begin(self, scene: Scene) -> str:
        scene.feed.resting = True
        self._frozen = [slot.worker for slot in scene.crew.running if slot.worker is not None]
        for worker in self._frozen:
            if worker.process.poll() is None:
                worker.signal(signal.SIGSTOP)
        return "all workers"

    def end(self, scene: Scene) -> None:
        for worker in self._frozen:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
        super().end(scene)
