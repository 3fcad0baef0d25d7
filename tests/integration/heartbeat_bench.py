"""What the heartbeat tests share: topics, a worker's leader, and reading ``hb_1m`` back."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

import agents.heartbeats
from barstream.cancellation import cancel
from barstream.clock import system_clock_us
from barstream.codecs.topics.heartbeat import HeartbeatRecord, decode
from barstream.heartbeat.leader import HeartbeatTopics, Leader, LeaderPauses, PlanSources
from barstream.kafka.cluster import Cluster
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import SeriesSeen, Universe
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US, floor_minute
from barstream.rules.heartbeat_plan import HeartbeatRules
from barstream.runtime.app import BarstreamApp
from tests.cluster import cluster_at

PARTITIONS = 3
RULES = HeartbeatRules(grace_us=SECOND_US, inactive_after=5)


class Beat(NamedTuple):
    """A heartbeat as it stands in the topic."""

    partition: int
    offset: int
    appended_us: int
    key: bytes
    record: HeartbeatRecord


class Town:
    """Topics of one test, under names of their own."""

    def __init__(self, bootstrap: str) -> None:
        self.cluster = cluster_at(bootstrap)
        self.options = self.cluster.options
        self.name = f"hb{uuid.uuid4().hex[:8]}"
        self.ticks, self.beats = f"{self.name}-ticks", f"{self.name}-beats"

    async def create(self, *, append_time: bool = True) -> None:
        kind = "LogAppendTime" if append_time else "CreateTime"
        admin = AIOKafkaAdminClient(**self.options)
        await admin.start()
        try:
            await admin.create_topics(
                [
                    NewTopic(
                        name, PARTITIONS, 1, topic_configs={"message.timestamp.type": kind}
                    )
                    for name in (self.ticks, self.beats)
                ]
            )  # fmt: skip
        finally:
            await admin.close()

    async def append(self, topic: str, partition: int, values: Sequence[bytes]) -> None:
        async with AIOKafkaProducer(**self.options) as producer:
            for value in values:
                await producer.send_and_wait(topic, value, partition=partition)

    def leader(
        self,
        rows: Sequence[SeriesSeen],
        *,
        leads: bool = True,
        pauses: LeaderPauses = LeaderPauses(jitter_us=0),  # noqa: B008  frozen
        cluster: Cluster | None = None,
        rules: HeartbeatRules = RULES,
        provider: MarketScheduleProvider | None = None,
        periods: Sequence[Period] = (),
        **changes: Any,
    ) -> Leader:
        """That of a worker which has partition 0, or not."""
        universe = Universe()
        for row in rows:
            universe.put(row)
        provider = provider or MarketScheduleProvider.always_open()
        topics = HeartbeatTopics(
            cluster or self.cluster, self.ticks, self.beats, f"{self.name}-heartbeats"
        )
        leader = Leader(PlanSources(rules, provider, universe, periods), topics, pauses, **changes)
        if leads:
            leader.assigned()
        return leader

    async def beats_committed(self) -> list[Beat]:
        """All of ``hb_1m`` that readers of committed records see, by partition and offset."""
        consumer = AIOKafkaConsumer(
            **self.options, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        found: list[Beat] = []
        try:
            parts = [TopicPartition(self.beats, n) for n in range(PARTITIONS)]
            consumer.assign(parts)
            ends = await consumer.end_offsets(parts)
            while any([await consumer.position(tp) < ends[tp] for tp in parts]):
                for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                    for r in records:
                        assert r.key is not None
                        assert r.value is not None
                        beat = Beat(
                            tp.partition, r.offset, r.timestamp * 1000, r.key, decode(r.value)
                        )
                        found.append(beat)
        finally:
            await consumer.stop()
        return sorted(found)


@asynccontextmanager
async def running(*leaders: Leader) -> AsyncIterator[None]:
    """What Faust runs of them once the tables are restored, without the rest of a worker."""
    app = BarstreamApp("bench", broker="memory://")
    for leader in leaders:
        agents.heartbeats.declare(app, leader)
    tasks = [cast("asyncio.Task[None]", app.add_future(task())) for task in app._app_tasks]
    try:
        yield
    finally:
        await cancel(tasks)
    if app.failure is not None:
        raise app.failure


async def eventually(met: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.02)


def live_row(symbol: str, partition: int, minutes_back: int = 10) -> SeriesSeen:
    """A live series whose last ``minutes_back`` minutes are not closed."""
    now_us = system_clock_us()
    closed_us = floor_minute(now_us) - minutes_back * MINUTE_US
    return SeriesSeen(
        "DEMO", symbol, partition, closed_us, now_us // DAY_US, live=True, closed_until_us=closed_us
    )


def minutes_of(beats: Sequence[Beat], symbol: str) -> list[int]:
    return [beat.record.bucket_start_us for beat in beats if beat.record.symbol == symbol]


def due_minutes(row: SeriesSeen) -> list[int]:
    """What is due of an always open series by now."""
    newest = RULES.newest_due(row.broker, system_clock_us())
    return list(range(row.closed_until_us, newest + MINUTE_US, MINUTE_US))


def caught_up(leader: Leader) -> bool:
    """It leads, and everything that was due at its last plan is acknowledged."""
    report = leader.report
    return report.leader and report.planned == report.remaining == 0
