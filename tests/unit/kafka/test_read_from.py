"""Nothing is committed that is refused on the way, as when the topic of the ticks is another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, ProducerFenced

from barstream.errors import StateUnusable, TicksGone
from barstream.kafka import writer
from barstream.kafka.flush import Row
from barstream.kafka.topic_identity import TopicMissing
from barstream.kafka.writer import PartitionWriter, TopicOfId
from tests.cluster import cluster_at

SAME, OTHER = "one", "another"
MISSING = TopicMissing("ticks")
AWAY = KafkaConnectionError("no broker")


class Asked:
    """Brokers that answer one after the other; ``None`` is one that says nothing."""

    def __init__(self, answers: Sequence[str | Exception | None]) -> None:
        self._answers = list(answers)
        self.nodes: list[int | None] = []
        self.done: list[str] = []
        self._txn_manager = SimpleNamespace(is_fatal_error=lambda: False)
        leaders = {0: 4, 1: -1}
        cluster = SimpleNamespace(leader_for_partition=lambda tp: leaders[tp.partition])
        self.client = SimpleNamespace(cluster=cluster)

    async def topic_id(self, _client: Any, _topic: str, node: int | None = None) -> str:
        self.nodes.append(node)
        answer = self._answers.pop(0)
        if answer is None:
            await asyncio.sleep(3600)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    async def begin_transaction(self) -> None:
        self.done.append("begun")

    async def commit_transaction(self) -> None:
        self.done.append("committed")

    async def abort_transaction(self) -> None:
        self.done.append("aborted")


async def nothing(_rows: Any) -> dict[Any, Any]:
    return {}


def checked(
    monkeypatch: pytest.MonkeyPatch, *answers: str | Exception | None, partition: int = 0
) -> Asked:
    async def run() -> Asked:
        asked = Asked(answers)
        monkeypatch.setattr(writer, "topic_id", asked.topic_id)
        monkeypatch.setattr(writer, "_ASK_AGAIN_S", 0.0)
        monkeypatch.setattr(writer, "_ANSWER_WITHIN_S", 0.01)
        made = PartitionWriter(cluster_at(), "a-0", largest={"finals": 1_048_588})
        made._producer = asked
        monkeypatch.setattr(made, "_acknowledged", nothing)
        try:
            async with asyncio.timeout(20):
                rows = {("finals", partition): [Row(b"k", b"v")]}
                await made.write(rows, read_from=TopicOfId("ticks", SAME))
        except TicksGone:
            assert asked.done == ["begun", "aborted"]
            raise
        assert asked.done == ["begun", "committed"]
        return asked

    return asyncio.run(run())


def test_the_broker_that_took_the_rows_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, SAME).nodes == [4]


def test_any_is_asked_where_nobody_is_known_to_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, SAME, partition=1).nodes == [None]


def test_another_topic_of_that_name_leaves_nothing_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(TicksGone, match="deleted and made again"):
        checked(monkeypatch, OTHER)


@pytest.mark.parametrize("trouble", [AWAY, None, TimeoutError()])
def test_a_broker_that_does_not_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception | None
) -> None:
    assert len(checked(monkeypatch, trouble, trouble, SAME).nodes) == 3


def test_what_was_read_of_a_topic_that_is_gone_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(checked(monkeypatch, MISSING, MISSING, MISSING).nodes) == 3


def test_a_broker_that_has_just_started_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TicksGone):
        checked(monkeypatch, MISSING, AWAY, OTHER)


def test_what_comes_behind_takes_everything_back_when_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(_last: Any) -> Any:
        raise StateUnusable("somebody wrote between")

    async def run() -> list[str]:
        asked = Asked(())
        made = PartitionWriter(cluster_at(), "a-0", largest={"finals": 1_048_588})
        made._producer = asked
        monkeypatch.setattr(made, "_acknowledged", nothing)
        with pytest.raises(StateUnusable, match="wrote between"):
            await made.write({("finals", 0): [Row(b"k", b"v")]}, behind=refuse)
        return asked.done

    assert asyncio.run(run()) == ["begun", "aborted"]


@pytest.mark.parametrize("trouble", [None, ProducerFenced(), AWAY])
def test_what_is_wrong_is_said_also_when_the_abort_fails(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception | None
) -> None:
    """Brokers that have lost a tail may not answer; the words that mend it must not be lost too."""

    async def lose(_last: Any) -> Any:
        raise StateUnusable("Kafka has lost committed records")

    async def abort() -> None:
        if trouble is not None:
            raise trouble
        await asyncio.sleep(3600)

    async def run() -> None:
        asked = Asked(())
        monkeypatch.setattr(asked, "abort_transaction", abort)
        monkeypatch.setattr(writer, "_ABORT_WITHIN_S", 0.01)
        made = PartitionWriter(cluster_at(), "a-0", largest={"finals": 1_048_588})
        made._producer = asked
        monkeypatch.setattr(made, "_acknowledged", nothing)
        with pytest.raises(StateUnusable, match="lost committed records"):
            await made.write({("finals", 0): [Row(b"k", b"v")]}, behind=lose)

    asyncio.run(run())
