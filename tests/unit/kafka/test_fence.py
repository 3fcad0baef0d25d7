"""A command that a worker or Kafka came in between of says whether anything was done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaError, ProducerFenced

from barstream.config import load_settings
from barstream.errors import BarstreamError
from barstream.kafka import fence
from barstream.kafka.cluster import Cluster
from barstream.kafka.consumer_group import WorkersRunning
from barstream.kafka.fence import fenced_partitions


class Refused(BarstreamError):
    """By some command."""


class Steps:
    """Stands in for Kafka, and notes what was done in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, workers: bool = False) -> None:
        self.done: list[str] = []
        self._workers = workers
        monkeypatch.setattr(fence, "PartitionWriter", self.producer)
        monkeypatch.setattr(fence, "require_no_workers", self.no_workers)
        monkeypatch.setattr(fence, "decided", self.decided)

    def producer(self, _options: Any, transactional_id: str, _within_s: float) -> Client:
        return Client(self.done, transactional_id)

    async def no_workers(self, _settings: Any) -> None:
        if self._workers:
            raise WorkersRunning("they run")

    async def decided(self, _options: Any, places: Any) -> None:
        self.done += [f"decided {topic}-{number}" for topic, number in places]


class Client:
    """A producer."""

    def __init__(self, done: list[str], name: str) -> None:
        self._done = done
        self._name = name

    async def start(self) -> None:
        self._done.append(f"started {self._name}")

    async def stop(self) -> None:
        self._done.append(f"stopped {self._name}")


def enter(partitions: Sequence[int], error: KafkaError | None = None) -> None:
    """Fence these partitions; inside the client raises ``error``."""

    async def run() -> None:
        settings = load_settings(env={}, overrides={"app_id": "mine"})
        cluster = Cluster(settings)
        async with fenced_partitions(cluster, partitions, ["bars"], Refused, "moved"):
            if error is not None:
                raise error

    asyncio.run(run())


def test_all_are_fenced_before_any_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    enter([0, 3])
    assert steps.done == [
        "started mine-0", "started mine-3", "decided bars-0", "decided bars-3",
        "stopped mine-0", "stopped mine-3",
    ]  # fmt: skip


def test_workers_that_run_are_not_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch, workers=True)
    with pytest.raises(WorkersRunning):
        enter([0, 3])
    assert not steps.done


TAKEN_OVER = "a worker took {} was moved: stop all workers, and do it again"
FAILED = "Kafka failed{} do it again{}"


@pytest.mark.parametrize(
    ("partitions", "error", "sentence"),
    [
        ([0, 3], ProducerFenced(), TAKEN_OVER.format("a partition over meanwhile, and nothing")),
        ([3], ProducerFenced(), TAKEN_OVER.format("partition 3 over meanwhile, and nothing of it")),
        ([0, 3], KafkaError(), FAILED.format(" (KafkaError()), and nothing was moved:", "")),
        (
            [3],
            KafkaError(),
            FAILED.format(" at partition 3 (KafkaError()):", ", it finds what is left"),
        ),
    ],
)
def test_the_sentence_says_what_was_not_done(
    monkeypatch: pytest.MonkeyPatch, partitions: list[int], error: KafkaError, sentence: str
) -> None:
    steps = Steps(monkeypatch)
    with pytest.raises(Refused) as refused:
        enter(partitions, error)
    assert str(refused.value) == sentence
    assert steps.done[-1] == f"stopped mine-{partitions[-1]}"
