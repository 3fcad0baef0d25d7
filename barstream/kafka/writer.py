"""Rows into Kafka in whole batches: what all who write share, and the writer of a partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from typing import Any, Final, NamedTuple, Self

from aiokafka.errors import (
    InvalidProducerIdMapping,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
)

from barstream.codecs.topics.batch_mark import HEADER, BatchMark, written_mark
from barstream.errors import BarstreamError, BatchRefused, FlushStalled, RowTooLarge, StateUnusable
from barstream.kafka.clients import TopicPartition, make_producer
from barstream.kafka.cluster import Cluster
from barstream.kafka.flush import Row
from barstream.kafka.offsets import check_identity
from barstream.kafka.producer_failure import cause_told, fatal_error, hear_out
from barstream.kafka.topic_identity import TopicMissing, topic_id
from barstream.kafka.topics.batch_size import PLANNED_BYTES, largest_batches

log = logging.getLogger(__name__)

Behind = Callable[
    [Mapping[tuple[str, int], int]], Awaitable[Mapping[tuple[str, int], Sequence[Row]]]
]

_STOP_WITHIN_S: Final = 5.0
_ABORT_WITHIN_S: Final = 5.0
_ANSWER_WITHIN_S: Final = 2.0
_ASK_AGAIN_S: Final = 0.1
#: A broker that has just started may not know all topics yet.
_LACKING: Final = 3
#: Below the 1 MiB a broker takes by default, headers of the batch included.
_BATCH_BYTES: Final = 900_000
#: The lengths and deltas that stand beside what is written.
_LENGTHS: Final = 10
_KEY_SHOWN: Final = 80

RowLike = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value and headers, as of `Row`."""


class Written(NamedTuple):
    """Where the last of some rows is: its offset, and the batch that holds it."""

    offset: int
    last_batch: BatchMark


class TopicOfId(NamedTuple):
    """A topic, and which one of that name."""

    name: str
    identity: str


class Sent(NamedTuple):
    """A batch that is on its way; ``answer`` knows the offset of its first record."""

    batch: Any
    answer: asyncio.Future[Any]


class BatchWriter:
    """Writes rows in closed batches, in transactions where it has a ``transactional_id``.

    Starting one with the same id fences it: it then can write nothing more, and says so.

    Args:
        cluster: where the topics are.
        batch_bytes: how large a batch becomes.
        largest: by topic the most bytes it takes in a batch, see `ask_sizes`.
        more: options of the producer.

    Attributes:
        is_open: whether a transaction is, as far as is known.
    """

    def __init__(
        self,
        cluster: Cluster,
        batch_bytes: int,
        largest: Mapping[str, int] | None = None,
        **more: Any,
    ) -> None:
        self._cluster = cluster
        self._batch_bytes = batch_bytes
        self._largest = dict(largest or {})
        self.transactional_id: str | None = more.get("transactional_id")
        self.is_open = False
        self._sent: list[asyncio.Future[Any]] = []
        self._producer = make_producer(cluster, max_batch_size=batch_bytes, **more)

    async def start(self) -> None:
        """Fence whoever has the same id; its open transaction is aborted before this returns.

        Raises:
            KafkaError: no broker answered, or none took the id.
        """
        await self._producer.start()

    async def stop(self, within_s: float | None = _STOP_WITHIN_S) -> None:
        """Close the connection, within a deadline also when no broker answers.

        Args:
            within_s: None: what was handed over is sent first, however long that takes.

        Raises:
            KafkaError: it was not; without a deadline alone.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._producer.stop()
        except Exception as error:
            if within_s is None:
                raise
            # nothing more is wanted of it
            log.debug("producer not closed: %s %r", self.transactional_id, error)
        finally:
            hear_out(self._producer, self._sent)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(within_s=None)

    async def ask_sizes(self, topics: Iterable[str]) -> None:
        """Learn how large a batch of each topic may be; by default as large as Kafka's own."""
        unknown = {topic for topic in topics if topic not in self._largest}
        if unknown:
            self._largest.update(await largest_batches(self._cluster, unknown))

    async def begin(self) -> None:
        """Begin a transaction."""
        self._sent.clear()
        self.is_open = True
        with cause_told(self._producer):
            await self._producer.begin_transaction()

    async def commit(self) -> None:
        """Make what was sent since `begin` visible, all of it.

        Raises:
            ProducerFenced: nothing of it is.
            KafkaError: it is not known whether it is.
        """
        with cause_told(self._producer):
            await self._producer.commit_transaction()
        self.is_open = False

    async def abort(self) -> None:
        """Take back what was sent since `begin`: no reader of committed records ever sees it."""
        with cause_told(self._producer):
            await self._producer.abort_transaction()
        self.is_open = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Commit what is sent inside, or abort it, which waits for the brokers without end."""
        self._sent.clear()
        self.is_open = True
        with cause_told(self._producer):
            async with self._producer.transaction():
                yield
        self.is_open = False

    def batches(self, topic: str, partition: int, rows: Iterable[RowLike]) -> Iterator[Any]:
        """The rows, in order, in as few batches as take them; each is to be submitted.

        Raises:
            RowTooLarge: the topic takes no batch of one of them.
        """
        most = self._largest.get(topic, PLANNED_BYTES)
        is_small = most < self._batch_bytes
        batch, append = None, _takes_nothing
        for key, value, headers in rows:
            if is_small and batch is not None and batch.size() + _size(key, value, headers) > most:
                append = _takes_nothing
            if append(key=key, value=value, timestamp=None, headers=headers) is not None:
                continue
            if batch is not None:
                yield batch
            if (least := HEADER.size + len(key or b"") + len(value or b"")) > most:
                raise RowTooLarge(
                    f"a row of {topic}[{partition}] must fit the {most:,} bytes that the topic "
                    f"takes in a batch, found one of {least:,} bytes, its key "
                    f"{(key or b'')[:_KEY_SHOWN]!r}: raise max.message.bytes of the topic and "
                    "start again, or look at what made it so large"
                )
            batch = self._producer.create_batch()
            append = batch.append
            append(key=key, value=value, timestamp=None, headers=headers)  # takes a first one
        if batch is not None:
            yield batch

    async def submit(self, batch: Any, topic: str, partition: int) -> Sent:
        """Hand a batch over; its ``answer`` is to be awaited."""
        batch.close()  # one left open may be appended to by a later send
        with cause_told(self._producer):
            answer = await self._producer.send_batch(batch, topic, partition=partition)
        if self.is_open:
            self._sent.append(answer)
        return Sent(batch, answer)

    async def send(self, topic: str, partition: int, rows: Iterable[RowLike]) -> list[Sent]:
        """Hand over rows of one partition, in order.

        Raises:
            RowTooLarge: the topic takes no batch of one of them; those before it are sent.
            KafkaError: a batch could not be queued.
        """
        batches = self.batches(topic, partition, rows)
        return [await self.submit(batch, topic, partition) for batch in batches]


class PartitionWriter(BatchWriter):
    """Writes all rows of a flush in one transaction, or none.

    ``transactional.id`` names the partition and not the worker: starting this producer fences
    whoever held the partition before, which then can write nothing more to it.

    Args:
        cluster: where the topics are.
        transactional_id: ``{app_id}-{partition}``.
        deadline_s: with idempotence batches never expire, so a flush needs a deadline.
        largest: by topic the most bytes it takes in a batch; asked for where it is not given.
    """

    def __init__(
        self,
        cluster: Cluster,
        transactional_id: str,
        deadline_s: float = 60.0,
        largest: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(
            cluster,
            _BATCH_BYTES,
            largest,
            transactional_id=transactional_id,
            linger_ms=0,
            transaction_timeout_ms=int(deadline_s * 1000),
        )
        self._deadline_s = deadline_s

    async def write(
        self,
        rows: Mapping[tuple[str, int], Sequence[Row]],
        at_least: Mapping[tuple[str, int], int] | None = None,
        behind: Behind | None = None,
        read_from: TopicOfId | None = None,
    ) -> dict[tuple[str, int], Written]:
        """Write ``rows`` by (topic, partition) in one transaction.

        Args:
            rows: what is written.
            at_least: offsets that the last rows must come to, or what was written before is gone.
            behind: given the last offset of each, what is written behind them; an error of it
                aborts the transaction.
            read_from: the topic that the rows follow from; of another one of that name nothing is
                committed, and that is asked now, when all that was read of it has been read.

        Returns:
            Where the last row of each (topic, partition) is.

        Raises:
            StateUnusable: Kafka has lost the tail of a topic; nothing is written.
            TicksGone: ``read_from`` was deleted and made again; nothing is written.
            RowTooLarge: a topic takes no batch of one of the rows; nothing is written.
            FlushStalled: not committed within the deadline; whether it was is not known.
            aiokafka.errors.ProducerFenced: another worker owns the partition, or may own it, since
                the brokers have forgotten this one; nothing is written.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                await self.ask_sizes(topic for topic, _ in rows)
                # Not `transaction()`: on any error that aborts, and waits for the abort without
                # end when no broker answers.  Whoever takes the partition next aborts.
                await self.begin()
                try:
                    written = await self._append(rows, at_least or {}, behind)
                    if read_from is not None:
                        await self._check_read_from(read_from, rows)
                except BarstreamError:
                    # what is wrong is said, whatever becomes of the abort: a broker that has lost
                    # something may not answer, and whoever takes the partition next aborts as well
                    with suppress(Exception):
                        async with asyncio.timeout(_ABORT_WITHIN_S):
                            await self.abort()
                    raise
                await self.commit()
                return written
        except TimeoutError as error:
            raise FlushStalled(
                f"transaction {self.transactional_id} must be committed within "
                f"{self._deadline_s:.0f} s and was not: look at the brokers"
            ) from error
        except MessageSizeTooLargeError as error:
            raise BatchRefused(
                f"the topics that transaction {self.transactional_id} writes must take batches as "
                "large as when it began, and one refused: its max.message.bytes was lowered; start "
                "the worker again"
            ) from error
        except Exception as error:
            if isinstance(error, ProducerFenced):
                raise
            # told between two calls: the next one only says that no transaction is open
            told = fatal_error(self._producer) or error
            # a process that was frozen for as long as brokers remember: whoever owns the partition
            # by now did not fence it, as there was nobody left to fence
            if _is_forgotten(told):
                log.warning(
                    "the brokers have forgotten this worker, its partition may be another's: "
                    "transaction=%s",
                    self.transactional_id,
                )
            elif not isinstance(told, ProducerFenced):
                raise told from told.__cause__
            raise ProducerFenced from error

    async def _append(
        self,
        rows: Mapping[tuple[str, int], Sequence[Row]],
        at_least: Mapping[tuple[str, int], int],
        behind: Behind | None,
    ) -> dict[tuple[str, int], Written]:
        written = await self._acknowledged(rows)
        for place, offset in at_least.items():
            _check_grown(place, written[place].offset, offset)
        if behind is not None:
            more = await behind({place: each.offset for place, each in written.items()})
            await self.ask_sizes(topic for topic, _ in more)
            written |= await self._acknowledged(more)
        return written

    async def _acknowledged(
        self, rows: Mapping[tuple[str, int], Sequence[Row]]
    ) -> dict[tuple[str, int], Written]:
        sent = {place: await self.send(*place, some) for place, some in rows.items()}
        return {place: await _last(parts) for place, parts in sent.items()}

    async def _check_read_from(self, topic: TopicOfId, places: Iterable[tuple[str, int]]) -> None:
        """Ask those who have just taken the rows: they are there, and a connection to them is."""
        client = self._producer.client
        leaders = {client.cluster.leader_for_partition(TopicPartition(*each)) for each in places}
        lacking = 0
        for node in cycle([each for each in leaders if each is not None and each >= 0] or [None]):
            try:
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    found = await topic_id(client, topic.name, node)
                break
            except TopicMissing:
                lacking += 1
                if lacking == _LACKING:
                    return  # deleted, and there is no other one of whose ticks something follows
            except (KafkaError, TimeoutError, OSError) as error:
                log.debug("it is not told which topic %s is: %r", topic.name, error)
            await asyncio.sleep(_ASK_AGAIN_S)
        check_identity(topic.name, topic.identity, found)


def _is_forgotten(error: BaseException) -> bool:
    """Whether the brokers know nothing of the id; the sender wraps what it was told."""
    return any(isinstance(each, InvalidProducerIdMapping) for each in (error, error.__cause__))


def _size(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> int:
    """More than a record takes."""
    beside = sum(4 * len(name) + len(said) + _LENGTHS for name, said in headers)
    return len(key or b"") + len(value or b"") + beside + 4 * _LENGTHS


def _takes_nothing(**_: Any) -> None:
    """As a full batch: what comes next begins one."""


async def _last(parts: Sequence[Sent]) -> Written:
    bases = [(await each.answer).offset for each in parts]
    batch, base = parts[-1].batch, bases[-1]
    header = bytes(batch._buffer[: HEADER.size])
    return Written(base + batch.record_count() - 1, written_mark(header, base))


def _check_grown(place: tuple[str, int], offset: int, at_least: int) -> None:
    if offset < at_least:
        raise StateUnusable(
            f"{place[0]}[{place[1]}] must go on behind what this worker has written, its next row "
            f"at offset {at_least} or later, but it is at {offset}: Kafka has lost committed "
            "records. Nothing was written. The worker stops; started again it says what is lost"
        )
