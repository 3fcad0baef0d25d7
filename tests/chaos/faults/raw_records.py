"""Single records and whole batches into any topic of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from barstream.kafka.connection import client_options
from tests.pipeline import Pipeline

#: Garbage of 900 kB, and what frames it.
_MOST_BYTES = 1_040_000


class Row(NamedTuple):
    """One record; the partition is that of its key, the timestamp now, where none is given."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    timestamp_ms: int | None = None


def send(made: Pipeline, rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Send and wait for all acknowledgements; (partition, offset) of each."""

    async def go() -> list[tuple[int, int]]:
        async with AIOKafkaProducer(
            **client_options(made.settings), acks="all", enable_idempotence=True,
            max_request_size=_MOST_BYTES,
        ) as producer:  # fmt: skip
            futures = [
                await producer.send(
                    row.topic, row.value, key=row.key, partition=row.partition,
                    timestamp_ms=row.timestamp_ms,
                )
                for row in rows
            ]  # fmt: skip
            return [(meta.partition, meta.offset) for meta in await asyncio.gather(*futures)]

    return asyncio.run(go())


def send_raw(
    made: Pipeline, topic: str, batches: Sequence[tuple[int, bytearray]]
) -> list[tuple[int, int]]:
    """Send record batches as they are, (partition, bytes) each; (partition, offset) of each."""

    async def go() -> list[tuple[int, int]]:
        places = []
        async with AIOKafkaProducer(**client_options(made.settings), acks="all") as producer:
            for partition, data in batches:
                batch = producer.create_batch()
                batch.append(key=b"k", value=b"", timestamp=None)
                batch.close()
                batch._buffer = data
                meta = await (await producer.send_batch(batch, topic, partition=partition))
                places.append((partition, meta.offset))
        return places

    return asyncio.run(go())
