"""Sending heartbeats: barriers, encoding and batches, shared by the leader and the loader.

The barrier of a heartbeat is the end offset of the series' tick partition at sending,
asked with read_uncommitted isolation: it counts ticks of open transactions and control
records, so nothing that was in Kafka by then is overtaken.  Encode after asking, send at
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Self

from barstream.codecs.topics.heartbeat import HeartbeatRecord, Source, encode
from barstream.kafka.clients import TopicPartition, make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.flush import Row
from barstream.kafka.topics.batch_size import SMALL_BATCH_BYTES
from barstream.kafka.writer import BatchWriter, Sent

CLOSE_WITHIN_S: Final = 5.0
TRANSACTION_TIMEOUT_MS: Final = 30_000
"""So long an unfinished transaction of a leader that died may hold up readers of hb_1m."""


class Due(NamedTuple):
    """One heartbeat to be sent."""

    broker: str
    symbol: str
    partition: int
    """Partition of the series' ticks, and so of its heartbeats."""
    minute_us: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What the broker acknowledged for one partition."""

    count: int
    earliest_us: int | None
    """Append time of the earliest batch; None: the topic is not LogAppendTime."""
    latest_us: int | None


class Barriers:
    """Asks for end offsets of the tick topic; a consumer of no group that fetches nothing."""

    def __init__(self, cluster: Cluster, ticks_topic: str) -> None:
        self._topic = ticks_topic
        self._consumer = make_consumer(cluster, committed=False)

    async def start(self) -> None:
        """Connect; the tick topic must exist.

        Raises:
            KafkaError: no broker, or no such topic.
        """
        await self._consumer.start()
        await self._consumer.end_offsets([TopicPartition(self._topic, 0)])

    async def stop(self) -> None:
        """Disconnect within a deadline."""
        await _within(CLOSE_WITHIN_S, self._consumer.stop())

    async def read(self, partitions: Iterable[int]) -> dict[int, int]:
        """End offset, exclusive, of each of ``partitions`` that the topic has.

        Raises:
            KafkaError: a broker did not answer.
        """
        known = self._consumer.partitions_for_topic(self._topic) or set()
        asked = [TopicPartition(self._topic, number) for number in partitions if number in known]
        ends = await self._consumer.end_offsets(asked)
        return {tp.partition: offset for tp, offset in ends.items()}


def encode_rows(
    due: Iterable[Due], barriers: Mapping[int, int], sent_at_us: int, source: Source
) -> dict[int, list[Row]]:
    """Key and value of each heartbeat by partition, order kept.

    A series whose partition has no barrier (the tick topic has no such partition) is left
    out: nothing can close it.
    """
    rows: dict[int, list[Row]] = {}
    for broker, symbol, partition, minute_us in due:
        barrier = barriers.get(partition)
        if barrier is None:
            continue
        record = HeartbeatRecord(broker, symbol, minute_us, barrier, sent_at_us, source)
        rows.setdefault(partition, []).append(Row(record.key, encode(record)))
    return rows


async def send_rows(
    writer: BatchWriter, topic: str, rows_by_partition: Mapping[int, Sequence[Row]]
) -> dict[int, Appended]:
    """Send in bulk, each row to its partition, and wait until all are acknowledged.

    Raises:
        KafkaError: anything was not; which of the others were is unknown.
    """
    sent: dict[int, list[Sent]] = {}
    for partition, rows in rows_by_partition.items():
        sent[partition] = []
        for batch in writer.batches(topic, partition, rows):
            sent[partition].append(await writer.submit(batch, topic, partition))
            await asyncio.sleep(0)  # thousands of rows: the rest of the worker goes on
    await asyncio.gather(*(each.answer for some in sent.values() for each in some))
    appended: dict[int, Appended] = {}
    for partition, some in sent.items():
        # -1 is what the broker answers for a topic with CreateTime
        answers = [each.answer.result() for each in some]
        times = [answer.timestamp * 1000 for answer in answers if answer.timestamp > 0]
        appended[partition] = Appended(
            len(rows_by_partition[partition]), min(times, default=None), max(times, default=None)
        )
    return appended


class LeaderProducer:
    """The leader's producer: one transaction a round, under one fixed transactional id.

    Starting it fences whoever led before.
    """

    def __init__(self, cluster: Cluster, topic: str, transactional_id: str) -> None:
        self._topic = topic
        self._writer = BatchWriter(
            cluster,
            SMALL_BATCH_BYTES,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_request_size=1 << 20,
        )

    async def start(self) -> None:
        """Connect and fence the leader before.

        Raises:
            KafkaError: no broker took the transactional id.
        """
        await self._writer.start()

    async def begin(self, rows: Mapping[int, Sequence[Row]]) -> dict[int, Appended]:
        """Append ``rows`` in a transaction that is left open: nobody sees them yet.

        Raises:
            ProducerFenced: another leader has started since.
            KafkaError: not acknowledged; stop this producer and start another.
        """
        await self._writer.begin()
        return await send_rows(self._writer, self._topic, rows)

    async def commit(self) -> None:
        """Make the rows visible, all of them.

        Raises:
            ProducerFenced: another leader has started since; none of them is.
            KafkaError: it is not known whether they are.
        """
        await self._writer.commit()

    async def abort(self) -> None:
        """Take the rows back: no reader of committed records ever sees them."""
        await self._writer.abort()

    async def stop(self) -> None:
        """Close within a deadline, also when no broker answers or the id was fenced."""
        if self._writer.is_open:
            # An open transaction would hold up the readers of hb_1m until it times out.
            await _within(CLOSE_WITHIN_S, self._writer.abort())
        await self._writer.stop(CLOSE_WITHIN_S)


class LoaderHeartbeats:
    """Heartbeats of a loader, which is the clock of what it loads.

    Send the ticks, wait for their acknowledgement, then call :meth:`send`: the barrier is
    read after that and covers them.  Use as an async context manager.

    Args:
        cluster: where the topics are.
        ticks_topic: where the ticks were loaded.
        heartbeats_topic: ``hb_1m``.
        clock_us: the wall clock, for ``sent_at``.
    """

    def __init__(
        self,
        cluster: Cluster,
        ticks_topic: str,
        heartbeats_topic: str,
        clock_us: Callable[[], int],
        source: Source = "loader",
    ) -> None:
        self._topic = heartbeats_topic
        self._clock_us = clock_us
        self._source: Source = source
        self._barriers = Barriers(cluster, ticks_topic)
        self._writer = BatchWriter(cluster, SMALL_BATCH_BYTES, enable_idempotence=True)

    async def __aenter__(self) -> Self:
        await self._barriers.start()
        await self._writer.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._writer.stop(CLOSE_WITHIN_S)
        await self._barriers.stop()

    async def send(self, due: Sequence[Due]) -> int:
        """Send, each series ascending as given; returns how many were acknowledged.

        Raises:
            KafkaError: anything was not acknowledged; sending it again is harmless.
        """
        barriers = await self._barriers.read({item.partition for item in due})
        rows = encode_rows(due, barriers, self._clock_us(), self._source)
        appended = await send_rows(self._writer, self._topic, rows)
        return sum(part.count for part in appended.values())


async def _within(seconds: float, closing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closing
    except Exception:  # noqa: BLE001  what is being closed has failed already; the cause is known
        return
