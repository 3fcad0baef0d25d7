"""Ticks sent as a feed handler sends them: one record each, to a partition of its choosing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from barstream.codecs.avro.body import encode
from barstream.model.key import series_key

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US


class Tick(NamedTuple):
    """One tick, event time in microseconds."""

    broker: str
    symbol: str
    time_us: int
    price: float
    size: float = 1.0

    @property
    def key(self) -> bytes:
        """Key of its record."""
        return series_key(self.broker, self.symbol)

    @property
    def value(self) -> bytes:
        """Its plain Avro body."""
        return encode(
            "tick",
            {
                "broker": self.broker,
                "symbol": self.symbol,
                "time": self.time_us,
                "price": self.price,
                "size": self.size,
            },
        )


class Feed:
    """A producer of one tick topic."""

    def __init__(self, producer: Any, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def tick(self, tick: Tick, partition: int = 0) -> int:
        """Send one tick; the offset it got."""
        return await self.record(tick.key, tick.value, partition)

    async def record(self, key: bytes | None, value: bytes | None, partition: int = 0) -> int:
        """Send anything; the offset it got."""
        sent = await self._producer.send_and_wait(
            self._topic, key=key, value=value, partition=partition
        )
        return int(sent.offset)


@asynccontextmanager
async def feed(bootstrap: str, topic: str) -> AsyncIterator[Feed]:
    """A connected feed."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        yield Feed(producer, topic)
    finally:
        await producer.stop()


def send_ticks(bootstrap: str, topic: str, ticks: Iterable[Tick], partition: int = 0) -> list[int]:
    """Send ``ticks`` in order; their offsets."""

    async def go() -> list[int]:
        async with feed(bootstrap, topic) as to:
            return [await to.tick(tick, partition) for tick in ticks]

    return asyncio.run(go())


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1000
