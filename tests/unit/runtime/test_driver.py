"""The consumer of a worker: what a scrape asks of it, and from where it reads on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakSet

import numpy as np
import pytest
from aiokafka.consumer.subscription_state import SubscriptionState
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from barstream.codecs.record_chunk import RecordChunk
from barstream.runtime.driver import Consumer, ConsumerThread, ReadOffsets

PLACE = TP("ticks", 0)


def thread(consumer: Any) -> ConsumerThread:
    made = object.__new__(ConsumerThread)
    made._consumer = consumer
    made._chunks = WeakSet()
    made._seeks, made._last_seek = {}, 0
    made.app = cast("Any", SimpleNamespace(columnar_topics={"ticks"}))
    return made


def chunk(start: int, next_offset: int, unpacked_bytes: int = 0) -> RecordChunk:
    nothing = np.empty(0, np.int64)
    return RecordChunk(
        "ticks", 0, start, next_offset, [], [], nothing, nothing, True,
        unpacked_bytes=unpacked_bytes,
    )  # fmt: skip


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


class Log:
    """A group's consumer and its log of ten offsets; fetching takes all there is in one chunk.

    Attributes:
        committed: where the group has committed.
    """

    def __init__(self) -> None:
        self.committed = 0
        self._subscription = SubscriptionState()
        self._subscription.subscribe({"ticks"})
        self.fetching: Callable[[], Awaitable[None]] | None = None

    def join(self) -> None:
        """Another assignment: as aiokafka does, it begins where the group has committed."""
        self._subscription.assign_from_subscribed({PLACE})
        self.seek(PLACE, self.committed)

    def assignment(self) -> set[TP]:
        return {PLACE}

    def seek(self, tp: TP, offset: int) -> None:
        self._subscription.seek(tp, offset)

    async def fetch(self, *_: Any) -> dict[TP, list[Any]]:
        if self.fetching is not None:
            await self.fetching()
        state = self._subscription.subscription.assignment.state_value(PLACE)
        start = state.position
        if start == 10:
            return {}
        state.consumed_to(10)
        return {PLACE: [SimpleNamespace(value=chunk(start, 10))]}


class Reader:
    """Faust's consumer with our thread, over a `Log`; the engine has applied up to 4."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.positions = {PLACE: 4}
        self.thread = thread(log)
        made = self.consumer = object.__new__(Consumer)
        app = SimpleNamespace(columnar_topics={"ticks"}, start_positions=lambda: self.positions)
        made.app = self.thread.app = cast("Any", app)
        made._thread = self.thread
        made._committed_offset = {}
        made._read_offset = ReadOffsets(lambda: app.columnar_topics)
        made._active_partitions, made._paused_partitions = {PLACE}, set()

        async def at_once(do: Any, *arguments: Any) -> Any:
            return await do(*arguments)

        cast("Any", self.thread).call_thread = at_once

    async def chunks(self) -> list[RecordChunk]:
        found = await self.thread._fetch_records(cast("Any", self.log), {PLACE}, 0, 8)
        return [record.value for record in found.get(PLACE, ())]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Reader], Any]], None]:
    async def fetch(_self: Any, log: Log, *_: Any) -> Any:
        return await log.fetch()

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)

    def run(test: Callable[[Reader], Any]) -> None:
        async def running() -> None:
            await test(Reader(Log()))

        asyncio.run(running())

    return run


Run = Callable[[Callable[[Reader], Any]], None]


@pytest.mark.parametrize("committed", [0, 7])
def test_nothing_is_handed_out_before_it_is_known_where_to_go_on(read: Run, committed: int) -> None:
    """What the group has committed may be ahead of what was applied, and would be a gap."""

    async def test(reader: Reader) -> None:
        reader.log.committed = committed
        reader.log.join()
        assert await reader.chunks() == []
        await reader.consumer.perform_seek()
        (found,) = await reader.chunks()
        assert (found.start, reader.consumer.goes_on(found)) == (4, True)

    read(test)


def test_a_fetch_that_lasts_for_a_rebalance_brings_nothing(read: Run) -> None:
    async def test(reader: Reader) -> None:
        async def rejoin() -> None:
            reader.log.fetching = None
            reader.log.committed = 7
            reader.log.join()

        reader.log.join()
        await reader.consumer.perform_seek()
        reader.log.fetching = rejoin
        assert await reader.chunks() == []
        await reader.consumer.perform_seek()
        assert [found.start for found in await reader.chunks()] == [4]

    read(test)


def test_what_was_fetched_before_a_seek_does_not_go_on_behind_it(read: Run) -> None:
    async def test(reader: Reader) -> None:
        reader.log.join()
        await reader.consumer.perform_seek()
        (before,) = await reader.chunks()
        await reader.consumer.resume_reading(PLACE, 6)
        (behind,) = await reader.chunks()
        assert (behind.start, reader.consumer.goes_on(behind)) == (6, True)
        assert not reader.consumer.goes_on(before)
        reader.log.join()
        assert not reader.consumer.goes_on(behind)

    read(test)


def test_positions_of_an_assignment_that_is_over_move_nothing(read: Run) -> None:
    async def test(reader: Reader) -> None:
        reader.log.join()
        over = reader.thread.current_assignment
        reader.log.join()
        await reader.thread.start_from({PLACE: 7}, over)
        assert await reader.chunks() == []
        await reader.consumer.perform_seek()
        await reader.thread.start_from({PLACE: 7}, over)
        assert [found.start for found in await reader.chunks()] == [4]

    read(test)


def test_what_was_not_applied_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust acknowledges what it skips in a rebalance, and would commit what nobody has read."""
    monkeypatch.setattr(driver.Consumer, "ack", lambda _self, _message: True)
    made = object.__new__(Consumer)
    some = SimpleNamespace(value=chunk(0, 5))
    assert not made.ack(some)
    some.value.mark_applied()
    assert made.ack(some)
    assert made.ack(SimpleNamespace(value=b"of a topic that is no column"))


def test_what_was_read_of_columnar_topics_hides_nothing() -> None:
    other = TP("other", 0)
    read = ReadOffsets(lambda: {"ticks"})
    for tp in (PLACE, other):
        read[tp] = 7
    assert (read[PLACE], read[other], read[TP("other", 1)]) == (None, 7, None)


def test_no_more_is_unpacked_while_what_was_is_not_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = [SimpleNamespace(value=chunk(at, at + 1, 40 << 20)) for at in range(4)]

    async def fetch(_self: Any, _consumer: Any, *_: Any) -> Any:
        return {PLACE: [waiting.pop(0)]}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)

    async def run() -> None:
        log = Log()
        log.join()
        made = thread(log)
        await made._start_from({PLACE: 0}, made.current_assignment)

        async def more(wait_s: float = 0.0) -> list[RecordChunk]:
            found = await made._fetch_records(made._consumer, {PLACE}, wait_s, 8)
            return [record.value for record in found.get(PLACE, ())]

        (first,) = await more()
        (second,) = await more()
        assert await more(0.05) == []
        second.mark_applied()
        (third,) = await more()
        assert await more() == []
        del first  # as when its partition was given up
        (fourth,) = await more()
        assert third.unpacked_bytes == fourth.unpacked_bytes == 40 << 20

    asyncio.run(run())
