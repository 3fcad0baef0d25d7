"""Topics are there when every broker says so: which of them is asked next is chance."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from barstream.kafka.topics import metadata
from barstream.kafka.topics.findings import TopicCreationError
from barstream.kafka.topics.plan import Role, TopicPlan


class Cluster:
    """Brokers that know of a topic when they have been asked for so many times."""

    def __init__(self, **knows_after: int | None) -> None:
        self._left = {int(name[1:]): asks for name, asks in knows_after.items()}
        self.asked: list[int] = []
        self._client = self

    async def create_topics(self, topics: list[Any]) -> Any:
        return SimpleNamespace(topic_errors=[(topic.name, 0, None) for topic in topics])

    async def _get_cluster_metadata(self, topics: list[str]) -> Any:
        assert topics == [], "every topic of a large cluster, on top of what each broker lists"
        brokers = [{"node_id": node} for node in self._left]
        return SimpleNamespace(to_object=lambda: {"brokers": brokers})

    async def send(self, node: int, _request: Any) -> Any:
        left = self._left[node]
        if left is None:
            raise NodeNotReadyError
        self.asked.append(node)
        self._left[node] = left - 1
        partition = {"partition": 0, "replicas": [1], "leader": 1 if left <= 0 else -1}
        known = [] if left > 1 else [{"topic": "t", "error_code": 0, "partitions": [partition]}]
        return SimpleNamespace(to_object=lambda: {"topics": known})


def create(made: Cluster) -> list[str]:
    plan = TopicPlan("ticks", "t", Role.TICKS, 1, 1)
    return asyncio.run(metadata.create(made, [plan]))


def test_a_topic_is_created_when_the_last_broker_shows_it_with_its_leaders() -> None:
    made = Cluster(b1=0, b2=3)
    assert create(made) == ["t"]
    assert made.asked.count(2) == 4


def test_a_broker_that_does_not_answer_is_passed_over() -> None:
    assert create(Cluster(b1=0, b2=None)) == ["t"]


def test_one_that_never_shows_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "_VISIBLE_WITHIN_S", 0.2)
    with pytest.raises(TopicCreationError, match=r"topic t was created, but broker 2 .*0\.2 s"):
        create(Cluster(b1=0, b2=1_000_000))
