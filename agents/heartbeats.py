"""The heartbeats: a timer of Faust wakes the leader, which sends them."""

from __future__ import annotations

from typing import Final

from barstream.heartbeat.leader import Leader
from barstream.runtime.app import BarstreamApp

LOOK_EVERY_S: Final = 0.25
"""How often the clock is looked at, which may have been set; minutes are waited for exactly."""


def declare(app: BarstreamApp, leader: Leader) -> None:
    """Register the timer and the task it wakes; Faust starts both when the tables are restored.

    Every worker has both: who leads is not what Faust calls so (``on_leader``), see
    `barstream.heartbeat.leader`.
    """

    @app.timer(interval=LOOK_EVERY_S, name="heartbeats")  # type: ignore[untyped-decorator]
    async def look() -> None:
        leader.look_at_the_clock(2 * LOOK_EVERY_S)  # it may come late

    @app.task  # type: ignore[untyped-decorator]
    async def send_heartbeats() -> None:
        await leader.run()
