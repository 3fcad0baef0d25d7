"""Noticing that a partition is no longer read although there is something to read.

Consumers have been reported to go quiet for good, with heartbeats to the group going on: nothing
fails, bars only stop.  Ending the worker gives its partitions to one that reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.errors import ReadingStalled
from barstream.kafka.cluster import Cluster
from barstream.kafka.poll import poll

_ANSWER_WITHIN_S: Final = 10.0

Positions = Callable[[], Mapping[int, int]]
"""By partition held: first offset not applied yet."""


class Progress:
    """Tells a partition that stands still before its end from one that has nothing to read.

    Looks are counted and not seconds: a worker that was frozen has not stood still.

    Args:
        allowed: in how many looks in a row a partition may stand still.
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._still: dict[int, tuple[int, int]] = {}

    def look(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> list[int]:
        """Partitions that have stood still before their end for too long."""
        stalled: list[int] = []
        for partition, position in positions.items():
            seen, looks = self._still.get(partition, (-1, 0))
            is_still = position == seen and position < ends.get(partition, 0)
            self._still[partition] = position, looks + 1 if is_still else 0
            if is_still and looks + 1 > self._allowed:
                stalled.append(partition)
        for gone in self._still.keys() - positions.keys():
            del self._still[gone]
        return stalled


class ReadProgressMonitor:
    """Compares positions with the ends that a consumer of its own is told.

    Args:
        cluster: where the topics are.
        topic: name of the tick topic.
        every_s: how often.
        allowed: so many looks without a move end the worker; together longer than a flush may
            take, so that one slow flush is not taken for a stall.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        every_s: float = 10.0,
        allowed: int = 12,
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._every_s = every_s
        self._allowed = allowed

    async def run(self, positions: Positions) -> None:
        """Watch until cancelled.

        Raises:
            ReadingStalled: a partition stands still before its end.
        """
        progress = Progress(self._allowed)
        # committed: what an open transaction holds back is not there to be read
        await poll(
            self._cluster,
            self._every_s,
            lambda client: self._look(client, positions, progress),
            committed=True,
        )

    async def _look(
        self, consumer: AIOKafkaConsumer, positions: Positions, progress: Progress
    ) -> None:
        reached = dict(positions())
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            places = [TopicPartition(self._topic, partition) for partition in reached]
            ends = await consumer.end_offsets(places) if places else {}
        known = {tp.partition: end for tp, end in ends.items()}
        for partition in progress.look(reached, known):
            raise ReadingStalled(
                f"{self._topic}[{partition}] must be read on from offset {reached[partition]} to "
                f"{known[partition]}, but has stood still for "
                f"{self._allowed * self._every_s:.0f} s: the worker stops, so that another one "
                "takes over; start it again"
            )
