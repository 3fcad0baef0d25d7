"""The transport driver: Faust's, with columnar topics, read_committed and our own positions.

It leans on private names of faust-streaming 0.15.3 and aiokafka 0.14.0, which is why both are
pinned exactly; ``tests/unit/runtime/test_library_internals.py`` fails when one of them is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import aiokafka
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from barstream.codecs.record_chunk import RecordChunk
from barstream.errors import BarstreamError
from barstream.kafka import consumer as pacing
from barstream.kafka.fetch_columns import ColumnarTopics, install
from barstream.runtime.conductor import Conductor

if TYPE_CHECKING:
    from barstream.runtime.app import BarstreamApp

#: A quiet partition must not keep the busy ones of its broker waiting; Faust asks for 1,500.
FETCH_MAX_WAIT_MS = 100
#: What compressed batches may have unpacked to before they are applied; beyond it no more are.
_UNPACKED_BYTES: Final = 64 << 20
_LOOK_AGAIN_S: Final = 0.01


class GroupFailed(BarstreamError):
    """The consumer group does not work for this worker.

    It stops with nothing acknowledged and goes on from its position rows when started again.
    """


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Opens the consumer the way the engine needs it."""

    app: BarstreamApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Those that were unpacked.
        self._chunks: WeakSet[RecordChunk] = WeakSet()
        #: By partition: the assignment in which it was told where to go on, and by which seek.
        self._seeks: dict[TP, tuple[Any, int]] = {}
        self._last_seek = 0

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 Faust's
        max_records: int | None = None,
    ) -> Any:
        """The next records; none while those that were unpacked take too much memory."""
        ends = time.monotonic() + (timeout or 0)
        while sum(chunk.unpacked_bytes for chunk in self._chunks) > _UNPACKED_BYTES:
            if time.monotonic() >= ends:
                return {}
            await asyncio.sleep(_LOOK_AGAIN_S)
        found = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        return {tp: records for tp, records in found.items() if self._goes_on(tp, records)}

    def _goes_on(self, tp: TP, records: Sequence[Any]) -> bool:
        """Whether they come from where we said; chunks are marked with the seek that said it.

        A fetch may last for a whole rebalance.  What it brings then is read from the offset that
        the group has committed, until a seek says where to go on, and is of no use to anyone.
        """
        if tp.topic not in self.app.columnar_topics:
            return True
        seek = self.seek_of(tp)
        if seek is None:
            return False
        for record in records:
            chunk: RecordChunk = record.value
            chunk.seek = seek
            if chunk.unpacked_bytes:
                self._chunks.add(chunk)
        return True

    def seek_of(self, tp: TP) -> int | None:
        """The last seek of a partition; None when it has not been told where to go on."""
        told, seek = self._seeks.get(tp, (None, 0))
        return None if told is None or told is not self.current_assignment else seek

    async def start_from(self, positions: Mapping[TP, int], assignment: Any) -> None:
        """Go on from ``positions``, which were known under ``assignment``.

        Nothing that was fetched before is handed out after it.  When another assignment has come
        meanwhile nothing happens, because that has positions of its own.
        """
        await self.call_thread(self._start_from, positions, assignment)

    async def _start_from(self, positions: Mapping[TP, int], assignment: Any) -> None:
        if assignment is None or assignment is not self.current_assignment:
            return
        self._last_seek += 1
        for tp, offset in positions.items():
            if tp in assignment.tps:
                self._ensure_consumer().seek(tp, offset)
                self._seeks[tp] = assignment, self._last_seek

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # an aborted tick is no tick
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        consumer._value_deserializer = ColumnarTopics(
            self.app.columnar_topics, passes_too_large=True
        )
        return consumer

    async def on_start(self) -> None:
        """Connect, and watch what coordinates the group.

        aiokafka tells its errors to whoever polls next, and a member that has no partition does
        not poll: it would stand still for ever.  And it lets a member say nothing while it takes
        partitions over: one that restores for longer than a session timeout would be put out of
        its group, and its partitions given to others that would have to restore them as well.
        """
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        self.app.membership.watch(coordinator)
        tell = coordinator._push_error_to_user

        def told(error: BaseException) -> Any:
            self._group_failed(error)
            return tell(error)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._group_failed(error)

        complete = coordinator._on_join_complete

        async def completed(*arguments: Any) -> None:
            coordinator._start_heartbeat_task()
            await complete(*arguments)

        coordinator._on_join_complete = completed
        coordinator._push_error_to_user = told
        coordinator._coordination_task.add_done_callback(ended)

    @property
    def current_assignment(self) -> Any:
        """The assignment of now, another object each time the group was joined; None before.

        Of one object: asked by parts, as aiokafka has it, an assignment may end in between.
        """
        consumer = self._consumer
        subscription = None if consumer is None else consumer._subscription.subscription
        return None if subscription is None else subscription.assignment

    def fetch_state(self, tp: TP) -> Any:
        """What the fetcher knows of a partition; None before and after it is assigned."""
        assignment = self.current_assignment
        return None if assignment is None else assignment.state_value(tp)

    def brokers(self) -> dict[int, str]:
        """Address of each broker, by its number; none before the first is known."""
        if self._consumer is None:
            return {}
        known = self._consumer._client.cluster.brokers()
        return {
            broker.nodeId: f"{broker.host}:{broker.port}"
            for broker in known
            if isinstance(broker.nodeId, int)  # those of the settings have no number
        }

    def highwater(self, tp: TP) -> int:
        """The end of a partition, as the last fetch told; 0 when it is not assigned."""
        state = self.fetch_state(tp)
        return 0 if state is None else state.highwater or 0

    def topic_partitions(self, topic: str) -> int | None:
        """How many partitions a topic has; None before the group is known."""
        if self._consumer is None or self._consumer._coordinator is None:
            return None
        return super().topic_partitions(topic)

    def _group_failed(self, error: BaseException) -> None:
        """Crash the worker, from the thread of the consumer."""
        failure = GroupFailed(
            f"this worker must be a member of the consumer group {self.app.conf.id!r}, and that "
            f"failed: {error!r}; look at the brokers and at the permissions for the group, then "
            "start it again"
        )
        failure.__cause__ = error
        asyncio.run_coroutine_threadsafe(self.app.crash(failure), self.app.loop)


class ReadOffsets(dict[TP, int | None]):
    """What Faust has read of each partition, by which it drops what comes again.

    Of columnar topics nothing is kept: what does not begin at the position of its engine is looked
    at there, and one that came before a seek must not hide those after.
    """

    def __init__(self, columnar: Callable[[], Collection[str]]) -> None:
        super().__init__()
        self._columnar = columnar

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        if tp.topic not in self._columnar():
            super().__setitem__(tp, offset)

    def __missing__(self, tp: TP) -> None:
        return None


class Consumer(driver.Consumer):
    """Commits columnar topics by the highest chunk acknowledged, starts at our own positions."""

    app: BarstreamApp
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = ReadOffsets(lambda: self.app.columnar_topics)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> Any:
        if isinstance(chunk := record.value, RecordChunk):
            # now, because a chunk that has waited in a queue says nothing of how live the feed is
            state = self._thread.fetch_state(tp)
            end = None if state is None else state.lso
            chunk.at_end = end is not None and chunk.next_offset >= end
            chunk.fetched_us = time.time_ns() // 1000
        return super()._to_message(tp, record)

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self.app.columnar_topics:
            return super()._new_offset(tp)
        # chunks are acknowledged in order, so the highest one stands for all before it
        acked = self._acked[tp]
        if not acked:
            return None
        highest: int = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return highest + 1

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # a chunk covers its range whole: what is between two chunks is no gap to be remembered
        if tp.topic not in self.app.columnar_topics:
            await super()._add_gap(tp, offset_from, offset_to)

    def ack(self, message: Any) -> bool:
        """Acknowledge what was flushed; Faust acknowledges what it skips in a rebalance as well."""
        chunk = message.value
        if isinstance(chunk, RecordChunk) and not chunk.is_applied:
            return False
        return super().ack(message)

    async def perform_seek(self) -> None:
        """Start where the position rows say, never where the group has committed.

        Between a seek to the one and to the other a fetch would fit, and the offsets of the group
        may be ahead: then the engine is given what does not come next, and has to end the worker.
        """
        assignment = self._thread.current_assignment
        if positions := self.app.start_positions():
            await self._thread.start_from(positions, assignment)
            for tp in positions:
                self._committed_offset[tp] = None

    def goes_on(self, chunk: RecordChunk) -> bool:
        """Whether no seek came between the fetch of ``chunk`` and now."""
        return chunk.seek == self._thread.seek_of(TP(chunk.topic, chunk.partition))

    def brokers(self) -> dict[int, str]:
        """Address of each broker, by its number; none before the first is known."""
        return self._thread.brokers()

    def stop_reading(self, tp: TP) -> None:
        """Fetch no more of ``tp``; what was fetched already is dropped."""
        self.pause_partitions({tp})

    async def resume_reading(self, tp: TP, offset: int) -> None:
        """Fetch ``tp`` again, from ``offset``."""
        await self._thread.start_from({tp: offset}, self._thread.current_assignment)
        self.resume_partitions({tp})

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's livelock log counts events, and a quiet market has none: we watch positions."""


class Transport(driver.Transport):
    """`kafka://` with columns."""

    Consumer = Consumer
    Conductor = Conductor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        install()
        pacing.install()
