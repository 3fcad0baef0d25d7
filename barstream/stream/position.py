"""How a backlog meets what comes next: by offsets, so that nothing is missed or given twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from barstream.stream.cursor import Cursor, TopicPlace
from barstream.stream.event import StreamEvent


class StreamRecord(NamedTuple):
    """A final, or its withdrawal, as the topic has it.

    Attributes:
        series: broker and symbol.
        bucket_us: start of its bucket.
        event: what clients are told of it.
    """

    offset: int
    series: tuple[str, str]
    bucket_us: int
    event: StreamEvent


class TopicSpan(NamedTuple):
    """All that a partition has committed between two offsets, whoever read it.

    Attributes:
        first: lowest offset that was looked at; compacted ones and markers count.
        end: one past the highest.
        records: those that are left, ascending.
        since_us: no record at ``end`` or after it is older.
    """

    period: str
    partition: int
    first: int
    end: int
    records: Sequence[StreamRecord]
    since_us: int


class SpanMissing(LookupError):
    """Records between a client's position and a span were never given to it: read them first."""


class StreamPosition:
    """Where a client is, which moves with each span it is given.

    Args:
        cursor: where it begins.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._topic_ids = {period: place.topic_id for period, place in cursor.places.items()}
        self._next = {
            (period, partition): offset
            for period, place in cursor.places.items()
            for partition, offset in enumerate(place.offsets)
        }
        self._since_us = dict.fromkeys(self._next, cursor.since_us)

    @property
    def next_offsets(self) -> dict[tuple[str, int], int]:
        """By period and partition, the offset that comes next."""
        return dict(self._next)

    @property
    def cursor(self) -> Cursor:
        """Of what was taken so far."""
        offsets: dict[str, list[int]] = {period: [] for period in self._topic_ids}
        for (period, _), offset in self._next.items():
            offsets[period].append(offset)
        return Cursor(
            min(self._since_us.values(), default=0),
            {
                period: TopicPlace(topic_id, tuple(offsets[period]))
                for period, topic_id in self._topic_ids.items()
            },
        )

    def take(self, span: TopicSpan) -> list[StreamRecord]:
        """The records of a span that the client has not been given; none of another period.

        Raises:
            SpanMissing: the span begins after what comes next.
        """
        at = self._next.get((span.period, span.partition))
        if at is None or span.end < at:
            return []
        if span.first > at:
            raise SpanMissing(
                f"records of {span.period}[{span.partition}] from offset {at} on are required, "
                f"found some from {span.first} on: read those between first"
            )
        key = span.period, span.partition
        self._next[key] = span.end
        self._since_us[key] = max(self._since_us[key], span.since_us)
        return [record for record in span.records if record.offset >= at]
