"""Rebalances of the app that do not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from faust.types import TP

from barstream.runtime.app import BarstreamApp
from barstream.runtime.assignor import PartitionAssignor
from barstream.runtime.driver import GroupFailed

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


@pytest.mark.law("L14")
def test_what_is_taken_away_is_let_go_before_anything_else_happens(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    async def of_faust(*_: Any) -> None:
        order.append("faust")

    class Given(Stuck):
        async def revoke(self) -> None:
            order.append("partitions")

    async def go() -> None:
        app.assignments = Given()
        app.before_revoke = lambda: order.append("leadership")
        monkeypatch.setattr(faust.App, "_on_partitions_revoked", of_faust)
        await app._on_partitions_revoked(TICKS)

    asyncio.run(go())
    assert order == ["leadership", "faust", "partitions"]


class Awaited(Stuck):
    """Partitions that cannot be taken over: a coordinator they wait for does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.free.set()
        self.begun = asyncio.Event()
        self.given_up = 0

    async def assign(
        self, partitions: set[int], generation: int, standbys: Collection[int] = ()
    ) -> None:
        self.begun.set()
        await asyncio.Event().wait()

    async def revoke(self) -> None:
        self.given_up += 1


@pytest.mark.timeout(20)
def test_a_worker_that_is_stopped_awaits_no_partitions(assigned: App) -> None:
    """Its consumer waits for the answer: the worker was ended by a deadline, with exit code 1."""

    async def go() -> None:
        assigned.assignments = awaited = Awaited()
        taking = asyncio.create_task(assigned._on_partitions_assigned(set(), 3))
        await awaited.begun.wait()
        assert not taking.done()
        assigned._stopped.set()
        await taking
        assert awaited.given_up == 1
        assert assigned.failure is None

    asyncio.run(go())


class Free(Stuck):
    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None

    async def assign(
        self, partitions: set[int], generation: int, standbys: Collection[int] = ()
    ) -> None:
        """Nothing is held here."""
        self.meanwhile()


@pytest.fixture
def assigned(app: App, monkeypatch: pytest.MonkeyPatch) -> App:
    """An app whose tables are told of assignments as Faust tells them."""

    async def tell(self: App, _assigned: set[TP], generation_id: int = 0) -> None:
        self.consumer_generation_id = generation_id
        await cast("Any", self.tables).recovery.on_rebalance(set(), set(), set(), generation_id)

    monkeypatch.setattr(faust.App, "_on_partitions_assigned", tell)
    app._watch_recovery()
    return app


@pytest.mark.parametrize("generation", [4, 3], ids=["another generation", "the same again"])
def test_the_end_of_an_older_recovery_does_not_end_a_rebalance(
    assigned: App, generation: int
) -> None:
    """Seen in fault runs: partitions were written to while their tables were taken over."""
    app = assigned

    async def go() -> None:
        app.assignments = taken = Free()
        recovery = cast("Any", app.tables).recovery
        app.on_rebalance_start()
        await app._on_partitions_assigned(set(), 3)
        recovery.signal_recovery_start.clear()  # the recovery of the first assignment begins
        app.on_rebalance_start()
        app.on_rebalance_end()
        assert app.rebalancing, "ended by the first before the second was assigned"
        taken.meanwhile = app.on_rebalance_end
        await app._on_partitions_assigned(set(), generation)
        assert app.rebalancing, "ended by the first while the second was taken over"
        app.on_rebalance_end()
        assert app.rebalancing, "ended by the first before the recovery of the second began"
        recovery.signal_recovery_start.clear()
        app.on_rebalance_end()
        assert not app.rebalancing

    asyncio.run(go())
