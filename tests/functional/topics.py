"""Topics of a test's own on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

Record = tuple[bytes | None, bytes | None]


async def new_topic(bootstrap: str, partitions: int = 2) -> str:
    """Create a compacted topic nobody else uses; returns its name."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        configs = {"cleanup.policy": "compact"}
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    finally:
        await admin.close()
    return name


async def put(bootstrap: str, topic: str, records: Iterable[Record], partition: int = 0) -> None:
    """Produce ``records`` and wait for their acknowledgement."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for key, value in records:
            await producer.send_and_wait(topic, value, key, partition=partition)
    finally:
        await producer.stop()


async def put_transaction(
    bootstrap: str, topic: str, records: Iterable[Record], *, partition: int = 0, commit: bool
) -> None:
    """Produce ``records`` in one transaction, then commit or abort it."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", transactional_id=f"x-{uuid.uuid4().hex[:12]}"
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        for key, value in records:
            await producer.send_and_wait(topic, value, key, partition=partition)
        if commit:
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()
    finally:
        await producer.stop()


async def eventually(holds: Callable[[], bool], *, within_s: float = 20.0) -> None:
    """Wait until ``holds()``, with a deadline."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not holds():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {within_s:.0f} s")
        await asyncio.sleep(0.02)
