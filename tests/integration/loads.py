"""What the feed tests share: topics of their own, loads into them, and reading them back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from barstream.codecs.avro import body
from barstream.codecs.topics.heartbeat import HeartbeatRecord, decode
from barstream.config import Settings
from barstream.feeds.column_encoder import tick_encoder
from barstream.feeds.container import TickSource
from barstream.feeds.layout import FileLayout
from barstream.feeds.load import Load, LoadRules
from barstream.feeds.load_plan import prepare, read_in_order
from barstream.kafka.topics.names import TopicNames
from barstream.model.time import SECOND_US

PARTITIONS = 3
GRACE_US = 5 * SECOND_US


class Record(NamedTuple):
    partition: int
    offset: int
    appended_us: int
    key: bytes
    value: bytes


@dataclass
class Said:
    """A watcher that writes down."""

    sentences: list[str] = field(default_factory=list)
    began_at: int | None = None
    total: int | None = None
    ticks: int = 0

    def begin(self, done: int, total: int | None) -> None:
        self.began_at, self.total = done, total

    def advance(self, ticks: int) -> None:
        self.ticks += ticks

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def settings_for(bootstrap: str, unique: str, *, schedule: bool = False) -> Settings:
    names = ("ticks", "ticks_rejected", "market_schedule", "series_seen", "heartbeats")
    topics: dict[str, Any] = {name: f"{unique}-{name}" for name in names}
    return Settings(
        bootstrap=bootstrap,
        app_id=unique,
        topics={**topics, "base": unique},  # type: ignore[arg-type]
        bars={"schedule": schedule},  # type: ignore[arg-type]
    )


async def create_topics(settings: Settings) -> TopicNames:
    names = TopicNames.of(settings)
    config = {"message.timestamp.type": "LogAppendTime"}
    wanted = {names.ticks: PARTITIONS, names.heartbeats: PARTITIONS, names.final_1m: PARTITIONS}
    wanted[names.series_seen] = wanted[names.market_schedule] = 1
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, count, 1, topic_configs=config) for name, count in wanted.items()]
        )
        async with asyncio.timeout(20):
            while not wanted.keys() <= set(await admin.list_topics()):  # noqa: ASYNC110  a broker
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
    return names


def now_us() -> int:
    return time.time_ns() // 1_000


async def load_of(
    settings: Settings,
    path: Path | list[Path],
    layout: FileLayout,
    watcher: Said | None = None,
    skew_us: int = 0,
    **rules: Any,
) -> Load:
    said = watcher or Said()
    sources = [TickSource(each.name, each) for each in ([path] if isinstance(path, Path) else path)]
    return await prepare(
        settings,
        read_in_order(
            sources, [layout] * len(sources), said, sorted_only=False, latest_us=now_us() + skew_us
        ),
        LoadRules(grace_us=GRACE_US, **rules),
        encoder=await tick_encoder(settings.ticks, TopicNames.of(settings).ticks),
        clock_us=now_us,
        watcher=said,
    )


async def read_all(
    bootstrap: str, topic: str, partitions: int = PARTITIONS, isolation: str = "read_committed"
) -> list[Record]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, isolation_level=isolation
    )
    found: list[Record] = []
    async with consumer, asyncio.timeout(60):
        assigned = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(assigned)
        await consumer.seek_to_beginning(*assigned)
        ends = await consumer.end_offsets(assigned)
        while any([await consumer.position(tp) < ends[tp] for tp in assigned]):
            for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                found += [
                    Record(tp.partition, r.offset, r.timestamp * 1000, r.key, r.value)
                    for r in records
                ]
    return found


async def read_ticks_back(settings: Settings) -> list[dict[str, Any]]:
    """Every committed tick, by partition and offset."""
    records = await read_all(settings.bootstrap, TopicNames.of(settings).ticks)
    return [
        {**body.decode("tick", r.value), "partition": r.partition, "offset": r.offset}
        for r in sorted(records)
    ]


async def read_beats(settings: Settings) -> list[tuple[Record, HeartbeatRecord]]:
    records = await read_all(settings.bootstrap, TopicNames.of(settings).heartbeats)
    return [(record, decode(record.value)) for record in sorted(records)]
