"""What a partition that was taken over still has to do beside its work, a series at a time.

One line adds a timeframe; its bars begin where the retained minutes begin, and not on the day
the line was written.  A series of which something comes sooner is filled before that is judged.
"""

from __future__ import annotations

import asyncio
import logging
import time

from barstream.runtime.partition_task import PartitionTask

log = logging.getLogger(__name__)


async def fill_added(owned: PartitionTask) -> None:
    """Fill added timeframes, judge what a new schedule completed, and fold what is open."""
    engine, made = owned.engine, 0
    for series in list(engine.state):
        made += engine.fill(series)
        if engine.outbox.dirty:
            owned.wake()
        await owned.room()
        if owned.fenced:
            return
        await asyncio.sleep(0)
    if made:
        log.info(
            "bars of timeframes added since were made from finals: partition=%d bars=%d",
            owned.partition, made,
        )  # fmt: skip
    engine.filled()
    owned.wake()
    for series in list(engine.state):
        began = time.monotonic()
        for _ in engine.rollups.warm(series):
            # half of a core at most: the work itself comes first
            await asyncio.sleep(time.monotonic() - began)
            began = time.monotonic()
