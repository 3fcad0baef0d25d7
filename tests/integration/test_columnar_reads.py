"""What a columnar consumer sees of a real log: every committed record once, and every offset."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from barstream.codecs.record_chunk import RecordChunk
from barstream.kafka import fetch_columns
from barstream.kafka.fetch_columns import ColumnarTopics, install

pytestmark = pytest.mark.kafka


async def _topic(bootstrap: str, name: str, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1, topic_configs=config)])
    await admin.close()


async def _chunks(bootstrap: str, topic: str, start: int = 0) -> list[RecordChunk]:
    """Everything from ``start`` to the end offset, control records included."""
    install()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        value_deserializer=ColumnarTopics({topic}),
    )
    await consumer.start()
    try:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        consumer.seek(place, start)
        chunks: list[RecordChunk] = []
        async with asyncio.timeout(20):
            while not chunks or chunks[-1].next_offset < end:
                fetched: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=200)
                chunks += [record.value for got in fetched.values() for record in got]
        return chunks
    finally:
        await consumer.stop()


async def _until_end(bootstrap: str, topic: str, end: int) -> None:
    """Wait for the marker of a transaction: the broker writes it after it has said yes."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        place = TopicPartition(topic, 0)
        async with asyncio.timeout(20):
            while (await consumer.end_offsets([place]))[place] < end:  # noqa: ASYNC110  a broker
                await asyncio.sleep(0.02)
    finally:
        await consumer.stop()


def _seen(chunks: list[RecordChunk]) -> list[tuple[int, bytes | None]]:
    return [
        (offset, value)
        for chunk in chunks
        for offset, value in zip(chunk.offsets.tolist(), chunk.values, strict=True)
    ]


def test_aborted_and_control_records_are_no_values_but_move_the_position(
    kafka: Any, unique: str
) -> None:
    """
    offsets   0 1 2 | 3 4 | 5      | 6    | 7     | 8
              plain | bad | abort  | good | commit| plain
    """

    async def run() -> None:
        topic = f"{unique}-mixed"
        await _topic(kafka.bootstrap, topic)
        plain = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        moved = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=unique)
        await plain.start()
        await moved.start()
        for value in (b"a", b"b", b"c"):
            await plain.send_and_wait(topic, value, partition=0)
        await moved.begin_transaction()
        for value in (b"bad", b"worse"):
            await (await moved.send(topic, value, partition=0))
        await moved.abort_transaction()
        async with moved.transaction():
            await moved.send(topic, b"good", partition=0)
        await _until_end(kafka.bootstrap, topic, 8)
        await plain.send_and_wait(topic, b"z", partition=0)
        await plain.stop()
        await moved.stop()
        chunks = await _chunks(kafka.bootstrap, topic)
        assert _seen(chunks) == [(0, b"a"), (1, b"b"), (2, b"c"), (6, b"good"), (8, b"z")]
        assert chunks[0].start == 0
        assert chunks[-1].next_offset == 9
        for before, after in pairwise(chunks):
            assert before.next_offset == after.start

    asyncio.run(run())


def test_a_partition_whose_end_is_a_commit_marker_is_read_to_its_end(
    kafka: Any, unique: str
) -> None:
    """The fetch of the marker alone has no values: it must arrive all the same."""

    async def run() -> None:
        topic = f"{unique}-marker"
        await _topic(kafka.bootstrap, topic)
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=unique)
        await producer.start()
        async with producer.transaction():
            await producer.send(topic, b"only", partition=0)
        await producer.stop()
        (marker,) = await _chunks(kafka.bootstrap, topic, start=1)
        assert (len(marker), marker.start, marker.next_offset) == (0, 1, 2)

    asyncio.run(run())


def test_a_seek_into_a_batch_gives_its_rest_and_long_fetches_are_cut(
    kafka: Any, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_columns, "MAX_RECORDS", 100)

    async def run() -> None:
        topic = f"{unique}-many"
        await _topic(kafka.bootstrap, topic, **{"message.timestamp.type": "LogAppendTime"})
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=50)
        await producer.start()
        await asyncio.gather(
            *[await producer.send(topic, b"%d" % i, partition=0) for i in range(1000)]
        )
        await producer.stop()
        chunks = await _chunks(kafka.bootstrap, topic, start=7)
        assert _seen(chunks) == [(i, b"%d" % i) for i in range(7, 1000)]
        assert all(chunk.append_time for chunk in chunks)
        assert all(len(chunk.timestamps_us) == len(chunk) for chunk in chunks)

    asyncio.run(run())
