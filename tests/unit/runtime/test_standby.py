"""A standby that was stopped writes nothing more, whatever becomes of its cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiokafka import TopicPartition

from barstream.codecs.record_chunk import RecordChunk
from barstream.runtime import standby
from barstream.runtime.standby import Standbys
from barstream.store.tables import LocalStores
from tests.cluster import cluster_at
from tests.unit.partition.disk import OUTPUTS, DiskStore

PLACE = TopicPartition(OUTPUTS.series, 0)


class EndlessChangelog:
    """A consumer to which each poll brings one row more of the series."""

    def __init__(self) -> None:
        self.offset = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def beginning_offsets(self, places: Collection[TopicPartition]) -> Any:
        return dict.fromkeys(places, 0)

    def assign(self, places: Any) -> None:
        pass

    def seek(self, place: Any, offset: int) -> None:
        pass

    async def getmany(self, timeout_ms: int) -> Any:
        await asyncio.sleep(0)
        at, self.offset = self.offset, self.offset + 1
        chunk = RecordChunk(
            PLACE.topic, PLACE.partition, at, at + 1, [b"key%d" % at], [b"value"],
            np.array([at]), np.array([0]), append_time=True,
        )  # fmt: skip
        return {PLACE: [SimpleNamespace(value=chunk)]}


class Ends:
    """End offsets, asked for by a consumer that is closed after each answer.

    Closing awaits a task that was cancelled, and takes every cancellation for that one: so does
    aiokafka.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.is_closing = asyncio.Event()

    async def __call__(self, _options: Any, places: Any, *, committed: bool = False) -> Any:
        self.asked += 1
        if committed:
            self.is_closing.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        return dict.fromkeys(places, 0)


def test_a_cancellation_that_a_closing_consumer_drops_does_not_keep_a_standby_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        changelog, ends = EndlessChangelog(), Ends()
        monkeypatch.setattr(standby, "changelog_consumer", lambda *_: changelog)
        monkeypatch.setattr(standby, "ends_of", ends)
        disks = {topic: DiskStore(tmp_path / topic) for topic in ("finals", "series")}
        stores = LocalStores(
            {topic: partial(_itself, disk) for topic, disk in disks.items()}, OUTPUTS, _never
        )
        standbys = Standbys(cluster_at(), stores, lambda: True, _crash, look_s=0.0)
        standbys.start({0})
        await asyncio.wait_for(ends.is_closing.wait(), 5)
        await standbys.stop()
        reached = stores.open(0)[OUTPUTS.series].offset()
        for _ in range(20):
            await asyncio.sleep(0)
        assert stores.open(0)[OUTPUTS.series].offset() == reached
        assert ends.asked == 2, "nobody asks any more"
        assert not standbys.held
        assert not standbys.lag

    asyncio.run(go())


def _itself(disk: DiskStore) -> DiskStore:
    return disk


def _never(error: BaseException) -> None:
    raise error


async def _crash(error: BaseException) -> None:
    raise error
