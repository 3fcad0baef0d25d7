"""Bars that Kafka has deleted are deleted from disk, on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from rocksdict import Options, Rdict

from barstream.model.key import bar_key
from barstream.runtime.assignment import Assignment
from barstream.runtime.retention import RetentionService
from barstream.runtime.standby import StandbyPartition
from barstream.store.finals import FinalsPartition
from tests.cluster import cluster_at
from tests.functional.topics import put

MINUTE = 60_000_000
DAY = 1440 * MINUTE


def a_partition(path: Path, topic: str) -> Any:
    """Of one worker, with a real RocksDB."""
    database = Rdict(str(path), Options(raw_mode=True))
    store = SimpleNamespace(offset_key=b"__offset", _db_for_partition=lambda _partition: database)
    # of what it holds and of what it keeps a copy, the same is asked
    return StandbyPartition(0, {topic: FinalsPartition(store, 0)})


def minutes(finals: FinalsPartition) -> list[int]:
    return [minute for minute in range(30) if finals.get(bar_key("B", "X", minute * MINUTE))]


async def _expires(bootstrap: str, tmp_path: Path) -> None:
    topic, cluster = f"t-{uuid.uuid4().hex[:12]}", cluster_at(bootstrap)
    admin = AIOKafkaAdminClient(**cluster.options)
    await admin.start()
    try:
        configs = {"cleanup.policy": "compact,delete"}
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=configs)])
        keys = [bar_key("B", "X", minute * MINUTE) for minute in range(20)]
        await put(bootstrap, topic, [(key, b"bar") for key in keys])

        owned = a_partition(tmp_path / "db", topic)
        finals: FinalsPartition = owned.finals[topic]
        partitions = cast("Assignment", SimpleNamespace(stored={0: owned}, restoring=False))
        service = RetentionService(partitions, cluster)
        finals.write([(key, b"bar") for key in keys[:10]], 9)
        await service.expire()  # begins a window, finds nothing
        finals.write([(key, b"bar") for key in keys[10:]], 19)
        assert minutes(finals) == list(range(20))

        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=12)})
        await service.expire()
        assert len(minutes(finals)) == 20  # looked through today
        owned.fenced = True
        await RetentionService(partitions, cluster).expire()
        assert len(minutes(finals)) == 20  # not this worker's any more
        owned.fenced = False
        await RetentionService(partitions, cluster).expire()
        assert minutes(finals) == list(range(10, 20))
        assert finals.retained_from_us("B", "X") == 10 * MINUTE
    finally:
        await admin.close()


def test_bars_that_kafka_has_deleted_go_from_disk_once_a_day(kafka: Any, tmp_path: Path) -> None:
    asyncio.run(_expires(kafka.bootstrap, tmp_path))
