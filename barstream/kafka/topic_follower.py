"""A whole topic, read by everyone: from the beginning, then as records come.

The schedule and the series seen are small compacted topics that every worker needs in
full, so this reader belongs to no consumer group, takes every partition, and knows when it
has everything that was there at its start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from barstream.cancellation import cancel
from barstream.errors import BarstreamError
from barstream.kafka.clients import make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import BrokerUnreachableError
from barstream.kafka.retry import RETRY_S, is_passing, retried

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_RECORDS_A_POLL: Final = 500
"""A poll's records are handled without a break: few enough to keep the event loop quick."""
STALL_S: Final = 5.0
"""So long without progress, the end offsets are asked for again."""
TOPIC_APPEARS_WITHIN_S: Final = 5.0
"""A topic that was made a moment ago is not known to every broker at once."""


class TopicMissingError(BarstreamError):
    """The topic to be read does not exist: create it (``barstream topics create``)."""


class RecordHandler(Protocol):
    """Takes one record; ``value`` is None for a tombstone, ``timestamp_us`` is its production.

    What it raises ends the reader.
    """

    def __call__(
        self,
        key: bytes | None,
        value: bytes | None,
        partition: int,
        offset: int,
        timestamp_us: int,
        /,
    ) -> None: ...


class TopicFollower:
    """Reads every record of ``topic`` into ``on_record``, committed ones only.

    ``await caught_up()`` returns when the position of every partition has reached the end
    offset it had at start. Positions count control records, the offset of the last record
    does not: a topic that ends in a commit marker is caught up too.

    Lost connections and broker restarts are waited out. Any other failure, also one of
    ``on_record``, ends the reader: it is logged, given to ``on_failure``, kept in
    ``failure`` and raised from ``caught_up()`` and ``wait()``.

    Args:
        topic: the topic's name in Kafka.
        on_record: called in the event loop, in offset order within a partition.
        cluster: where the topic is.
        on_failure: called with the exception that ended the reader.
        connect_timeout_s: how long to look for a broker at start; None is for ever.
    """

    def __init__(
        self,
        topic: str,
        on_record: RecordHandler,
        *,
        cluster: Cluster,
        on_failure: Callable[[BaseException], None] | None = None,
        connect_timeout_s: float | None = None,
        poll_s: float = 0.1,
    ) -> None:
        self.topic = topic
        self.failure: BaseException | None = None
        self._on_record = on_record
        self._on_failure = on_failure
        self._cluster = cluster
        self._connect_timeout_s = connect_timeout_s
        self._poll_ms = max(1, round(poll_s * 1000))
        self._targets: dict[TopicPartition, int] = {}
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to read in a task of its own; a second start changes nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"reader of {self.topic}")

    async def stop(self) -> None:
        """Stop reading and close the connection; also after a failure, which it leaves kept."""
        if self._task is not None:
            await cancel({self._task})

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was there at start has been handled."""
        return self._caught_up.is_set()

    @property
    def end_offsets(self) -> dict[int, int]:
        """End offset by partition as seen at start; empty until they are known."""
        return {tp.partition: offset for tp, offset in self._targets.items()}

    async def caught_up(self) -> None:
        """Wait until everything that was there at start has been handled.

        Raises:
            BarstreamError: the topic is missing, or no broker answered in time.
            Exception: whatever else ended the reader.
            RuntimeError: the reader was stopped, or never started.
        """
        arrived = asyncio.ensure_future(self._caught_up.wait())
        try:
            await asyncio.wait({arrived, self._started()}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
        if not self._caught_up.is_set():
            self._raise_end()

    async def wait(self) -> None:
        """Wait for the end of the reader: returns after ``stop()``, raises its failure."""
        await asyncio.wait({self._started()})
        if self.failure is not None:
            raise self.failure

    def _started(self) -> asyncio.Task[None]:
        if self._task is None:
            raise RuntimeError(f"the reader of {self.topic} was not started: await start() first")
        return self._task

    def _raise_end(self) -> None:
        if self.failure is not None:
            raise self.failure
        raise RuntimeError(f"the reader of {self.topic} was stopped before it caught up")

    async def _run(self) -> None:
        try:
            consumer = await self._connect()
            try:
                await self._read(consumer)
            finally:
                await consumer.stop()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.failure = error
            # before it has caught up, who waits for that is told
            if self.is_caught_up or not isinstance(error, BarstreamError):
                log.exception("reader ended by a failure topic=%s", self.topic)
            if self._on_failure is not None:
                self._on_failure(error)

    async def _connect(self) -> AIOKafkaConsumer:
        loop = asyncio.get_running_loop()
        began, warned = loop.time(), False
        while True:
            consumer = make_consumer(
                self._cluster, auto_offset_reset="earliest", fetch_max_wait_ms=100
            )
            try:
                await consumer.start()
            except KafkaError as error:
                await consumer.stop()
                if not is_passing(error):
                    raise
                waited_s = loop.time() - began
                if self._connect_timeout_s is not None and waited_s >= self._connect_timeout_s:
                    raise BrokerUnreachableError(
                        f"a Kafka broker is required at {self._cluster.addresses}, "
                        f"none answered within {waited_s:.0f} s ({error!r}): check `bootstrap` "
                        "and that the broker runs"
                    ) from error
                if not warned:
                    log.warning("no broker yet, still trying topic=%s error=%r", self.topic, error)
                    warned = True
                await asyncio.sleep(RETRY_S)
            except BaseException:
                await consumer.stop()
                raise
            else:
                return consumer

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TOPIC_APPEARS_WITHIN_S
        while True:
            # The public ways to learn the partitions would have the broker create the topic.
            cluster = await self._patiently(consumer._client.fetch_all_metadata)
            if found := cluster.partitions_for_topic(self.topic):
                return [TopicPartition(self.topic, partition) for partition in sorted(found)]
            if loop.time() >= deadline:
                raise TopicMissingError(
                    f"topic {self.topic!r} is required, but the cluster at "
                    f"{self._cluster.addresses} has none of that name: run "
                    "`barstream topics create`, or correct the name in [topics]"
                )
            await asyncio.sleep(RETRY_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        partitions = await self._partitions(consumer)
        consumer.assign(partitions)
        self._targets = await self._patiently(lambda: consumer.end_offsets(partitions))
        loop = asyncio.get_running_loop()
        moved_at, positions = loop.time(), dict.fromkeys(partitions, -1)
        while True:
            await self._poll(consumer)
            if self._caught_up.is_set():
                continue
            before = dict(positions)
            for tp in partitions:
                positions[tp] = await consumer.position(tp)
            if all(positions[tp] >= self._targets[tp] for tp in partitions):
                log.debug("reader caught up topic=%s end_offsets=%s", self.topic, self.end_offsets)
                self._caught_up.set()
            elif positions != before:
                moved_at = loop.time()
            elif loop.time() - moved_at > STALL_S:
                # A broker that lost its tail would otherwise be waited for without end.
                ends = await self._patiently(lambda: consumer.end_offsets(partitions))
                self._targets = {tp: min(self._targets[tp], ends[tp]) for tp in partitions}
                moved_at = loop.time()

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        batches = await self._patiently(
            lambda: consumer.getmany(timeout_ms=self._poll_ms, max_records=MAX_RECORDS_A_POLL)
        )
        for tp, records in batches.items():
            for record in records:
                self._on_record(
                    record.key, record.value, tp.partition, record.offset, record.timestamp * 1000
                )
        # getmany() does not suspend while it has records: the rest of the worker goes first.
        await asyncio.sleep(0)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        warned = False

        def warn(error: KafkaError) -> None:
            nonlocal warned
            if not warned:
                log.warning("broker trouble, still trying topic=%s error=%r", self.topic, error)
            warned = True

        return await retried(ask, within_s=None, on_failure=warn)
