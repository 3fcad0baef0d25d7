"""Ranges of a topic's partitions, committed records only, as chunks or records.

The end of a range is fixed before it is read, so reading ends on a topic that is written to.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from barstream.codecs.record_chunk import RecordChunk
from barstream.config import Settings
from barstream.errors import ReadingStalled
from barstream.kafka.clients import (
    ClusterMetadata,
    ConsumerRecord,
    KafkaConsumer,
    OffsetOutOfRangeError,
    TopicPartition,
    make_consumer,
)
from barstream.kafka.cluster import Cluster
from barstream.kafka.fetch_columns import ColumnarTopics, JudgedBatches, install
from barstream.kafka.offsets import extents_of, offsets_required
from barstream.kafka.topic_follower import TopicMissingError
from barstream.log.errors import HistoryGone

_FETCH_BYTES: Final = 4 << 20
#: Of so few offsets one fetch of this size usually brings all.
_FEW: Final = 8_192
_FETCH_BYTES_OF_FEW: Final = 1 << 20
_POLL_MS: Final = 200
_STALLED_AFTER_S: Final = 60.0
#: Kafka answers "the first record at or after a time"; there is none before this one.
_NO_TIME_US: Final = 0


class _Client:
    """A consumer, and what it is to read in columns."""

    def __init__(self, cluster: Cluster, fetch_bytes: int) -> None:
        self.columns = ColumnarTopics((), passes_too_large=True)
        self.fetch_bytes = fetch_bytes
        self.consumer = make_consumer(
            cluster,
            auto_offset_reset="none",
            max_partition_fetch_bytes=fetch_bytes,
            fetch_max_wait_ms=100,
            value_deserializer=self.columns,
        )


class Clients(Cluster):
    """A cluster whose clients are kept while it is entered, each for one reading after the other.

    A client connects, and asks for versions and metadata, before it reads a record: for those who
    read a little here and there, that is most of the time.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._idle: list[_Client] | None = None
        self._metadata: ClusterMetadata | None = None

    async def __aenter__(self) -> Self:
        self._idle = []
        return self

    async def __aexit__(self, *_: object) -> None:
        idle, self._idle = self._idle or [], None
        for client in idle:
            await client.consumer.stop()

    def take(self, fetch_bytes: int) -> _Client | None:
        """One that nobody uses; None: one has to be made."""
        for client in self._idle or ():
            if client.fetch_bytes == fetch_bytes:
                self._idle.remove(client)  # type: ignore[union-attr]
                return client
        return None

    def give_back(self, client: _Client) -> bool:
        """Whether one that was used without failure is kept."""
        if self._idle is None:
            return False
        # of what it was assigned nothing more is to be fetched
        client.consumer.pause(*client.consumer.assignment())
        self._idle.append(client)
        return True

    async def metadata(self, consumer: KafkaConsumer) -> ClusterMetadata:
        """The topics and partitions there are, asked for once."""
        if self._idle is None or self._metadata is None:
            self._metadata = await consumer._client.fetch_all_metadata()
        return self._metadata


class Span(NamedTuple):
    """Offsets [``begin``, ``end``) of a partition."""

    begin: int
    end: int

    @property
    def is_empty(self) -> bool:
        """Whether there is no offset in it."""
        return self.end <= self.begin


Spans = Mapping[int, Span]
"""By partition."""


async def held(
    cluster: Cluster, topic: str, partitions: Collection[int] | None = None
) -> dict[int, Span]:
    """What each partition holds now, up to its last stable offset.

    Args:
        cluster: where the topic is.
        topic: the topic.
        partitions: those asked for; None: all.

    Raises:
        TopicMissingError: there is no such topic.
        ReadingStalled: the brokers do not tell it.
    """
    async with _borrowed(cluster) as client:
        consumer, places = client.consumer, await _places(cluster, client, topic, partitions)
        found = await extents_of(consumer, places)
    return {tp.partition: Span(*extent) for tp, extent in found.items()}


async def offsets_at(cluster: Cluster, topic: str, spans: Spans, time_us: int) -> dict[int, int]:
    """Of each partition the first offset appended at or after ``time_us``; else the span's end.

    Topics with append times only: where producers say the time it need not ascend, and Kafka
    answers with the first record that is late enough.
    """
    async with _borrowed(cluster) as client:
        asked_ms = max(_NO_TIME_US, time_us) // 1000
        places = await _places(cluster, client, topic, spans)
        with offsets_required(client.consumer, places):
            found = await client.consumer.offsets_for_times(dict.fromkeys(places, asked_ms))
    return {
        tp.partition: _within(spans[tp.partition], None if at is None else at.offset)
        for tp in places
        for at in [found.get(tp)]
    }


async def chunks(
    cluster: Cluster,
    topic: str,
    spans: Spans,
    judged: Mapping[int, JudgedBatches] = MappingProxyType({}),
) -> AsyncIterator[RecordChunk]:
    """The records of ``spans`` in columns, in offset order within a partition.

    The chunks of a partition join: each starts where the one before ended, the last one ends at
    the span's end.  Close the iterator (``aclose``) to stop early.

    Args:
        cluster: where the topic is.
        topic: the topic.
        spans: by partition.
        judged: by partition, which batches were unpacked when they were judged; else it is gone by
            the limit of now.

    Raises:
        HistoryGone: a span begins before what the topic holds.
        ReadingStalled: the partitions give nothing although their end is not reached.
    """
    install()
    spans = _filled(spans)
    if not spans:
        return
    async with _borrowed(cluster, spans) as client:
        client.columns.topics = frozenset({topic})
        client.columns.ends = {
            TopicPartition(topic, partition): span.end for partition, span in spans.items()
        }
        client.columns.judged = {
            TopicPartition(topic, partition): said for partition, said in judged.items()
        }
        async for tp, records, start, end in _fetched(cluster, client, topic, spans):
            for record in records:
                chunk: RecordChunk = record.value
                if start >= end:
                    break  # one fetch may bring several chunks, also from behind the end
                if chunk.start > start:
                    raise _gone(tp, start)
                start = min(chunk.next_offset, end)
                yield cut(chunk, end)


async def records(
    cluster: Cluster, topic: str, spans: Spans
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """The records of ``spans`` one by one, with their headers; otherwise as `chunks`."""
    spans = _filled(spans)
    if not spans:
        return
    async with _borrowed(cluster, spans) as client:
        client.columns.topics = frozenset()
        async for _, found, _, end in _fetched(cluster, client, topic, spans):
            for record in found:
                if record.offset < end:
                    yield record


def cut(chunk: RecordChunk, end: int) -> RecordChunk:
    """The part of ``chunk`` below offset ``end``."""
    if chunk.next_offset <= end:
        return chunk
    count = int(chunk.offsets.searchsorted(end))
    return RecordChunk(
        chunk.topic,
        chunk.partition,
        chunk.start,
        end,
        chunk.keys[:count],
        chunk.values[:count],
        chunk.offsets[:count],
        chunk.timestamps_us[:count],
        chunk.append_time,
        too_large=chunk.too_large,
    )


def tail(chunk: RecordChunk, offset: int) -> RecordChunk:
    """The part of ``chunk`` from an offset on."""
    at = int(chunk.offsets.searchsorted(offset))
    return RecordChunk(
        chunk.topic, chunk.partition, offset, chunk.next_offset, chunk.keys[at:],
        chunk.values[at:], chunk.offsets[at:], chunk.timestamps_us[at:], chunk.append_time,
        too_large=chunk.too_large,
    )  # fmt: skip


def parts(chunk: RecordChunk, borders: Iterable[int]) -> Iterator[RecordChunk]:
    """``chunk`` cut before each of the ascending ``borders`` that lies in it."""
    for border in borders:
        if chunk.start < border < chunk.next_offset:
            yield cut(chunk, border)
            chunk = tail(chunk, border)
    yield chunk


@asynccontextmanager
async def _borrowed(cluster: Cluster, spans: Spans | None = None) -> AsyncIterator[_Client]:
    """A started client; None for ``spans``: it is asked for offsets alone."""
    count = sum(span.end - span.begin for span in (spans or {}).values())
    fetch_bytes = _FETCH_BYTES_OF_FEW if count <= _FEW else _FETCH_BYTES
    kept = cluster if isinstance(cluster, Clients) else None
    client = None if kept is None else kept.take(fetch_bytes)
    is_kept = False
    try:
        if client is None:
            client = _Client(cluster, fetch_bytes)
            await client.consumer.start()
        yield client
        is_kept = kept is not None and kept.give_back(client)
    finally:
        if client is not None and not is_kept:
            await client.consumer.stop()


async def _places(
    cluster: Cluster, client: _Client, topic: str, partitions: Collection[int] | None
) -> list[TopicPartition]:
    # The public ways to learn the partitions would have the broker create the topic.
    if isinstance(cluster, Clients):
        metadata = await cluster.metadata(client.consumer)
    else:
        metadata = await client.consumer._client.fetch_all_metadata()
    there = metadata.partitions_for_topic(topic)
    if not there:
        raise TopicMissingError(
            f"topic {topic!r} is required, but the cluster has none of that name: "
            "run `barstream topics create`, or correct the name in [topics]"
        )
    wanted = there if partitions is None else partitions
    if missing := sorted(set(wanted) - set(there)):
        raise TopicMissingError(
            f"{topic} must have the partitions asked for, found {len(there)} and not "
            f"{', '.join(map(str, missing))}"
        )
    # or who leads them is asked for after the first question failed, a tenth of a second later
    await client.consumer._client.add_topic(topic)
    return [TopicPartition(topic, partition) for partition in sorted(wanted)]


async def _fetched(
    cluster: Cluster, client: _Client, topic: str, spans: Spans
) -> AsyncIterator[tuple[TopicPartition, list[Any], int, int]]:
    """What the consumer is given: place, records, the offset they should start at, the end."""
    left = {TopicPartition(topic, partition): span for partition, span in spans.items()}
    ends = {tp: span.end for tp, span in left.items()}
    await _places(cluster, client, topic, [tp.partition for tp in left])
    consumer = client.consumer
    consumer.assign(list(left))
    for tp, span in left.items():
        consumer.seek(tp, span.begin)
    reached = {tp: span.begin for tp, span in left.items()}
    moved_at = time.monotonic()
    while left:
        try:
            found = await consumer.getmany(*left, timeout_ms=_POLL_MS)
        except OffsetOutOfRangeError as error:
            raise HistoryGone(
                f"{topic} must hold the offsets "
                f"{', '.join(f'{tp.partition}:{at}' for tp, at in reached.items())} on, but does "
                "not any more: retention deleted them meanwhile; ask again"
            ) from error
        starts = dict(reached)
        for tp in list(left):
            # by position: the last ones may be commit markers or aborted records
            reached[tp] = await consumer.position(tp)
            if reached[tp] >= left[tp].end:
                del left[tp]
                # at once, or what lies behind is fetched meanwhile
                consumer.pause(tp)
        for tp, got in found.items():
            yield tp, got, starts[tp], ends[tp]
        if reached != starts:
            moved_at = time.monotonic()
        if left and time.monotonic() - moved_at > _STALLED_AFTER_S:
            raise ReadingStalled(
                f"{topic} must be read to its end, but gave nothing for "
                f"{_STALLED_AFTER_S:.0f} s: "
                + ", ".join(f"[{tp.partition}] {reached[tp]} of {left[tp].end}" for tp in left)
                + "; look at the leaders of these partitions"
            )


def _filled(spans: Spans) -> Spans:
    return {partition: span for partition, span in spans.items() if not span.is_empty}


def _within(span: Span, offset: int | None) -> int:
    return span.end if offset is None else min(max(offset, span.begin), span.end)


def _gone(tp: TopicPartition, expected: int) -> HistoryGone:
    return HistoryGone(
        f"{tp.topic}[{tp.partition}] must hold offset {expected}, but does not any more: "
        "retention deleted it meanwhile; ask again"
    )
