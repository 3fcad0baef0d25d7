"""Asking a cluster about topics, and for new ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from barstream.kafka.admin import AdminClient
from barstream.kafka.topics.broker_settings import shown_settings
from barstream.kafka.topics.check import Observed
from barstream.kafka.topics.findings import TopicCreationError
from barstream.kafka.topics.plan import TopicPlan, TopicShape

if TYPE_CHECKING:
    from barstream.kafka.cluster import Cluster

_NO_ERROR: Final = 0
_EXISTS: Final = 36
#: Answers of a broker that will do it in a moment: time-out, no controller, cluster starting.
_PASSING: Final = frozenset({7, 41, 14, 15})
_ANSWERED_WITHIN_S: Final = 15.0
#: A hundred partitions of ten topics take a slow cluster some seconds.
_VISIBLE_WITHIN_S: Final = 60.0


async def shapes(admin: AIOKafkaAdminClient) -> dict[str, TopicShape]:
    """Every topic we may see.

    All of them are asked for: asking for one that is missing would create it on a broker with
    ``auto.create.topics.enable``, with one partition and none of our settings.
    """
    return _shapes_of(await admin.describe_topics(None))


def _shapes_of(topics: Sequence[Mapping[str, Any]]) -> dict[str, TopicShape]:
    found: dict[str, TopicShape] = {}
    for topic in topics:
        partitions = topic["partitions"]
        if topic["error_code"] == _NO_ERROR and partitions:
            found[topic["topic"]] = TopicShape(
                len(partitions),
                min(len(each["replicas"]) for each in partitions),
                tuple(sorted(each["partition"] for each in partitions if each["leader"] < 0)),
            )
    return found


async def observe(admin: AIOKafkaAdminClient, bootstrap: str, wanted: Sequence[str]) -> Observed:
    """Shapes of all topics, settings of the wanted ones that exist.

    Settings are left out where the broker does not show them: it has no such request, or an ACL
    forbids it.
    """
    there = await shapes(admin)
    names = [name for name in wanted if name in there]
    shown, reason = await shown_settings(admin, names) if names else ({}, "")
    return Observed(bootstrap, there, shown, reason)


async def create(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan]) -> list[str]:
    """Create topics and wait until every broker shows them.

    Returns:
        Names of those created; one that another process created meanwhile is left out.

    Raises:
        TopicCreationError: the broker refused, or another one does not show it.
        KafkaError: it could not be asked.
    """
    created: list[str] = []
    deadline = time.monotonic() + _ANSWERED_WITHIN_S
    left = {plan.name: plan for plan in plans}
    while left:
        answer = await admin.create_topics(
            [
                NewTopic(
                    plan.name,
                    plan.partitions,
                    plan.replication,
                    topic_configs=dict(plan.config),
                )
                for plan in left.values()
            ]
        )
        for name, code, *message in answer.topic_errors:
            if code in _PASSING and time.monotonic() < deadline:
                continue
            plan = left.pop(name)
            if code == _NO_ERROR:
                created.append(name)
            elif code != _EXISTS:
                raise TopicCreationError(
                    f"topic {name} could not be created with {plan.partitions} partitions and "
                    f"replication {plan.replication}: "
                    f"{(message and message[0]) or for_code(code).__name__}"
                )
        if left:
            await asyncio.sleep(0.2)
    await _visible([plan.name for plan in plans], admin)
    return created


async def ensure_compacted(cluster: Cluster, topic: str, replication: int) -> str | None:
    """Create a compacted topic of one partition if there is none; why it was refused, or None.

    Args:
        cluster: where the topics are.
        topic: its name.
        replication: how many copies.

    Raises:
        KafkaError: no broker answered.
    """
    config = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
    admin = AdminClient(**cluster.options)
    await admin.start()
    try:
        if topic in await admin.list_topics():
            return None
        wanted = NewTopic(topic, 1, replication, topic_configs=config)
        answer = await admin.create_topics([wanted])
    finally:
        await admin.close()
    _, code, *message = answer.topic_errors[0]
    if code in (_NO_ERROR, _EXISTS):
        return None
    return f"error {code} {message[0] if message else ''}"


async def _visible(names: Sequence[str], admin: AIOKafkaAdminClient) -> None:
    """Wait until every broker knows every topic, and a leader of every partition.

    A client asks whichever broker it likes: one that is behind would say that there is none.
    """
    deadline = time.monotonic() + _VISIBLE_WITHIN_S
    while names and (lacking := await _lacking(names, admin)) is not None:
        broker, topic = lacking
        if time.monotonic() > deadline:
            raise TopicCreationError(
                f"topic {topic} was created, but broker {broker} does not show it with a leader "
                f"for every partition after {_VISIBLE_WITHIN_S:g} s: look at the log of that "
                "broker, then run barstream topics check"
            )
        await asyncio.sleep(0.1)


async def _lacking(names: Sequence[str], admin: AIOKafkaAdminClient) -> tuple[int, str] | None:
    """A broker and a topic that it does not show; a broker that does not answer is passed over."""
    # of no topic: each broker is to list them all itself
    answer = await admin._get_cluster_metadata([])
    for broker in [each["node_id"] for each in answer.to_object()["brokers"]]:
        try:
            answer = await admin._client.send(broker, MetadataRequest(None))
        except KafkaError:
            continue
        there = _shapes_of(answer.to_object()["topics"])
        for name in names:
            if name not in there or there[name].leaderless:
                return broker, name
    return None
