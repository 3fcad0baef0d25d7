"""Records put into the topics of a pipeline by hand: ticks, garbage, transactions, heartbeats."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import encode as encode_heartbeat
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick, now_us
from tests.offline import bars_of, differences
from tests.pipeline import Pipeline, WorkerProcess

#: A Monday morning long over, so that nothing of it is early and no planner closes it.
MORNING_US = 1_700_462_400_000_000


@dataclass(frozen=True)
class Out:
    """One record to be sent."""

    key: bytes | None
    value: bytes | None
    partition: int = 0
    timestamp_ms: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()

    @classmethod
    def of(cls, tick: Tick, partition: int = 0, timestamp_ms: int | None = None) -> Out:
        """The record of a tick."""
        return cls(tick.key, tick.value, partition, timestamp_ms)


@asynccontextmanager
async def producer(made: Pipeline, **options: Any) -> AsyncIterator[Any]:
    """A connected producer."""
    started = AIOKafkaProducer(bootstrap_servers=made.bootstrap, linger_ms=5, **options)
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


async def send_all(to: Any, topic: str, records: Iterable[Out]) -> list[int]:
    """Send in order; offsets."""
    sent = [await _send_one(to, topic, record) for record in records]
    return [meta.offset for meta in await asyncio.gather(*sent)]


async def _send_one(to: Any, topic: str, record: Out) -> asyncio.Future[Any]:
    key, value, headers = record.key, record.value, list(record.headers)
    if key is None and value is None:  # brokers take it and other clients send it
        batch = to.create_batch()
        batch.append(key=None, value=None, timestamp=record.timestamp_ms, headers=headers)
        batch.close()
        alone: asyncio.Future[Any] = await to.send_batch(batch, topic, partition=record.partition)
        return alone
    sent: asyncio.Future[Any] = await to.send(
        topic, key=key, value=value, partition=record.partition,
        timestamp_ms=record.timestamp_ms, headers=headers,
    )  # fmt: skip
    return sent


def send(
    made: Pipeline,
    records: Iterable[Out],
    ending: Literal["plain", "commit", "abort"] = "plain",
    topic: str | None = None,
) -> list[int]:
    """Send records to the tick topic, in a transaction that ends so if one is wanted; offsets."""
    name = topic or made.names.ticks

    async def go() -> list[int]:
        if ending == "plain":
            async with producer(made) as to:
                return await send_all(to, name, records)
        async with producer(made, transactional_id=f"{made.name}-{time.time_ns()}") as to:
            await to.begin_transaction()
            offsets = await send_all(to, name, records)
            if ending == "commit":
                await to.commit_transaction()
            else:
                await to.abort_transaction()
            return offsets

    return asyncio.run(go())


def send_ticks(made: Pipeline, ticks: Iterable[Tick], partition: int = 0) -> list[int]:
    """Send ticks; offsets."""
    return send(made, (Out.of(tick, partition) for tick in ticks))


def end_offset(made: Pipeline, partition: int = 0, topic: str | None = None) -> int:
    """The end offset, records of open transactions included: what a barrier is made of."""

    async def go() -> int:
        consumer = AIOKafkaConsumer(bootstrap_servers=made.bootstrap)
        await consumer.start()
        try:
            place = TopicPartition(topic or made.names.ticks, partition)
            return int((await consumer.end_offsets([place]))[place])
        finally:
            await consumer.stop()

    return asyncio.run(go())


def beat(
    made: Pipeline, symbol: str, minute_us: int, barrier: int, partition: int = 0, broker: str = "B"
) -> None:
    """Send one heartbeat."""
    record = HeartbeatRecord(broker, symbol, minute_us, barrier, now_us(), "loader")
    send(made, [Out(record.key, encode_heartbeat(record), partition)], topic=made.names.heartbeats)


@asynccontextmanager
async def admin(made: Pipeline) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client."""
    client = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@dataclass
class Phase:
    """A grace (or delay) that makes the minute before this one due soon, wherever in its minute
    the wall clock stands; so no test has to wait for a minute to pass.

    ::

        |------ minute_us ------|--- now ---- due_us
                                |<-- span_s -->|
    """

    soon_s: int = 20
    began_us: int = field(default_factory=now_us)

    @property
    def minute_us(self) -> int:
        return self.began_us - self.began_us % MINUTE_US - MINUTE_US

    @property
    def span_s(self) -> int:
        return (self.began_us % MINUTE_US) // SECOND_US + self.soon_s

    @property
    def due_us(self) -> int:
        return self.minute_us + MINUTE_US + self.span_s * SECOND_US


def expected(ticks: Iterable[tuple[int, Tick]], until_us: int | None = None) -> pl.DataFrame:
    """Bars that polars makes of ticks with their offsets, always open."""
    rows = [(tick.time_us, tick.price, tick.size, offset) for offset, tick in ticks]
    frame = pl.DataFrame(rows, ["time_us", "price", "size", "offset"], orient="row")
    return bars_of(frame, until_us=until_us)


def problems(
    made: Pipeline, symbol: str, ticks: Iterable[tuple[int, Tick]], until_us: int | None = None
) -> list[str]:
    """How the finals of a symbol differ from `expected`."""
    return differences(expected(ticks, until_us), made.finals_of(symbol))


def scrape(worker: WorkerProcess) -> str:
    """The metrics of a worker."""
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=5) as got:
        return str(got.read().decode())


def metric(text: str, name: str) -> float:
    """Value of an unlabelled metric in a scrape, or the sum over its labels."""
    found = [
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.split("{")[0].split(" ")[0] == name
    ]
    assert found, name
    return sum(found)
