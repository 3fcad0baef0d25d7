"""A partition held: what is left of it when another worker takes it over."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiokafka.errors import ProducerFenced

from barstream.engine.owned import OwnedPartition
from barstream.engine.rows import OutputTopics
from barstream.engine.tally import Tally
from barstream.engine.transaction import PartitionProducer
from barstream.metrics import Metrics
from tests.unit.engine.test_partition import MINUTE, engine, feed


class FencedProducer:
    """Another worker has begun to write under the same id."""

    async def write(self, _rows: Any) -> Any:
        raise ProducerFenced


def test_bars_of_a_flush_that_was_refused_are_not_kept_to_be_read() -> None:
    made = engine()
    feed(made, [0, 10 * MINUTE])
    topics = OutputTopics("ticks", "finals", "live", "rejected", "series", "seen")
    producer = cast("PartitionProducer", FencedProducer())
    owned = OwnedPartition(made, producer, {}, topics, Tally(Metrics()), live_interval_s=0.0)
    fenced: list[OwnedPartition] = []

    async def on_fenced(which: OwnedPartition) -> None:
        fenced.append(which)

    owned.wake()
    asyncio.run(asyncio.wait_for(owned.run(on_fenced), 5))
    assert (fenced, owned.fenced) == ([owned], True)
