"""Rebalances of the app that do not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import faust
import pytest
from faust.types import TP

from barstream.app import BarstreamApp
from barstream.transport.driver import GroupFailed

TICKS = {TP("ticks", 0)}


class Stuck:
    """Partitions that are not given up, and do not hear when they are cancelled."""

    start_positions: dict[tuple[str, int], int] = {}  # noqa: RUF012  nobody changes it

    def __init__(self) -> None:
        self.free = asyncio.Event()

    async def assign(
        self, partitions: set[int], generation: int, standbys: Collection[int] = ()
    ) -> None:
        raise AssertionError("not asked for here")

    async def revoke(self) -> None:
        while not self.free.is_set():
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                continue


class App(BarstreamApp):
    give_up_within_s = 0.05

    async def crash(self, reason: BaseException) -> None:
        self.failure = reason


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    async def nothing(*_: Any) -> None:
        """What Faust does is not what is tried."""

    monkeypatch.setattr(faust.App, "_on_partitions_revoked", nothing)
    return App("t", broker="memory://")


def test_a_worker_that_cannot_give_its_partitions_up_ends(app: App) -> None:
    """Seen in a fault run: it would stand still for ever, and be no member of the group."""

    async def go() -> None:
        app.assignments = stuck = Stuck()
        await app._on_partitions_revoked(TICKS)
        assert isinstance(app.failure, GroupFailed)
        stuck.free.set()

    asyncio.run(go())


def test_a_worker_that_gives_its_partitions_up_goes_on(app: App) -> None:
    async def go() -> None:
        app.assignments = stuck = Stuck()
        stuck.free.set()
        await app._on_partitions_revoked(TICKS)
        assert app.failure is None

    asyncio.run(go())
