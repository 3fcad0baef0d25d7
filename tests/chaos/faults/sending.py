"""Single records into any topic of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from barstream.kafka import client_options
from tests.pipeline import Pipeline


class Row(NamedTuple):
    """One record; the partition is that of its key where none is given."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None


def send(made: Pipeline, rows: Sequence[Row]) -> None:
    """Send and wait for all acknowledgements."""

    async def go() -> None:
        async with AIOKafkaProducer(
            **client_options(made.settings), acks="all", enable_idempotence=True
        ) as producer:
            futures = [
                await producer.send(row.topic, row.value, key=row.key, partition=row.partition)
                for row in rows
            ]
            await asyncio.gather(*futures)

    asyncio.run(go())
