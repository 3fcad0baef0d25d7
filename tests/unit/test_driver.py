"""What is asked of the consumer by a scrape, at any time of its life."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from barstream.transport.chunk import RecordChunk
from barstream.transport.driver import ConsumerThread

PLACE = TP("ticks", 0)


def thread(consumer: Any) -> ConsumerThread:
    made = object.__new__(ConsumerThread)
    made._consumer = consumer
    return made


def consumer(assignment: Any, coordinator: Any) -> Any:
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    return SimpleNamespace(_subscription=subscription, _coordinator=coordinator)


@pytest.mark.parametrize(
    "asked",
    [
        None,
        consumer(None, None),
        SimpleNamespace(_subscription=SimpleNamespace(subscription=None), _coordinator=None),
        consumer(SimpleNamespace(state_value={}.get), None),
    ],
    ids=["not made", "not assigned", "not subscribed", "of another partition"],
)
def test_nothing_is_known_before_and_after_an_assignment(asked: Any) -> None:
    made = thread(asked)
    assert (made.highwater(PLACE), made.topic_partitions("ticks")) == (0, None)


def test_the_end_is_that_of_the_last_fetch() -> None:
    states = {PLACE: SimpleNamespace(highwater=7), TP("ticks", 1): SimpleNamespace(highwater=None)}
    snapshot = SimpleNamespace(_metadata_snapshot={"ticks": 2})
    made = thread(consumer(SimpleNamespace(state_value=states.get), snapshot))
    assert (made.highwater(PLACE), made.highwater(TP("ticks", 1))) == (7, 0)
    assert made.topic_partitions("ticks") == 2


def test_no_more_is_unpacked_while_what_was_is_not_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chunk(at: int) -> RecordChunk:
        nothing = np.empty(0, np.int64)
        return RecordChunk(
            "ticks", 0, at, at + 1, [], [], nothing, nothing, True, unpacked_bytes=40 << 20
        )

    waiting = [SimpleNamespace(value=chunk(at)) for at in range(4)]

    async def fetch(_self: Any, _consumer: Any, *_: Any) -> Any:
        return {PLACE: [waiting.pop(0)]}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    made = thread(None)
    made._chunks = WeakSet()

    async def run() -> None:
        async def more(wait_s: float = 0.0) -> list[RecordChunk]:
            found = await made._fetch_records(made._consumer, {PLACE}, wait_s, 8)
            return [record.value for record in found.get(PLACE, ())]

        (first,) = await more()
        (second,) = await more()
        assert await more(0.05) == []
        second.drop_records()
        (third,) = await more()
        assert await more() == []
        del first  # as when its partition was given up
        (fourth,) = await more()
        assert third.unpacked_bytes == fourth.unpacked_bytes == 40 << 20

    asyncio.run(run())
