"""The agents that make bars: `build_1m` applies ticks, `close_1m` takes heartbeats.

An event is a chunk of one partition, and is acknowledged by the flush that covers it.  Faust
acknowledges the event of an agent that raises, so an error crashes the worker instead: started
again it goes on from the position row with nothing lost.
"""

from __future__ import annotations

from typing import Any

from barstream.runtime.app import BarstreamApp, bytes_topic
from barstream.runtime.intake import Intake


def declare(app: BarstreamApp, intake: Intake, ticks_topic: str, heartbeat_topic: str) -> None:
    """Register both agents."""

    @app.agent(bytes_topic(app, ticks_topic), name="build_1m", concurrency=1)
    async def build_1m(stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                await intake.on_ticks(event)
            except Exception as error:
                await app.crash(error)
                raise

    @app.agent(bytes_topic(app, heartbeat_topic), name="close_1m", concurrency=1)
    async def close_1m(stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                intake.on_heartbeats(event)
            except Exception as error:
                await app.crash(error)
                raise
