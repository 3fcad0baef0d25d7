"""The newest spans of a partition of finals: what a client that was away a while is given."""

from __future__ import annotations

from collections import deque

from barstream.stream.position import TopicSpan


class SpanMemory:
    """Spans of one partition that follow each other without a gap, the oldest forgotten first.

    Whoever is behind reads Kafka up to `first`, then takes `since` and every later span in the
    same turn of the event loop: so a backlog meets what comes next.

    Args:
        limit: bytes of events kept.
        start: offset of the first span to come.
    """

    def __init__(self, limit: int, start: int) -> None:
        self._limit = limit
        self._spans: deque[TopicSpan] = deque()
        self._size = 0
        self._end = start

    @property
    def first(self) -> int:
        """The lowest offset that `since` can begin at."""
        return self._spans[0].first if self._spans else self._end

    @property
    def end(self) -> int:
        """One past the highest offset that is known."""
        return self._end

    def add(self, span: TopicSpan) -> None:
        """Keep a span.

        Raises:
            ValueError: it does not begin where the last one ended.
        """
        if span.first != self._end:
            raise ValueError(
                f"a span of {span.period}[{span.partition}] that begins at offset {self._end} is "
                f"required, found one at {span.first}"
            )
        self._spans.append(span)
        self._end = span.end
        self._size += _size(span)
        while self._size > self._limit:
            self._size -= _size(self._spans.popleft())

    def since(self, offset: int) -> list[TopicSpan] | None:
        """The spans that hold ``offset`` and what follows; None: it is no longer kept."""
        if offset < self.first:
            return None
        return [span for span in self._spans if span.end > offset]


def _size(span: TopicSpan) -> int:
    # a span without a record still takes its own place
    return 100 + sum(len(record.event.data) for record in span.records)
