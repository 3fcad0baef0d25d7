"""Watching that the tick topic stays what it was: the same one, and as long as what was applied.

A topic that is deleted and made again while a worker runs sends its consumer back to the
beginning, and offsets that were applied before would be skipped in silence.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.errors import TicksGone
from barstream.kafka.clients import make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.offsets import (
    START_OVER,
    Extent,
    check_identity,
    check_position,
    extents,
)
from barstream.kafka.poll import poll
from barstream.kafka.topic_identity import TopicMissing, topic_id

_ANSWER_WITHIN_S: Final = 10.0
#: A broker that has just started may not know all topics, or their last offsets, yet.
_TIMES_IN_A_ROW: Final = 2

Reached = Callable[[], Mapping[int, int]]
"""By partition held: the highest offset that must exist, the position or a barrier."""


class TopicMonitor:
    """Compares the tick topic with what was applied of it.

    Args:
        cluster: where the topics are.
        topic: name of the tick topic.
        every_s: how often.

    Attributes:
        identity: id of the topic when it was seen first; None where brokers give none.
    """

    def __init__(self, cluster: Cluster, topic: str, every_s: float = 5.0) -> None:
        self.identity: str | None = None
        self._cluster = cluster
        self._topic = topic
        self._every_s = every_s

    async def identify(self) -> None:
        """Learn which topic this is, or that it is still the same.

        Raises:
            TicksGone: there is none of that name, or another one than before.
            KafkaError: no broker answered.
        """
        consumer = make_consumer(self._cluster, committed=False)
        await consumer.start()
        try:
            found = await topic_id(consumer._client, self._topic)
        except TopicMissing as error:
            raise self._missing() from error
        finally:
            await consumer.stop()
        check_identity(self._topic, self.identity, found)
        self.identity = self.identity or found

    async def check(self, partition: int, position: int) -> None:
        """Find out why the next chunk is not the one at ``position``.

        Raises:
            TicksGone: because the topic no longer holds it, or is another one.
        """
        await self.identify()
        found = await extents(self._cluster, self._topic, [partition])
        check_position(self._topic, partition, position, found[partition])

    async def run(self, reached: Reached) -> None:
        """Watch until cancelled.

        Raises:
            TicksGone: the topic is gone, another one, or shorter than what was applied.
        """
        strikes: Counter[int] = Counter()
        await poll(
            self._cluster, self._every_s, lambda client: self._look(client, reached, strikes)
        )

    async def _look(
        self, consumer: AIOKafkaConsumer, reached: Reached, strikes: Counter[int]
    ) -> None:
        wanted = reached()  # before the ends are asked for: they only grow
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            try:
                found = await topic_id(consumer._client, self._topic)
                check_identity(self._topic, self.identity, found)
            except TopicMissing as error:
                strikes[-1] += 1
                if strikes[-1] >= _TIMES_IN_A_ROW:
                    raise self._missing() from error
                return
            places = [TopicPartition(self._topic, partition) for partition in wanted]
            ends = await consumer.end_offsets(places) if places else {}
        short = {tp.partition: end for tp, end in ends.items() if wanted[tp.partition] > end}
        for partition in set(strikes) - set(short):
            del strikes[partition]
        for partition, end in short.items():
            strikes[partition] += 1
            if strikes[partition] >= _TIMES_IN_A_ROW:
                check_position(self._topic, partition, wanted[partition], Extent(0, end))

    def _missing(self) -> TicksGone:
        return TicksGone(
            f"the tick topic {self._topic} must exist, but it was deleted. {START_OVER}"
        )
