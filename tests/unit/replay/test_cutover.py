"""What stands is compared when nobody writes it any more and all that was written can be read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from barstream.codecs.topics.state import Position, WrittenUpTo, decode_position
from barstream.codecs.topics.withdrawal import Withdrawn, WithdrawnEnd
from barstream.config import load_settings
from barstream.kafka import fence
from barstream.kafka.cluster import Cluster
from barstream.kafka.flush import Flush, Row
from barstream.log.series import PartitionRows
from barstream.market.schedule import AlwaysOpenIndex
from barstream.replay import cutover
from barstream.replay.cutover import CutoverPlan, Switched, switch
from barstream.replay.diff import Compare
from barstream.replay.errors import SwitchRefused
from barstream.replay.scope import Derived, Scope, SeriesScope
from barstream.replay.series import refuse_withdrawn

FINALS = ("rate_1m_final", 3)


class Steps:
    """Stands in for everything that touches Kafka, and notes what was done in which order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.awaited: set[tuple[str, int]] = set()

    def producer(self, _cluster: Any, transactional_id: str, _within_s: float) -> Client:
        return Client(self.done, f"fenced {transactional_id}")

    async def no_workers(self, _settings: Any) -> None:
        self.done.append("no workers")

    async def decided(self, _cluster: Any, places: Any) -> None:
        self.done.append("decided")
        self.awaited.update(places)

    async def plan(self, *_: Any) -> CutoverPlan:
        self.done.append("compared")
        return CutoverPlan(Switched(3, 1, 0, 0, 0), Flush({FINALS: [Row(b"k", b"v")]}))


class Client:
    """A producer."""

    def __init__(self, done: list[str], started: str) -> None:
        self._done = done
        self._started = started

    async def start(self) -> None:
        self._done.append(self._started)

    async def write(self, _rows: Any) -> None:
        self._done.append("written")

    async def stop(self) -> None:
        pass


async def _no_schedule(_cluster: Any) -> AlwaysOpenIndex:
    return AlwaysOpenIndex()


def replayed(end: int, *names: tuple[str, str]) -> Scope:
    """A replay of partition 3 up to an offset that has these series."""
    derived = Derived(3, 0, end, 0, 1 << 60, None, None, True, 5_000_000, "reject")
    return Scope(derived, {name: SeriesScope(0, 0, {}) for name in names})


def test_a_replay_from_before_a_series_was_dropped_is_refused() -> None:
    dropped = Withdrawn({("FX", "EURUSD"): WithdrawnEnd(100, 0)})
    with pytest.raises(SwitchRefused, match="FX EURUSD was dropped, but it ends at offset 100"):
        refuse_withdrawn(replayed(100, ("FX", "EURUSD")), dropped)
    # one that was made when it was loaded again, and one that never had it
    refuse_withdrawn(replayed(101, ("FX", "EURUSD")), dropped)
    refuse_withdrawn(replayed(100, ("FX", "USDJPY")), dropped)


def switched(monkeypatch: pytest.MonkeyPatch, steps: Steps) -> None:
    """Switch partition 3 over."""
    monkeypatch.setattr(fence, "PartitionWriter", steps.producer)
    monkeypatch.setattr(fence, "require_no_workers", steps.no_workers)
    monkeypatch.setattr(fence, "decided", steps.decided)
    monkeypatch.setattr(cutover, "plan_of", steps.plan)
    monkeypatch.setattr(cutover, "current_index", _no_schedule)
    settings = load_settings(env={}, overrides={"app_id": "mine"})
    asyncio.run(switch([Compare(settings, "mend", 3)], lambda _: steps.done.append("told")))


def test_a_partition_is_fenced_then_its_last_transaction_awaited_then_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = Steps()
    switched(monkeypatch, steps)
    assert steps.done == ["no workers", "fenced mine-3", "decided", "compared", "written", "told"]
    assert FINALS in steps.awaited
    assert {topic for topic, _ in steps.awaited} >= {"ticks_rejected", "mine-series"}


def test_a_worker_that_comes_up_meanwhile_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fenced(_client: Client, _rows: Any) -> None:
        raise ProducerFenced

    monkeypatch.setattr(Client, "write", fenced)
    with pytest.raises(SwitchRefused, match="a worker took partition 3 over meanwhile, and noth"):
        switched(monkeypatch, Steps())


@pytest.mark.parametrize(("ends_at", "is_lost"), [(3, True), (4, True), (5, False), (9, False)])
def test_finals_that_kafka_lost_are_claimed_no_more(
    monkeypatch: pytest.MonkeyPatch, ends_at: int, is_lost: bool
) -> None:
    """Else no worker would take the partition over, though a replay has made them again."""

    async def ends(_cluster: Any, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: ends_at for place in places if place.topic == FINALS[0]} | {
            place: 100 for place in places if place.topic != FINALS[0]
        }

    monkeypatch.setattr(cutover, "ends_of", ends)
    settings = load_settings(env={}, overrides={"app_id": "mine"})
    position = Position(70, 8, written={FINALS[0]: WrittenUpTo(4)})
    flush = Flush()
    asyncio.run(cutover._add_position(flush, 3, Cluster(settings), PartitionRows(position)))
    written = [decode_position(row.value or b"") for row in flush.rows.get(("mine-series", 3), ())]
    assert written == ([Position(70, 8)] if is_lost else [])
