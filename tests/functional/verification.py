"""Verifying what a pipeline published, and copies of it in which something was changed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from barstream.codecs.avro.body import decode, encode
from barstream.config import Settings
from barstream.log.selection import Selection
from barstream.planner import plan_of
from barstream.verify.findings import Finding
from barstream.verify.run import tasks_of, tick_spans, verify
from barstream.verify.task import Outcome
from tests.pipeline import Pipeline, Record

Tamper = Callable[[list[Record]], list[Record]]


def verified(settings: Settings, wanted: Selection | None = None, processes: int = 1) -> Outcome:
    """What `barstream verify` finds."""
    chosen = plan_of(settings).settings
    spans = asyncio.run(tick_spans(chosen))
    tasks = tasks_of(chosen, spans, wanted or Selection(), ())
    return verify(tasks, processes, lambda _: None)


@dataclass(frozen=True)
class Copies:
    """What a pipeline published, once; copies of its topics to change."""

    made: Pipeline
    published: dict[str, list[Record]]
    #: Keys of ticks by (partition, offset).
    ticks: dict[tuple[int, int], bytes | None]

    def is_tick(self, final: Record, offset: int) -> bool:
        """Whether a tick of the series of a final stands at an offset."""
        return (final.key or b"").startswith(
            (self.ticks.get((final.partition, offset)) or b"nothing") + b"\0"
        )

    def with_topic(self, logical: str, tamper: Tamper) -> Settings:
        """Settings in which a topic is a copy of its records, as ``tamper`` leaves them."""
        records = tamper(list(self.published[logical]))
        name = f"{self.made.name}-{logical.replace('_', '-')}-{secrets.token_hex(3)}"
        asyncio.run(_write(self.made.bootstrap, name, records, self.made.settings))
        settings = self.made.settings
        overrides = settings.topics.overrides | {logical: name}
        topics = settings.topics.model_copy(update={"overrides": overrides})
        changed = settings.model_copy(update={"topics": topics})
        changed.model_fields_set.add("topics")
        return changed


def copies_of(made: Pipeline) -> Copies:
    """All that was published now."""
    names = made.names
    topics = {
        "rate_1m_final": names.final_1m, "rate_1m_live": names.live_1m,
        "ticks_rejected": names.ticks_rejected, "heartbeats": names.heartbeats,
        **{f"rate_{period.timeframe}_final": topic for period, topic in names.rollups.items()},
    }  # fmt: skip
    return Copies(
        made,
        {logical: made.read(topic) for logical, topic in topics.items()},
        {(each.partition, each.offset): each.key for each in made.read(names.ticks)},
    )


async def _write(bootstrap: str, topic: str, records: Sequence[Record], settings: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        configs = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
        await admin.create_topics(
            [NewTopic(topic, settings.topics.partitions, 1, topic_configs=configs)]
        )
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await producer.start()
    try:
        waiting = [
            await producer.send(
                topic, record.value, record.key, partition=record.partition,
                headers=list(record.headers.items()),
            )
            for record in records
        ]  # fmt: skip
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()


def changed(record: Record, **fields: Any) -> Record:
    """The bar of a record with some fields changed."""
    row = decode("bar", record.value or b"") | fields
    return replace(record, value=encode("bar", row))


def bar(record: Record) -> dict[str, Any]:
    """The bar in a record."""
    return decode("bar", record.value or b"")


def told(outcome: Outcome) -> list[tuple[str, str, str | None]]:
    """Kind, rule and field of all findings."""
    return sorted(((each.kind, each.rule, each.field) for each in outcome.findings.kept), key=str)


def differences(outcome: Outcome) -> list[Finding]:
    """Those that make the exit code 1."""
    return [each for each in outcome.findings.kept if each.kind == "difference"]
