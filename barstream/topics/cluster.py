"""Asking a cluster about topics, and for new ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from barstream.topics.broker_settings import shown_settings
from barstream.topics.findings import TopicCreationError
from barstream.topics.judge import Observed
from barstream.topics.plan import TopicPlan, TopicShape

_NO_ERROR: Final = 0
_EXISTS: Final = 36
#: Answers of a broker that will do it in a moment: time-out, no controller, cluster starting.
_PASSING: Final = frozenset({7, 41, 14, 15})
_VISIBLE_WITHIN_S: Final = 15.0


async def shapes(admin: AIOKafkaAdminClient) -> dict[str, TopicShape]:
    """Every topic we may see.

    All of them are asked for: asking for one that is missing would create it on a broker with
    ``auto.create.topics.enable``, with one partition and none of our settings.
    """
    found: dict[str, TopicShape] = {}
    for topic in await admin.describe_topics(None):
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
    """Create topics and wait until the cluster shows them.

    Returns:
        Names of those created; one that another process created meanwhile is left out.

    Raises:
        TopicCreationError: the broker refused.
        KafkaError: it could not be asked.
    """
    created: list[str] = []
    deadline = time.monotonic() + _VISIBLE_WITHIN_S
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
    await _visible([plan.name for plan in plans], admin, deadline)
    return created


async def _visible(names: Sequence[str], admin: AIOKafkaAdminClient, deadline: float) -> None:
    """Wait until every topic is known and every partition has a leader."""
    while names and time.monotonic() < deadline:
        there = await shapes(admin)
        if all(name in there and not there[name].leaderless for name in names):
            return
        await asyncio.sleep(0.1)
