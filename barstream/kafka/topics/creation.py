"""Creating, checking and requiring the topics of the settings."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from barstream.config import Settings
from barstream.config.settings import DEFAULT
from barstream.kafka.connection import admin_client, explained
from barstream.kafka.topics import metadata
from barstream.kafka.topics.check import judge
from barstream.kafka.topics.findings import Level, TopicFinding, TopicsError
from barstream.kafka.topics.names import LOGICAL, TopicNames
from barstream.kafka.topics.plan import make_plan

log = logging.getLogger(__name__)

#: What others inherit from comes first, and the plan is made anew from what the cluster then
#: shows: a tick topic that somebody made a moment ago is not in the first answer yet.  By logical
#: name; None: all that are left.
_STAGES: Final = (("ticks",), (LOGICAL["final_1m"],), None)


@dataclass(frozen=True, slots=True)
class Creation:
    """What `create` did: names created, and everything found afterwards."""

    created: tuple[str, ...]
    findings: list[TopicFinding]


async def create(settings: Settings) -> Creation:
    """Create the topics that are missing; those that exist are checked and left alone.

    Raises:
        TopicCreationError: the broker refused a topic.
        BrokerUnreachableError, AccessRefusedError: it cannot be asked.
        ConfigError: the names cannot be used.
    """
    TopicNames.of(settings)
    async with admin_client(settings) as admin:
        try:
            created: list[str] = []
            for stage in _STAGES:
                created += await _create_missing(admin, settings, stage)
            findings = await _findings(admin, settings)
        except (KafkaError, OSError) as error:
            raise explained(error, settings, had_answered=True) from error
    return Creation(tuple(created), findings)


async def check(settings: Settings) -> list[TopicFinding]:
    """Compare every topic with the plan; nothing is changed.

    Raises:
        BrokerUnreachableError, AccessRefusedError: the broker cannot be asked.
        ConfigError: the names cannot be used.
    """
    TopicNames.of(settings)
    async with admin_client(settings) as admin:
        try:
            return await _findings(admin, settings)
        except (KafkaError, OSError) as error:
            raise explained(error, settings, had_answered=True) from error


async def require(settings: Settings) -> list[TopicFinding]:
    """What a worker does first: log warnings, and go no further on a refusal.

    Raises:
        TopicsError: a topic is missing, or such that bars would be wrong or state lost.
        BrokerUnreachableError, AccessRefusedError: the broker cannot be asked.
    """
    findings = await check(settings)
    for finding in findings:
        if finding.level is Level.WARNING:
            log.warning("%s", finding)
    if any(finding.level is Level.REFUSAL for finding in findings):
        raise TopicsError(findings)
    return findings


async def _create_missing(
    admin: AIOKafkaAdminClient, settings: Settings, stage: tuple[str, ...] | None
) -> list[str]:
    there = await metadata.shapes(admin)
    plans = [plan for plan in make_plan(settings, there) if stage is None or plan.logical in stage]
    return await metadata.create(admin, [plan for plan in plans if plan.name not in there])


async def _findings(admin: AIOKafkaAdminClient, settings: Settings) -> list[TopicFinding]:
    names = list(TopicNames.of(settings).by_logical().values())
    seen = await metadata.observe(admin, settings.bootstrap, names)
    findings: list[TopicFinding] = []
    for plan in make_plan(settings, seen.shapes):
        findings += judge(plan, seen)
        if plan.logical == "ticks" and plan.partitions != settings.topics.partitions:
            findings.append(_other_count(plan.name, plan.partitions, settings))
    return findings


def _other_count(ticks: str, partitions: int, settings: Settings) -> TopicFinding:
    asked = settings.sources["topics.partitions"] != DEFAULT
    return TopicFinding(
        ticks,
        Level.WARNING if asked else Level.NOTE,
        f"it has {partitions} partitions, topics.partitions says {settings.topics.partitions}: "
        f"{partitions} is in force, for all topics that share its partitions",
    )
