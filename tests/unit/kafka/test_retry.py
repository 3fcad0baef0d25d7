"""A question to Kafka is asked again while its failure passes, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka.errors import (
    KafkaError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)

from barstream.kafka import retry
from barstream.kafka.retry import retried


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_S", 0.001)


def asked(*failures: KafkaError) -> tuple[Callable[[], int], list[KafkaError]]:
    waiting = list(failures)
    told: list[KafkaError] = []

    async def ask() -> int:
        if waiting:
            raise waiting.pop(0)
        return 7

    return lambda: asyncio.run(retried(ask, within_s=0.05, on_failure=told.append)), told


def test_a_broker_that_is_away_leaves_the_question_to_another() -> None:
    run, told = asked(NodeNotReadyError("1"), NodeNotReadyError("2"))
    assert run() == 7
    assert [str(each.args[0]) for each in told] == ["1", "2"]


def test_what_does_not_pass_is_told_at_once() -> None:
    run, told = asked(TopicAuthorizationFailedError())
    with pytest.raises(TopicAuthorizationFailedError):
        run()
    assert told == []


def test_when_the_time_is_over_the_last_failure_is_told() -> None:
    run, told = asked(*[NodeNotReadyError()] * 10_000)
    with pytest.raises(NodeNotReadyError):
        run()
    assert told
