"""Rebalances of the app that do not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from faust.types import TP

from barstream.app import BarstreamApp
from barstream.transport.assignor import PartitionAssignor
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
    made = App("t", broker="memory://", PartitionAssignor=PartitionAssignor)
    monkeypatch.setattr(App, "consumer", SimpleNamespace(stop_flow=lambda: None))
    return made


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


class Free(Stuck):
    async def assign(
        self, partitions: set[int], generation: int, standbys: Collection[int] = ()
    ) -> None:
        """Nothing is held here."""


@pytest.fixture
def assigned(app: App, monkeypatch: pytest.MonkeyPatch) -> App:
    """An app whose tables are told of assignments as Faust tells them."""

    async def tell(self: App, _assigned: set[TP], generation_id: int = 0) -> None:
        recovery = cast("Any", self.tables).recovery
        recovery._generation_id = generation_id
        recovery.signal_recovery_start.set()

    monkeypatch.setattr(faust.App, "_on_partitions_assigned", tell)
    return app


def test_the_end_of_an_older_recovery_does_not_end_a_rebalance(assigned: App) -> None:
    """Seen in a fault run: partitions were written to while their tables were taken over."""
    app = assigned

    async def go() -> None:
        app.assignments = Free()
        recovery = cast("Any", app.tables).recovery
        app.on_rebalance_start()
        await app._on_partitions_assigned(set(), 3)
        recovery.signal_recovery_start.clear()  # the recovery of generation 3 begins
        app.on_rebalance_start()
        app.on_rebalance_end()
        assert app.rebalancing, "ended by generation 3 before 4 was assigned"
        await app._on_partitions_assigned(set(), 4)
        app.on_rebalance_end()
        assert app.rebalancing, "ended by generation 3 before the recovery of 4 began"
        recovery.signal_recovery_start.clear()
        app.on_rebalance_end()
        assert not app.rebalancing

    asyncio.run(go())
