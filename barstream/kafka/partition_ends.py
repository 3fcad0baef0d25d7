"""Where the partitions held end now, asked for apart from reading them.

A consumer is told the end of a partition with what it fetches.  One that is behind fetches little,
and one that is held back nothing at all: what it knows of the end is then as old as its last fetch,
and the lag made of it too small, just when it matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.kafka.cluster import Cluster
from barstream.kafka.poll import poll

_ANSWER_WITHIN_S: Final = 10.0

Held = Callable[[], Collection[int]]
"""The partitions held."""


class PartitionEnds:
    """The end offsets of some topics' partitions, as they were ``every_s`` ago at most.

    Args:
        cluster: where the topics are.
        topics: their names.
        every_s: how often they are asked for.
    """

    def __init__(self, cluster: Cluster, topics: Collection[str], every_s: float = 1.0) -> None:
        self._cluster = cluster
        self._topics = tuple(topics)
        self._every_s = every_s
        self._ends: dict[tuple[str, int], int] = {}

    def of(self, topic: str, partition: int) -> int | None:
        """First offset after the last record, uncommitted ones included; None: not known yet."""
        return self._ends.get((topic, partition))

    def note(self, ends: Mapping[tuple[str, int], int]) -> None:
        """What was found, by topic and partition."""
        self._ends.update(ends)

    async def run(self, held: Held) -> None:
        """Ask until cancelled; while no broker answers the ends stay as they were."""
        self._ends = {}
        await poll(
            self._cluster, self._every_s, lambda client: self._ask(client, held()), at_once=True
        )

    async def _ask(self, consumer: AIOKafkaConsumer, held: Collection[int]) -> None:
        places = [TopicPartition(topic, number) for topic in self._topics for number in held]
        if not places:
            return
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            ends = await consumer.end_offsets(places)
        self.note({(tp.topic, tp.partition): end for tp, end in ends.items()})
