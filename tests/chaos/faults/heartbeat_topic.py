"""What happens to heartbeats when nobody can send them, or their topic is not as it should be."""

from __future__ import annotations

import asyncio
import signal

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from barstream.kafka.connection import admin_client
from tests.chaos.faults.base import Fault, Scene
from tests.pipeline import Pipeline


class Outage(Fault):
    """No worker runs while a minute ends."""

    name = "outage"
    drawn = False
    shortest_s = 25.0
    longest_s = 25.0
    needs = frozenset({"live"})

    def begin(self, scene: Scene) -> str:
        for slot in scene.crew.slots:
            slot.wanted = False
            slot.end(signal.SIGKILL)
        return "all workers"

    def end(self, scene: Scene) -> None:
        for slot in scene.crew.slots:
            slot.wanted = True


class WithoutAppendTime(Fault):
    """The heartbeat topic carries the times of its producers: clocks cannot be compared."""

    name = "heartbeats_without_append_time"
    drawn = False
    needs = frozenset({"live"})

    def prepare(self, scene: Scene) -> None:
        asyncio.run(_alter(scene.made, scene.made.names.heartbeats))

    def begin(self, scene: Scene) -> str:
        return "from the beginning"


async def _alter(made: Pipeline, topic: str) -> None:
    async with admin_client(made.settings) as admin:
        await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC, topic, {"message.timestamp.type": "CreateTime"}
                )
            ]
        )
