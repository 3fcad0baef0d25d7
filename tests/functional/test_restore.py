"""A restore ends at the end of its changelog, or says why it cannot; on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from barstream.codecs.topics.batch_mark import BatchMark
from barstream.errors import ReadingStalled, StateUnusable
from barstream.runtime.assignment_deadline import settle
from barstream.runtime.restore import restore
from barstream.runtime.restore_progress import RestoreProgress, TableProgress
from barstream.store.rocksdb import LocalPartition
from tests.cluster import cluster_at
from tests.functional.topics import new_topic, put, put_transaction
from tests.kafka_cluster import KafkaCluster
from tests.unit.partition.disk import DiskStore

ROWS = [(b"k%03d" % number, b"value %d" % number) for number in range(300)]


def run(step: Coroutine[Any, Any, None]) -> None:
    asyncio.run(step)


def test_a_restore_reads_what_is_missing_and_says_how_much(kafka: Any, tmp_path: Path) -> None:
    """First everything, then the tail; a tombstone deletes, an aborted row never was."""

    async def go() -> None:
        topic = await new_topic(kafka.bootstrap)
        tp, table = TopicPartition(topic, 0), LocalPartition(DiskStore(tmp_path / "t"), 0)
        await put_transaction(kafka.bootstrap, topic, ROWS, commit=True)
        await put_transaction(kafka.bootstrap, topic, [(b"never", b"x")], commit=False)
        first = await restored(kafka.bootstrap, {tp: table})
        assert first.rows == len(ROWS)
        assert dict(table.items()) == dict(ROWS)
        assert table.offset() == len(ROWS) + 2, "its markers are passed, too"
        await put_transaction(
            kafka.bootstrap, topic, [(b"k000", None), (b"new", b"y")], commit=True
        )
        second = await restored(kafka.bootstrap, {tp: table})
        assert (second.rows, second.remaining, second.percent) == (2, 0, 100.0)
        assert dict(table.items()) == dict(ROWS[1:]) | {b"new": b"y"}

    run(go())


def test_a_table_that_has_what_its_topic_has_not_is_refused(kafka: Any, tmp_path: Path) -> None:
    async def go() -> None:
        topic = await new_topic(kafka.bootstrap)
        await put(kafka.bootstrap, topic, ROWS[:10])
        table = LocalPartition(DiskStore(tmp_path / "t"), 0)
        table.write([(b"later", b"x")], 10)
        with pytest.raises(StateUnusable, match="must not be ahead"):
            await restored(kafka.bootstrap, {TopicPartition(topic, 0): table})

    run(go())


def test_a_table_that_ends_short_is_refused(kafka: Any, tmp_path: Path) -> None:
    """Whatever the reason: what is on disk has to say itself that it is complete."""

    class Forgetful(LocalPartition):
        def write(self, rows: Any, offset: int, last_batch: BatchMark | None = None) -> None:
            super().write(rows, offset - 1, last_batch)

    async def go() -> None:
        topic = await new_topic(kafka.bootstrap)
        await put(kafka.bootstrap, topic, ROWS[:10])
        table = Forgetful(DiskStore(tmp_path / "t"), 0)
        with pytest.raises(StateUnusable, match="ended short"):
            await restored(kafka.bootstrap, {TopicPartition(topic, 0): table})

    run(go())


def test_a_changelog_that_gives_nothing_ends_the_restore(
    new_kafka: Callable[..., KafkaCluster], tmp_path: Path
) -> None:
    """The broker stops answering between the question where the changelog ends and the rows."""
    broker = new_kafka()

    async def go() -> None:
        topic = await new_topic(broker.bootstrap)
        await put(broker.bootstrap, topic, ROWS)
        table = LocalPartition(DiskStore(tmp_path / "t"), 0)
        progress = RestoreProgress()
        progress.tables = _Freezing(broker.freeze)
        with pytest.raises(ReadingStalled, match=r"gave nothing for 3 s: .*\[0\] 0 of 300"):
            await restored(
                broker.bootstrap, {TopicPartition(topic, 0): table}, progress, stalled_after_s=3
            )

    run(go())


class _Freezing(dict[TopicPartition, TableProgress]):
    """Freezes the broker as soon as anything is known of a table."""

    def __init__(self, freeze: Callable[[], None]) -> None:
        super().__init__()
        self._freeze = freeze

    def __setitem__(self, tp: TopicPartition, table: TableProgress) -> None:
        self._freeze()
        super().__setitem__(tp, table)


def test_a_changelog_without_a_leader_ends_the_restore_and_is_named(
    new_kafka: Callable[..., KafkaCluster], tmp_path: Path
) -> None:
    cluster = new_kafka(3)

    async def go() -> None:
        topic = await new_topic(cluster.bootstrap, partitions=6)
        places: dict[TopicPartition, LocalPartition] = {}
        for partition in range(6):
            await put(cluster.bootstrap, topic, ROWS[:3], partition)
            table = LocalPartition(DiskStore(tmp_path / "t"), partition)
            places[TopicPartition(topic, partition)] = table
        cluster.kill(2)
        with pytest.raises(ReadingStalled, match=rf"without a leader: {topic}\[\d\]"):
            await restored(cluster.bootstrap, places, request_timeout_ms=4_000)

    run(go())


async def restored(
    bootstrap: str,
    places: dict[TopicPartition, LocalPartition],
    progress: RestoreProgress | None = None,
    *,
    stalled_after_s: float = 60.0,
    **options: Any,
) -> RestoreProgress:
    progress = RestoreProgress() if progress is None else progress
    cluster = cluster_at(bootstrap, **options)
    await restore(cluster, places, progress, lambda _rows: None, stalled_after_s)
    return progress


def test_an_assignment_that_does_not_come_to_its_end_ends_the_worker() -> None:
    with pytest.raises(ReadingStalled, match=r"\[0, 3\] must be read within 1 s"):
        asyncio.run(settle(lambda: False, 1, {3, 0}))
