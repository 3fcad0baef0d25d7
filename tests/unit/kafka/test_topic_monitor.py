"""The tick topic is watched: that it is the same, as long as what was applied, and read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition

from barstream.errors import ReadingStalled, TicksGone
from barstream.kafka import topic_monitor
from barstream.kafka.topic_identity import TopicMissing
from barstream.kafka.topic_monitor import Progress, TopicMonitor
from tests.cluster import cluster_at


def test_a_partition_that_stands_still_before_its_end_is_stalled() -> None:
    progress = Progress[int](allowed=2)
    assert progress.look({0: 5, 1: 5}, {0: 9, 1: 9}) == []
    assert progress.look({0: 5, 1: 6}, {0: 9, 1: 9}) == []
    assert progress.look({0: 5, 1: 6}, {0: 9, 1: 9}) == []
    assert progress.look({0: 5, 1: 6}, {0: 9, 1: 9}) == [0]


def test_a_quiet_partition_at_its_end_is_not_stalled_however_long() -> None:
    progress = Progress[int](allowed=2)
    for _ in range(20):
        assert progress.look({0: 9}, {0: 9}) == []
    assert [progress.look({0: 9}, {0: 10}) for _ in range(3)] == [[], [], [0]]


def test_a_partition_that_was_given_up_is_forgotten() -> None:
    progress = Progress[int](allowed=2)
    progress.look({0: 5}, {0: 9})
    progress.look({}, {})
    assert [progress.look({0: 5}, {0: 9}) for _ in range(3)] == [[], [], []]


class Broker:
    """One that tells ends of a topic, until that is deleted: then it says nothing of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_there = True
        self.asked: Counter[str] = Counter()
        self.told = asyncio.Event()
        self._client = self
        monkeypatch.setattr(topic_monitor, "make_consumer", lambda *_, **__: self)
        monkeypatch.setattr(topic_monitor, "topic_id", self.topic_id)
        monkeypatch.setattr(topic_monitor, "_ENDS_EVERY_S", 0.01)
        monkeypatch.setattr(topic_monitor, "_ENDS_WITHIN_S", 0.05)
        monkeypatch.setattr(topic_monitor, "_CHECK_EVERY_S", 0.1)

    async def start(self) -> None:
        self.asked["connection"] += 1

    async def stop(self) -> None:
        pass

    async def topic_id(self, *_: Any) -> str:
        self.asked["identity"] += 1
        if not self.is_there:
            raise TopicMissing("ticks")
        return "one"

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        [topic] = {place.topic for place in places}
        self.asked[topic] += 1
        if topic == "silent":
            self.told.set()  # those before it
        if not self.is_there or topic == "silent":
            await asyncio.sleep(3600)
        return dict.fromkeys(places, 7)


def watched(
    broker: Broker, reached: int, then: Callable[[TopicMonitor], None] = lambda _: None
) -> None:
    """Watch partition 0 until it ends; ``then`` comes when its end is known."""

    async def run() -> None:
        monitor = TopicMonitor(cluster_at(), "ticks", ("silent",))
        async with asyncio.timeout(8):
            watching = asyncio.create_task(monitor.watch(lambda: {0: reached}))
            await broker.told.wait()
            then(monitor)
            await watching

    asyncio.run(run())


@pytest.mark.law("L20")
def test_a_deleted_topic_is_found_out_although_its_ends_are_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(monkeypatch)

    def delete(monitor: TopicMonitor) -> None:
        assert (monitor.end_of("ticks", 0), monitor.end_of("silent", 0)) == (7, None)
        broker.is_there = False

    with pytest.raises(TicksGone, match="it was deleted"):
        watched(broker, 7, delete)
    assert broker.asked["connection"] == 1


@pytest.mark.law("L20")
def test_a_topic_shorter_than_what_was_applied_is_found_out_at_the_second_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(monkeypatch)
    with pytest.raises(TicksGone, match=r"ticks\[0\] must go on at offset 8, but it ends at 7"):
        watched(broker, 8)
    assert broker.asked["identity"] == 2


def test_a_partition_that_is_not_read_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    Broker(monkeypatch)
    monkeypatch.setattr(topic_monitor, "_READING_EVERY_S", 0.001)
    monitor = TopicMonitor(cluster_at(), "ticks")
    with pytest.raises(ReadingStalled, match=r"ticks\[0\] must be read on from offset 3 to 7"):
        asyncio.run(monitor.watch_reading(lambda: {0: 3}))
