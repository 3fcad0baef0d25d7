"""Clients that are used again: each reading has one to itself, and none is left open."""

from __future__ import annotations

import asyncio

import pytest

from barstream.config import load_settings
from barstream.kafka.topic_follower import TopicMissingError
from barstream.log.compaction import newest_values
from barstream.log.snapshot import Clients, Span, chunks, held, records
from tests.memory_kafka import MemoryKafka, reading_from


@pytest.fixture
def kafka() -> MemoryKafka:
    """Two topics with three records each."""
    made = MemoryKafka()
    for name in ("ticks", "finals"):
        for at in range(3):
            made.topic(name).append(at, f"{at}".encode(), name.encode())
    return made


async def _read(clients: Clients) -> list[bytes | None]:
    """Everything of both topics, in columns and record by record."""
    found: list[bytes | None] = []
    for topic in ("ticks", "finals"):
        spans = await held(clients, topic)
        async for chunk in chunks(clients, topic, spans):
            found += chunk.values
        async for record in records(clients, topic, {0: Span(1, 3)}):
            found.append(record.value)
    return found


EVERYTHING = [b"ticks"] * 5 + [b"finals"] * 5


def test_readings_that_follow_each_other_share_one_client(kafka: MemoryKafka) -> None:
    async def read() -> list[bytes | None]:
        async with Clients(load_settings(env={})) as clients:
            found = await _read(clients)
            assert kafka.stopped == 0
        return found

    with reading_from(kafka):
        assert asyncio.run(read()) == EVERYTHING
    assert (kafka.opened, kafka.stopped) == (1, 1)


def test_readings_at_the_same_time_have_one_each(kafka: MemoryKafka) -> None:
    async def read() -> dict[bytes, bytes]:
        async with Clients(load_settings(env={})) as clients:
            async for _ in chunks(clients, "ticks", {0: Span(0, 3)}):
                return await newest_values(clients, "finals", 0)
        return {}

    with reading_from(kafka):
        assert asyncio.run(read()) == dict.fromkeys([b"0", b"1", b"2"], b"finals")
    assert kafka.opened == kafka.stopped == 2


def test_outside_each_reading_has_a_client_of_its_own(kafka: MemoryKafka) -> None:
    with reading_from(kafka):
        assert asyncio.run(_read(Clients(load_settings(env={})))) == EVERYTHING
    assert kafka.opened == kafka.stopped == 6


def test_a_client_that_failed_is_not_used_again(kafka: MemoryKafka) -> None:
    async def read() -> None:
        async with Clients(load_settings(env={})) as clients:
            with pytest.raises(TopicMissingError):
                await held(clients, "no-such-topic")
            assert (kafka.opened, kafka.stopped) == (1, 1)
            await held(clients, "ticks")

    with reading_from(kafka):
        asyncio.run(read())
    assert (kafka.opened, kafka.stopped) == (2, 2)
