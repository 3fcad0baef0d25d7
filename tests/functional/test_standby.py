"""A standby copies committed rows while it is told to, and not a row longer; on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from barstream.errors import ReadingStalled, StateUnusable
from barstream.kafka.topic_monitor import Progress
from barstream.kafka.topics.outputs import OutputTopics
from barstream.runtime.standby import Standbys, check_moves
from barstream.store.tables import LocalStores
from tests.cluster import cluster_at
from tests.functional.topics import eventually, new_topic, put, put_transaction
from tests.kafka_cluster import KafkaCluster
from tests.unit.partition.disk import DiskStore

PLACE = TopicPartition("series", 1)


class Following:
    """Standbys of one worker, following partition 1 of two changelogs."""

    def __init__(self, bootstrap: str, finals: str, series: str, path: Path) -> None:
        self.outputs = OutputTopics("ticks", finals, "live", "rejected", series, "seen")
        self.disks = {finals: DiskStore(path / "finals"), series: DiskStore(path / "series")}
        self.crashed: list[BaseException] = []
        self.settled = True
        stores = {topic: partial(_itself, disk) for topic, disk in self.disks.items()}
        self.stores = LocalStores(stores, self.outputs, self.crashed.append)
        self.standbys = Standbys(
            cluster_at(bootstrap), self.stores, lambda: self.settled, self._crash,
            look_s=0.5,
        )  # fmt: skip

    async def _crash(self, error: BaseException) -> None:
        self.crashed.append(error)

    def rows(self, topic: str) -> dict[bytes, bytes]:
        return dict(self.stores.open(1)[topic].items())


def _itself(disk: DiskStore) -> DiskStore:
    return disk


@asynccontextmanager
async def following(bootstrap: str, path: Path) -> Any:
    finals, series = await new_topic(bootstrap), await new_topic(bootstrap)
    made = Following(bootstrap, finals, series, path)
    try:
        yield made, finals, series
    finally:
        await made.standbys.stop()


def test_rows_are_copied_as_they_are_committed_until_it_is_stopped(
    kafka: Any, tmp_path: Path
) -> None:
    async def go() -> None:
        async with following(kafka.bootstrap, tmp_path) as (made, finals, series):
            await put(kafka.bootstrap, series, [(b"a", b"1")], partition=1)
            made.standbys.start({1})
            await eventually(lambda: made.standbys.lag == {1: 0})
            assert set(made.standbys.held) == {1}
            await put_transaction(
                kafka.bootstrap, finals, [(b"b\0s\0x", b"2")], partition=1, commit=True
            )
            await put_transaction(
                kafka.bootstrap, series, [(b"never", b"3")], partition=1, commit=False
            )
            await put(kafka.bootstrap, series, [(b"a", None), (b"c", b"4")], partition=1)
            await put(kafka.bootstrap, series, [(b"other", b"partition")], partition=0)
            await eventually(lambda: made.rows(series) == {b"c": b"4"})
            await eventually(lambda: b"b\0s\0x" in made.rows(finals))
            standby = made.standbys.held[1]
            await made.standbys.stop()
            assert standby.fenced, "nobody writes for it any more"
            assert not made.standbys.held
            before = made.stores.open(1)[series].offset()
            await put(kafka.bootstrap, series, [(b"later", b"5")], partition=1)
            await asyncio.sleep(1)  # as long as it would have taken twice over
            assert made.stores.open(1)[series].offset() == before
            made.standbys.start({1})
            await eventually(lambda: b"later" in made.rows(series))
            assert not made.crashed

    asyncio.run(go())


def test_nothing_is_opened_before_the_assignment_is_complete(kafka: Any, tmp_path: Path) -> None:
    """Faust lets go of what was revoked while it is not: the files would be opened twice."""

    async def go() -> None:
        async with following(kafka.bootstrap, tmp_path) as (made, _, series):
            made.settled = False
            made.standbys.start({1})
            await asyncio.sleep(0.5)
            assert not made.standbys.held
            assert not made.disks[series]._dbs
            made.settled = True
            await eventually(lambda: made.standbys.lag == {1: 0})

    asyncio.run(go())


def test_a_copy_that_has_what_its_topic_has_not_ends_the_worker(kafka: Any, tmp_path: Path) -> None:
    async def go() -> None:
        async with following(kafka.bootstrap, tmp_path) as (made, _, series):
            made.stores.open(1)[series].write([(b"x", b"y")], 99)
            made.standbys.start({1})
            await eventually(lambda: bool(made.crashed))
            (error,) = made.crashed
            assert isinstance(error, StateUnusable)
            assert f"{series}[1] must not be ahead" in str(error)

    asyncio.run(go())


def test_a_broker_that_restarts_is_followed_again(
    new_kafka: Callable[..., KafkaCluster], tmp_path: Path
) -> None:
    broker = new_kafka()

    async def go() -> None:
        async with following(broker.bootstrap, tmp_path) as (made, _, series):
            made.standbys.start({1})
            await eventually(lambda: made.standbys.lag == {1: 0})
            await asyncio.to_thread(broker.restart)
            await put(broker.bootstrap, series, [(b"after", b"1")], partition=1)
            await eventually(lambda: b"after" in made.rows(series), within_s=60)
            assert not made.crashed

    asyncio.run(go())


def test_a_position_that_stands_still_before_the_end_is_a_stall_and_at_the_end_is_none() -> None:
    still = Progress[TopicPartition](allowed=1)
    for _ in range(5):
        check_moves(still, {PLACE: 7}, {PLACE: 7})
    check_moves(still, {PLACE: 7}, {PLACE: 9})  # something new: it had no time for it yet
    with pytest.raises(ReadingStalled, match=r"series\[1\] must be followed up to offset 9"):
        check_moves(still, {PLACE: 7}, {PLACE: 9})
    moving = Progress[TopicPartition](allowed=1)
    for position in range(5):
        check_moves(moving, {PLACE: position}, {PLACE: 100})
