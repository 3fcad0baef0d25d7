"""Reading a topic back: every committed record of a range, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from barstream.codecs.topics.heartbeat import HeartbeatRecord, encode
from barstream.kafka.fetch_columns import MAX_RECORDS
from barstream.kafka.topic_follower import TopicMissingError
from barstream.log.compaction import compacted
from barstream.log.finals import bars, versions
from barstream.log.heartbeats import heartbeats
from barstream.log.rejections import rejected
from barstream.log.selection import Selection
from barstream.log.snapshot import Span, chunks, held
from barstream.model.bar import Bar
from barstream.model.time import MINUTE_US
from barstream.runtime.flush import bar_rows
from tests.cluster import cluster_at
from tests.functional.topics import new_topic
from tests.sample_bar import SAMPLE

START_US = 1_704_189_600_000_000


def bar(minute: int, close: float = 1.5, symbol: str = "EUR", units: int | None = None) -> Bar:
    """A bar with two ticks."""
    return SAMPLE.replace(
        broker="FX",
        symbol=symbol,
        bucket_start_us=START_US + minute * MINUTE_US,
        trading_date=19724,
        open=1.25,
        low=1.0,
        close=close,
        volume=3.5,
        open_time_us=START_US + minute * MINUTE_US + 1,
        close_time_us=START_US + minute * MINUTE_US + 2,
        close_offset=9,
        volume_units=units,
    )


async def _put(bootstrap: str, topic: str, rows: list[Any], *, commit: bool = True) -> None:
    """One transaction in partition 0, so that its marker takes an offset as well."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-writer")
    await producer.start()
    try:
        await producer.begin_transaction()
        for key, value, headers in rows:
            await producer.send_and_wait(topic, value, key=key, partition=0, headers=headers)
        if commit:
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()
    finally:
        await producer.stop()


def test_a_range_is_read_whole_joined_and_without_what_was_aborted(kafka: Any) -> None:
    cluster = cluster_at(kafka.bootstrap)

    async def scene() -> None:
        topic = await new_topic(kafka.bootstrap)
        rows = bar_rows([bar(minute) for minute in range(4)])
        await _put(kafka.bootstrap, topic, rows[:2])
        await _put(kafka.bootstrap, topic, rows[2:3], commit=False)
        await _put(kafka.bootstrap, topic, rows[3:])
        # two bars and a marker, one aborted and its marker, one bar and a marker
        spans = await held(cluster, topic)
        assert spans == {0: Span(0, 7), 1: Span(0, 0)}
        got = [chunk async for chunk in chunks(cluster, topic, spans)]
        assert got[0].start == 0
        assert got[-1].next_offset == 7
        assert [each.start for each in got[1:]] == [each.next_offset for each in got[:-1]]
        assert [offset for each in got for offset in each.offsets.tolist()] == [0, 1, 5]

        part = [chunk async for chunk in chunks(cluster, topic, {0: Span(1, 5)})]
        assert (part[0].start, part[-1].next_offset) == (1, 5)
        assert [offset for each in part for offset in each.offsets.tolist()] == [1]
        assert [chunk async for chunk in chunks(cluster, topic, {0: Span(7, 7)})] == []

    asyncio.run(scene())


def test_a_range_may_end_long_before_what_one_fetch_brings(kafka: Any) -> None:
    cluster = cluster_at(kafka.bootstrap)

    async def scene() -> None:
        topic = await new_topic(kafka.bootstrap)
        count = 2 * MAX_RECORDS + 5
        options = cluster.options
        async with AIOKafkaProducer(**options, linger_ms=20, max_batch_size=1 << 20) as producer:
            sent = [await producer.send(topic, key=b"k", partition=0) for _ in range(count)]
            await asyncio.gather(*sent)
        got = [chunk async for chunk in chunks(cluster, topic, {0: Span(3, 11)})]
        assert [each for chunk in got for each in chunk.offsets.tolist()] == list(range(3, 11))
        assert got[-1].next_offset == 11
        every = [chunk async for chunk in chunks(cluster, topic, {0: Span(0, count)})]
        assert sum(map(len, every)) == count

    asyncio.run(scene())


def test_every_version_of_a_bar_is_there_and_the_newest_one_counts(kafka: Any) -> None:
    cluster = cluster_at(kafka.bootstrap)
    exact = (1 << 1074) * 3 + 1
    first, second, revised = bar(0), bar(1), bar(0, close=1.75, units=exact)

    async def scene() -> None:
        topic = await new_topic(kafka.bootstrap)
        rows = bar_rows([first, second, revised, bar(1, symbol="USD")])
        unreadable: Any = (rows[0].key, b"\xff\xff", [])
        withdrawn: Any = (rows[1].key, None, [])
        await _put(kafka.bootstrap, topic, [*rows, withdrawn])
        spans = await held(cluster, topic)
        found = await versions(cluster, topic, spans, Selection.of("fx", "eur"))
        assert found["kind"].to_list() == ["bar", "bar", "bar", "tombstone"]
        assert found["offset"].to_list() == [0, 1, 2, 4]
        assert bars(found) == [first, second, revised]
        assert bars(compacted(found)) == [revised]
        await _put(kafka.bootstrap, topic, [unreadable])
        again = compacted(await versions(cluster, topic, await held(cluster, topic)))
        assert again["kind"].to_list() == ["bar", "tombstone", "unreadable"]

    asyncio.run(scene())


def test_a_bar_from_before_the_exact_volume_is_read(kafka: Any) -> None:
    cluster = cluster_at(kafka.bootstrap)

    async def scene() -> None:
        topic = await new_topic(kafka.bootstrap)
        key, value, _ = bar_rows([bar(0)])[0]
        assert value is not None
        await _put(kafka.bootstrap, topic, [(key, value[:-1], []), (key, value, [])])
        found = await versions(cluster, topic, await held(cluster, topic))
        assert bars(found) == [bar(0), bar(0)]

    asyncio.run(scene())


def test_heartbeats_and_rejections_are_rows_and_garbage_among_them_is_left_out(kafka: Any) -> None:
    cluster = cluster_at(kafka.bootstrap)

    async def scene() -> None:
        beats, refused = await new_topic(kafka.bootstrap), await new_topic(kafka.bootstrap)
        record = HeartbeatRecord("FX", "EUR", START_US, 17, START_US + 1, "loader")
        await _put(
            kafka.bootstrap, beats,
            [(record.key, encode(record), []), (record.key, b"\x07", [])],
        )  # fmt: skip
        found = await heartbeats(cluster, beats, await held(cluster, beats))
        assert found.select("offset", "bucket_start", "barrier", "source").rows() == [
            (0, START_US, 17, "loader")
        ]
        where = [("topic", b"ticks"), ("partition", b"0")]
        await _put(
            kafka.bootstrap, refused,
            [
                (b"k", b"v", [("reason", b"late"), *where, ("offset", b"33")]),
                (b"k", b"v", [("reason", b"late"), ("topic", b"other"), *where[1:]]),
                (b"k", b"v", []),
            ],
        )  # fmt: skip
        rows = await rejected(cluster, refused, await held(cluster, refused), "ticks")
        assert rows.select("tick_partition", "tick_offset", "reason").rows() == [(0, 33, "late")]

    asyncio.run(scene())


def test_a_topic_that_is_missing_is_said_to_be_and_not_created(kafka: Any, unique: str) -> None:
    cluster = cluster_at(kafka.bootstrap)
    for _ in range(2):
        with pytest.raises(TopicMissingError, match="barstream topics create"):
            asyncio.run(held(cluster, f"{unique}-nothing"))
