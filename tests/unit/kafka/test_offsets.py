"""Offsets that the brokers do not tell in time end a command in a sentence that says which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from barstream.errors import ReadingStalled
from barstream.kafka import clients, offsets
from barstream.kafka.offsets import ends_of, extents
from barstream.log.snapshot import Span, held, offsets_at
from tests.cluster import cluster_at

PLACES = [TopicPartition("ticks", partition) for partition in (0, 1)]
SENTENCE = (
    "the offsets of ticks must be known, but the brokers did not tell them in time (without a "
    "leader: ticks[1]): look at the brokers, then run this again; a worker stops, and goes on when "
    "it is started again"
)


class Consumer:
    """A client of brokers that tell no offsets, as nobody leads partition 1."""

    def __init__(self, **_: Any) -> None:
        cluster = SimpleNamespace(
            leader_for_partition={PLACES[0]: 3, PLACES[1]: -1}.get,
            partitions_for_topic=lambda _: {0, 1},
        )

        async def answer(*_: Any) -> Any:
            return cluster

        self._client = SimpleNamespace(cluster=cluster, fetch_all_metadata=answer, add_topic=answer)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def end_offsets(self, _places: Any) -> Any:
        raise KafkaTimeoutError("Failed to get offsets by times in 40000 ms")

    beginning_offsets = offsets_for_times = end_offsets


@pytest.mark.parametrize(
    "ask",
    [
        lambda: extents(cluster_at(), "ticks", [0, 1]),
        lambda: ends_of(cluster_at(), PLACES),
        lambda: held(cluster_at(), "ticks"),
        lambda: offsets_at(cluster_at(), "ticks", {0: Span(0, 5), 1: Span(0, 5)}, 7),
    ],
    ids=["extents", "ends_of", "held", "offsets_at"],
)
def test_which_partition_has_no_leader_is_said(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Awaitable[Any]]
) -> None:
    monkeypatch.setattr(clients, "KafkaConsumer", Consumer)

    async def run() -> None:
        with pytest.raises(ReadingStalled) as refused:
            await ask()
        assert str(refused.value) == SENTENCE

    asyncio.run(run())


def test_an_old_connection_that_says_nothing_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(_: Consumer, _places: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(Consumer, "end_offsets", silent)
    monkeypatch.setattr(clients, "KafkaConsumer", Consumer)
    monkeypatch.setattr(offsets, "_ANSWER_WITHIN_S", 0.01)
    with pytest.raises(ReadingStalled, match="did not tell them in time"):
        asyncio.run(ends_of(cluster_at(), PLACES))
