"""A pipeline that lived through everything, for replays that only read it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from barstream.codecs.avro.body import encode_batch
from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out
from tests.chaos.feed import BROKER, Feed
from tests.pipeline import Pipeline, pipeline, until


@pytest.fixture(scope="package")
def lived(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Ticks out of order and late, garbage, aborted ticks, heartbeats that came to a lagging
    worker, one that was killed; all finals are right.
    """
    name = f"t{secrets.token_hex(4)}"
    options = ALWAYS_OPEN | {"TOPICS__PARTITIONS": "2", "BARS__TIMEFRAMES": "2m,5m,15m"}
    with pipeline(kafka.bootstrap, name, tmp_path_factory.mktemp("lived"), **options) as made:
        feed = Feed(made, 7, rate=2500, speed=120.0, series=8)
        feed.start()
        until(lambda: feed.sent > 5000, 60, "some ticks before there is a worker")
        worker = made.worker()
        until(lambda: len(made.finals()) > 100, 60, "finals")
        asyncio.run(_aborted(made))
        worker.kill()
        until(lambda: feed.sent > 22_000, 60, "ticks while there is no worker")
        worker = made.worker()
        until(lambda: feed.sent > 30_000, 60, "ticks that are taken as they come")
        feed.finish()
        assert_all_came_out(made)
        assert worker.stop() == 0
        yield made


async def _aborted(made: Pipeline) -> None:
    """Ticks that were never committed, in both partitions."""
    producer = AIOKafkaProducer(bootstrap_servers=made.bootstrap, transactional_id=made.name)
    await producer.start()
    try:
        await producer.begin_transaction()
        columns = {
            "broker": [BROKER] * 50, "symbol": ["S00"] * 50, "price": [1e6] * 50,
            "time": [1_709_546_400_000_000] * 50, "size": [1.0] * 50,
        }  # fmt: skip
        for at, value in enumerate(encode_batch("tick", columns)):
            await producer.send(made.names.ticks, value, partition=at % 2)
        await producer.flush()
        await producer.abort_transaction()
    finally:
        await producer.stop()
