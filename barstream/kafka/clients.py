"""Clients of Kafka: every one is made here, and other rooms have their words of Kafka from here.

Whoever is given a client starts and stops it; a consumer is of no group and seeks for itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer as KafkaConsumer
from aiokafka import AIOKafkaProducer as KafkaProducer
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, ProducerFenced
from aiokafka.structs import ConsumerRecord

from barstream.kafka.cluster import Cluster

__all__ = [
    "ClusterMetadata",
    "ConsumerRecord",
    "KafkaConsumer",
    "KafkaError",
    "KafkaProducer",
    "OffsetOutOfRangeError",
    "ProducerFenced",
    "TopicPartition",
    "make_consumer",
    "make_producer",
    "started_consumer",
]


def make_consumer(cluster: Cluster, *, committed: bool = True, **more: Any) -> KafkaConsumer:
    """A consumer that commits nothing, not started.

    Args:
        cluster: to be connected to.
        committed: whether records of aborted and open transactions are left out; of ends too.
        more: options of aiokafka.
    """
    return KafkaConsumer(
        **cluster.options,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed" if committed else "read_uncommitted",
        **more,
    )


@asynccontextmanager
async def started_consumer(
    cluster: Cluster, *, committed: bool = True, **more: Any
) -> AsyncIterator[KafkaConsumer]:
    """As `make_consumer`, for a question or two."""
    consumer = make_consumer(cluster, committed=committed, **more)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


def make_producer(cluster: Cluster, **more: Any) -> KafkaProducer:
    """A producer whose records every replica in sync has before they count, not started.

    Args:
        cluster: to be connected to.
        more: options of aiokafka.
    """
    return KafkaProducer(**{**cluster.options, "acks": "all", **more})
