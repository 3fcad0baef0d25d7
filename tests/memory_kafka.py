"""Topics in memory, read by a consumer that does what ours ask of aiokafka's.

For tests that want the readers of the log as they are, thousands of times and without a broker:
`reading_from` puts it in the place of the consumers of `barstream.kafka.clients`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord, OffsetAndTimestamp

from barstream.codecs.record_chunk import RecordChunk
from barstream.kafka import clients
from barstream.kafka.fetch_columns import ColumnarTopics

Headers = Sequence[tuple[str, bytes]]
_APPEND_TIME = 1


class Entry(NamedTuple):
    """A record with its place; offsets may leave gaps, as transactions and compaction do."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass
class MemoryTopic:
    """One partition, 0: its records by ascending offset, and its end."""

    entries: list[Entry] = field(default_factory=list)
    end: int = 0

    def append(
        self, timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> None:
        """One more record at the end."""
        self.entries.append(Entry(self.end, timestamp_ms, key, value, headers))
        self.end += 1


@dataclass
class MemoryKafka:
    """Topics by name.

    Attributes:
        opened: how many consumers were made.
        stopped: how many of them were stopped.
    """

    topics: dict[str, MemoryTopic] = field(default_factory=dict)
    opened: int = 0
    stopped: int = 0

    def topic(self, name: str) -> MemoryTopic:
        """The topic, made when there is none."""
        return self.topics.setdefault(name, MemoryTopic())

    def consumer(self, **options: Any) -> MemoryConsumer:
        """What takes the place of ``AIOKafkaConsumer``."""
        self.opened += 1
        return MemoryConsumer(self, options.get("value_deserializer"))

    def partitions_for_topic(self, name: str) -> set[int] | None:
        """As aiokafka's metadata."""
        return {0} if name in self.topics else None


class MemoryConsumer:
    """Reads assigned partitions from where it was told to."""

    def __init__(self, kafka: MemoryKafka, deserializer: Any) -> None:
        self._kafka = kafka
        self._topics = kafka.topics
        self._deserializer = deserializer
        self._at: dict[TopicPartition, int] = {}
        self._client = self

    async def fetch_all_metadata(self) -> MemoryKafka:
        return MemoryKafka(dict(self._topics))

    async def add_topic(self, topic: str) -> None:
        """Who leads its partitions is known."""
        assert topic in self._topics

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Nothing to disconnect from."""
        self._kafka.stopped += 1

    async def beginning_offsets(self, places: Sequence[TopicPartition]) -> dict[Any, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[Any, int]:
        return {tp: self._topics[tp.topic].end for tp in places}

    async def offsets_for_times(self, asked: Mapping[TopicPartition, int]) -> dict[Any, Any]:
        return {
            tp: next(
                (
                    OffsetAndTimestamp(entry.offset, entry.timestamp_ms)
                    for entry in self._topics[tp.topic].entries
                    if entry.timestamp_ms >= time_ms
                ),
                None,
            )
            for tp, time_ms in asked.items()
        }

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._at = dict.fromkeys(places, 0)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._at[place] = offset

    def assignment(self) -> set[TopicPartition]:
        return set(self._at)

    def pause(self, *places: TopicPartition) -> None:
        for place in places:
            del self._at[place]

    async def position(self, place: TopicPartition) -> int:
        return self._at[place]

    async def getmany(self, *places: TopicPartition, timeout_ms: int = 0) -> dict[Any, list[Any]]:
        del timeout_ms
        found = {}
        for tp in places:
            topic, start = self._topics[tp.topic], self._at[tp]
            entries = [entry for entry in topic.entries if entry.offset >= start]
            self._at[tp] = topic.end
            wanted = self._deserializer
            if isinstance(wanted, ColumnarTopics) and tp.topic in wanted.topics:
                found[tp] = [_record(tp, topic.end - 1, _chunk(tp, start, topic.end, entries))]
            else:
                found[tp] = [_record(tp, e.offset, e.value, e) for e in entries]
        return found


def _record(tp: TopicPartition, offset: int, value: Any, entry: Entry | None = None) -> Any:
    if entry is None:
        return ConsumerRecord(
            tp.topic, tp.partition, offset, 0, _APPEND_TIME, None, value, None, -1, -1, ()
        )
    return ConsumerRecord(
        tp.topic, tp.partition, offset, entry.timestamp_ms, _APPEND_TIME, entry.key, value, None,
        -1, -1, tuple(entry.headers),
    )  # fmt: skip


def _chunk(tp: TopicPartition, start: int, end: int, entries: Sequence[Entry]) -> RecordChunk:
    return RecordChunk(
        tp.topic, tp.partition, start, end, [e.key for e in entries], [e.value for e in entries],
        np.array([e.offset for e in entries], np.int64),
        np.array([e.timestamp_ms for e in entries], np.int64) * 1000, True,
    )  # fmt: skip


@contextmanager
def reading_from(kafka: MemoryKafka) -> Iterator[None]:
    """Whatever makes a consumer reads ``kafka``."""
    with mock.patch.object(clients, "KafkaConsumer", kafka.consumer):
        yield
