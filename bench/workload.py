"""The workload of the benchmarks: many series, many ticks a bar, written as fast as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaProducer

from barstream.codecs.avro.body import encode_batch
from barstream.model.key import series_key
from barstream.model.time import MINUTE_US

BROKER: Final = "BENCH"
START_US: Final = 1_700_000_040_000_000 // MINUTE_US * MINUTE_US
_BATCH_BYTES: Final = 900_000
#: An Avro string of a length that no record of this size can hold comes first.
_GARBAGE: Final = b"\xff\xff\xff\x7f"

Sent = list["asyncio.Future[Any]"]


def symbol(number: int) -> str:
    """``S0007``."""
    return f"S{number:04d}"


def garbage(rng: np.random.Generator) -> bytes:
    """A value that is no tick, whatever its random bytes are."""
    return _GARBAGE + rng.bytes(36)


def batch_producer(options: Mapping[str, Any], **more: Any) -> AIOKafkaProducer:
    """A producer for `send`."""
    return AIOKafkaProducer(**options, max_batch_size=_BATCH_BYTES, **{"linger_ms": 5} | more)


async def send(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    keys: Iterable[bytes],
    values: Iterable[bytes | None],
) -> Sent:
    """Hand records over in batches as large as a batch may be; what becomes of each batch."""
    sent: Sent = []
    batch = producer.create_batch()
    for key, value in zip(keys, values, strict=True):
        while batch.append(key=key, value=value, timestamp=None) is None:
            batch.close()
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
    if batch.record_count():
        batch.close()
        sent.append(await producer.send_batch(batch, topic, partition=partition))
    return sent


async def produce(
    options: Mapping[str, Any],
    topic: str,
    partitions: int,
    series: int,
    per_bar: int,
    bars: int,
    *,
    first_bar: int = 0,
    only: Sequence[int] | None = None,
    together: int = 1,
) -> int:
    """Write ``series * per_bar * bars`` ticks in time order; the number written.

    Prices have three places, sizes two; series i goes to partition ``i % partitions``.  With
    ``only`` it is the ticks of these partitions; ``first_bar`` is where time begins.  So many bars
    go ``together`` to one partition before the next one has its turn.
    """
    producer = batch_producer(options)
    await producer.start()
    rng = np.random.default_rng(7 + first_bar)
    written = 0
    step_us = MINUTE_US // per_bar
    keys = [series_key(BROKER, symbol(number)) for number in range(series)]
    try:
        for bar in range(first_bar, first_bar + bars, together):
            steps = per_bar * min(together, first_bar + bars - bar)
            sent: Sent = []
            for partition in range(partitions) if only is None else only:
                mine = np.arange(partition, series, partitions)
                which = np.tile(mine, steps)
                place = np.repeat(np.arange(steps), len(mine))
                count = len(which)
                time_us = START_US + bar * MINUTE_US + place * step_us
                time_us += rng.integers(0, step_us, count)
                values = encode_batch(
                    "tick",
                    {
                        "broker": [BROKER] * count,
                        "symbol": [symbol(number) for number in which.tolist()],
                        "time": time_us,
                        "price": np.round(100 + rng.standard_normal(count), 3),
                        "size": np.round(rng.random(count) * 10, 2),
                    },
                )
                written += count
                mine_keys = (keys[number] for number in which.tolist())
                sent += await send(producer, topic, partition, mine_keys, values)
            await asyncio.gather(*sent)
    finally:
        await producer.stop()
    return written


async def produce_garbage(
    options: Mapping[str, Any], topic: str, partitions: int, records: int
) -> None:
    """Write ``records`` values of random bytes that are no ticks, evenly over the partitions."""
    producer = batch_producer(options)
    await producer.start()
    rng = np.random.default_rng(7)
    each = records // partitions
    try:
        for partition in range(partitions):
            values = [garbage(rng) for _ in range(each)]
            await asyncio.gather(
                *await send(producer, topic, partition, [b"garbage"] * each, values)
            )
    finally:
        await producer.stop()
