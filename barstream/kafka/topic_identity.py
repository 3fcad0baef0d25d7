"""The identity of a topic: a name that was deleted and made again is another topic.

Offsets alone do not tell: a topic made again is soon longer than what was applied.  Brokers give
every topic an id (Kafka from 2.8 on), but aiokafka asks with versions of before, so the request
is defined here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from barstream.kafka.clients import started_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.retry import retried

_UNKNOWN_TOPIC: Final = 3


class _Uuid:
    """Sixteen bytes."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        return value

    @staticmethod
    def decode(data: Any) -> bytes:
        found: bytes = data.read(16)
        return found

    @staticmethod
    def repr(value: bytes) -> str:
        return str(UUID(bytes=value))


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", CompactString("utf-8")), ("port", Int32),
                ("rack", CompactString("utf-8")), ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16), ("name", CompactString("utf-8")), ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16), ("partition", Int32), ("leader", Int32),
                        ("leader_epoch", Int32), ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)), ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32), ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )  # fmt: skip


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = tuple(topics)

    def build(self, request_struct_class: Any) -> Any:
        asked: list[Any] = [(bytes(16), topic, {}) for topic in self._topics]
        return request_struct_class(asked, False, False, {})


class TopicMissing(LookupError):
    """The cluster has no topic of that name."""


async def topic_id(client: AIOKafkaClient, topic: str, node: int | None = None) -> str | None:
    """Identity of ``topic``; None where brokers give none.

    Args:
        client: of a started consumer or producer.
        topic: its name.
        node: the broker that is asked, once; by default any that answers.

    Raises:
        TopicMissing: there is no such topic.
        KafkaError: no broker answered.
    """
    request = _MetadataRequest([topic])
    try:
        answer = await (_answer(client, request) if node is None else client.send(node, request))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return None
    for code, name, identity, *_ in answer.topics:
        if name == topic:
            if code == _UNKNOWN_TOPIC:
                raise TopicMissing(topic)
            if code and not any(identity):
                raise for_code(code)
            return str(UUID(bytes=identity)) if any(identity) else None
    raise TopicMissing(topic)


async def _answer(client: AIOKafkaClient, request: _MetadataRequest) -> Any:
    """Of any broker: one that is away, or goes while it is asked, leaves it to another."""
    return await retried(lambda: client.send(client.get_random_node(), request))


async def identity_of(cluster: Cluster, topic: str) -> str | None:
    """As `topic_id`, asked with a client of its own."""
    async with started_consumer(cluster, committed=False) as consumer:
        return await topic_id(consumer._client, topic)


class TopicIds(NamedTuple):
    """Which topics of which cluster; None and missing where brokers do not tell."""

    cluster: str | None
    topics: dict[str, str]


async def topic_ids(cluster: Cluster, topics: Iterable[str]) -> TopicIds:
    """Identities of ``topics`` that there are.

    Args:
        cluster: where the topics are.
        topics: names.

    Raises:
        KafkaError: no broker answered.
    """
    async with started_consumer(cluster, committed=False) as consumer:
        client = consumer._client
        try:
            answer = await _answer(client, _MetadataRequest(topics))
        except (IncompatibleBrokerVersion, NotImplementedError):
            return TopicIds(None, {})
    return TopicIds(
        answer.cluster_id or None,
        {
            name: str(UUID(bytes=identity))
            for code, name, identity, *_ in answer.topics
            if not code and any(identity)
        },
    )
