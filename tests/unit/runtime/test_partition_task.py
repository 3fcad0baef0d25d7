"""A partition held: what is left of it when another worker takes it over."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import ProducerFenced

from barstream.kafka.topics.outputs import OutputTopics
from barstream.kafka.writer import PartitionWriter
from barstream.metrics import Metrics
from barstream.runtime.partition_task import FlushTarget, PartitionTask
from barstream.runtime.tally import Tally
from tests.unit.partition.test_machine import MINUTE, engine, feed


class FencedProducer:
    """Another worker has begun to write under the same id."""

    async def write(self, _rows: Any, _at_least: Any, read_from: Any) -> Any:
        raise ProducerFenced


def test_bars_of_a_flush_that_was_refused_are_not_kept_to_be_read() -> None:
    made = engine()
    feed(made, [0, 10 * MINUTE])
    topics = OutputTopics("ticks", "finals", "live", "rejected", "series", "seen")
    producer = cast("PartitionWriter", FencedProducer())
    owned = PartitionTask(made, producer, {}, FlushTarget(topics, 0.0), Tally(Metrics()))
    fenced: list[PartitionTask] = []

    async def on_fenced(which: PartitionTask) -> None:
        fenced.append(which)

    owned.wake()
    asyncio.run(asyncio.wait_for(owned.run(on_fenced), 5))
    assert (fenced, owned.fenced) == ([owned], True)


class WillingProducer:
    """Takes every flush."""

    async def write(self, rows: Any, _at_least: Any, read_from: Any) -> Any:
        return dict.fromkeys(rows, 0)

    async def stop(self) -> None:
        pass


@pytest.mark.parametrize("turns", range(6))
def test_it_is_given_up_also_when_there_was_something_to_write_just_before(turns: int) -> None:
    made = engine()
    feed(made, [0, 1])
    topics = OutputTopics("ticks", "finals", "live", "rejected", "series", "seen")
    producer = cast("PartitionWriter", WillingProducer())
    owned = PartitionTask(made, producer, {}, FlushTarget(topics, 60.0), Tally(Metrics()))

    async def on_fenced(_which: PartitionTask) -> None:
        raise AssertionError("nobody else is there")

    async def go() -> None:
        running = asyncio.create_task(owned.run(on_fenced))
        owned.wake()
        await asyncio.sleep(0.05)
        feed(made, [2])
        owned.wake()
        await asyncio.sleep(0.05)  # waits for the live interval
        owned.wake()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await owned.stop(running)
        assert running.cancelled()

    asyncio.run(go())


def test_a_partition_at_rest_writes_its_position_again() -> None:
    """Brokers forget a transactional id under which nothing is written."""
    made = engine()
    feed(made, [0, 1])
    topics = OutputTopics("ticks", "finals", "live", "rejected", "series", "seen")
    producer = cast("PartitionWriter", WillingProducer())
    owned = PartitionTask(made, producer, {}, FlushTarget(topics, 0.0), Tally(Metrics()))

    async def moved_after(rest_s: float) -> bool:
        await owned.flush()
        owned.renew(rest_s)
        return made.outbox.dirty

    assert [asyncio.run(moved_after(rest_s)) for rest_s in (60.0, 0.0, 60.0)] == [
        False,
        True,
        False,
    ]
