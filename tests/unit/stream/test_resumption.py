"""A client that only goes on from the last id it has seen ends with the newest of every key.

topic      0 1 2 - 4 5 - - 8 9 ...       (- compacted, or a marker)
memory               [4 .. 9)            what the worker keeps
client     read Kafka up to the memory, then take the memory and what comes, in one turn
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.stream.client_queue import ClientQueue
from barstream.stream.cursor import Cursor, TopicPlace
from barstream.stream.event import EventName, StreamEvent
from barstream.stream.memory import SpanMemory
from barstream.stream.position import SpanMissing, StreamPosition, StreamRecord, TopicSpan

PARTITIONS = 2


def record(offset: int, key: int, gone: bool = False) -> StreamRecord:
    name: EventName = "withdrawn" if gone else "bar"
    return StreamRecord(offset, ("FX", "EURUSD"), key, StreamEvent(name, b"%d=%d" % (key, offset)))


def span(partition: int, first: int, end: int, records: list[StreamRecord]) -> TopicSpan:
    return TopicSpan("1m", partition, first, end, records, since_us=end)


class Topic:
    """A partition of finals: what was written and not superseded, and where it ends."""

    def __init__(self) -> None:
        self.records: list[StreamRecord] = []
        self.end = 0

    def write(self, key: int, gone: bool, marker: bool) -> None:
        self.records = [
            each for each in self.records if each.bucket_us != key
        ] + [record(self.end, key, gone)]  # fmt: skip
        self.end += 2 if marker else 1

    def read(self, partition: int, first: int, end: int) -> TopicSpan:
        return span(partition, first, end, [r for r in self.records if first <= r.offset < end])


class Connection:
    """A client's stream on a worker: it joins at once, and then is given what the tail reads."""

    def __init__(self, cursor: Cursor, topics: list[Topic], memories: list[SpanMemory]) -> None:
        self.queue = ClientQueue(cursor, 40)
        self._position = StreamPosition(cursor)
        for partition, memory in enumerate(memories):
            at = self._position.next_offsets["1m", partition]
            if at < memory.first:
                self.take(topics[partition].read(partition, at, memory.first))
            for each in memory.since(self._position.next_offsets["1m", partition]) or []:
                self.take(each)

    def take(self, found: TopicSpan) -> None:
        records = self._position.take(found)
        self.queue.put_finals("1m", records, self._position.cursor)

    def events(self, count: int) -> Iterator[StreamEvent]:
        for _ in range(count):
            event = self.queue.pop()
            if event is None:
                return
            yield event


class Run:
    """Topics, the worker that is asked, and a client that keeps what it is told."""

    def __init__(self) -> None:
        self.topics = [Topic() for _ in range(PARTITIONS)]
        self.memories = [SpanMemory(220, 0) for _ in range(PARTITIONS)]
        self.last = Cursor(0, {"1m": TopicPlace(None, (0,) * PARTITIONS)})
        self.has: dict[bytes, bytes] = {}
        #: Told before the last cursor, and after it.
        self.done: set[bytes] = set()
        self.cut()

    def cut(self) -> None:
        self.told: set[bytes] = set()
        self.connection = Connection(self.last, self.topics, self.memories)

    def move(self, before: int, size: int, lag: int) -> None:
        """Another worker began its tail at another place, cuts it otherwise, and may lag."""
        self.memories = []
        for partition, topic in enumerate(self.topics):
            memory = SpanMemory(220, max(0, topic.end - before))
            while (at := memory.end) < topic.end - lag:
                memory.add(topic.read(partition, at, min(at + size, topic.end)))
            self.memories.append(memory)
        self.cut()

    def write(self, partition: int, key: int, gone: bool, marker: bool) -> None:
        self.topics[partition].write(PARTITIONS * key + partition, gone, marker)

    def tail(self, partition: int) -> None:
        topic, memory = self.topics[partition], self.memories[partition]
        found = topic.read(partition, memory.end, topic.end)
        memory.add(found)
        self.connection.take(found)

    def read(self, count: int) -> None:
        for event in self.connection.events(count):
            if event.name in ("bar", "withdrawn"):
                assert event.data not in self.told | self.done
                self.told.add(event.data)
                self.has.update([told(event)])
            if event.cursor is not None:
                self.last = event.cursor
                self.done |= self.told

    def finish(self) -> None:
        """Everything is tailed and read, however often the client is too slow for it."""
        for _ in range(100):
            for partition in range(PARTITIONS):
                self.tail(partition)
            self.read(3)
            if self.connection.queue.is_ended:
                self.cut()


def told(event: StreamEvent) -> tuple[bytes, bytes]:
    key, _, version = event.data.partition(b"=")
    return key, b"" if event.name == "withdrawn" else version


partitions = st.integers(0, PARTITIONS - 1)
writes = st.tuples(partitions, st.integers(0, 3), st.booleans(), st.booleans())
steps = st.lists(
    st.one_of(
        st.tuples(st.just(Run.write), writes),
        st.tuples(st.just(Run.tail), st.tuples(partitions)),
        st.tuples(st.just(Run.read), st.tuples(st.integers(1, 4))),
        st.tuples(st.just(Run.cut), st.just(())),
        st.tuples(
            st.just(Run.move), st.tuples(st.integers(0, 9), st.integers(1, 4), st.integers(0, 4))
        ),
    ),
    max_size=80,
)


@given(steps)
def test_nothing_is_lost_and_nothing_before_the_last_cursor_is_given_twice(
    steps: list[tuple[Callable[..., None], tuple[int, ...]]],
) -> None:
    run = Run()
    for step, arguments in steps:
        step(run, *arguments)
    run.finish()
    assert run.has == dict(told(each.event) for topic in run.topics for each in topic.records)


def test_a_span_that_would_leave_a_hole_is_refused() -> None:
    position = StreamPosition(Cursor(0, {"1m": TopicPlace(None, (5, 0))}))
    with pytest.raises(SpanMissing, match=r"1m\[0\] from offset 5 on are required"):
        position.take(span(0, 6, 9, [record(7, 1)]))
    assert position.next_offsets == {("1m", 0): 5, ("1m", 1): 0}


def test_a_span_that_was_taken_in_part_gives_the_rest() -> None:
    position = StreamPosition(Cursor(0, {"1m": TopicPlace(None, (5,))}))
    assert position.take(span(0, 3, 9, [record(4, 1), record(5, 2), record(8, 3)])) == [
        record(5, 2), record(8, 3),
    ]  # fmt: skip
    assert position.take(span(0, 3, 9, [record(8, 3)])) == []
    assert position.take(TopicSpan("5m", 0, 0, 9, [record(8, 3)], 9)) == []
    assert position.next_offsets == {("1m", 0): 9}


def test_a_cursor_is_as_old_as_the_partition_that_was_read_longest_ago() -> None:
    position = StreamPosition(Cursor(2, {"1m": TopicPlace(None, (0, 0))}))
    position.take(span(0, 0, 9, []))
    assert position.cursor == Cursor(2, {"1m": TopicPlace(None, (9, 0))})
    position.take(span(1, 0, 4, []))
    assert position.cursor.since_us == 4


def test_a_memory_forgets_the_oldest_whole_spans_and_knows_from_where_on_it_has_all() -> None:
    memory = SpanMemory(330, 10)
    assert (memory.first, memory.end, memory.since(10)) == (10, 10, [])
    spans = [span(0, at, at + 3, [record(at, 1)]) for at in (10, 13, 16, 19)]
    for each in spans:
        memory.add(each)
    assert (memory.first, memory.end) == (13, 22)
    assert memory.since(12) is None
    assert memory.since(13) == spans[1:]
    assert memory.since(15) == spans[1:]
    assert memory.since(16) == spans[2:]
    assert memory.since(22) == []


def test_a_memory_has_no_gap() -> None:
    memory = SpanMemory(1000, 10)
    with pytest.raises(ValueError, match="begins at offset 10 is required, found one at 11"):
        memory.add(span(0, 11, 12, []))
