"""Watching the tick topic while a worker reads it: its identity, its ends, and whether it is read.

A topic that is deleted and made again while a worker runs sends its consumer back to the beginning,
and offsets that were applied before would be skipped in silence.

Consumers have been reported to go quiet for good, with heartbeats to the group going on: nothing
fails, bars only stop.  Ending the worker gives its partitions to one that reads.

A consumer is told the end of a partition with what it fetches.  One that is behind fetches little,
and one that is held back nothing at all: what it knows of the end is then as old as its last fetch,
and the lag made of it too small, just when it matters.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from typing import Final, Generic, NoReturn, TypeVar

from barstream.errors import ReadingStalled, TicksGone
from barstream.kafka.clients import KafkaConsumer, KafkaError, TopicPartition, make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.offsets import (
    START_OVER,
    Extent,
    check_identity,
    check_position,
    extents,
)
from barstream.kafka.topic_identity import TopicMissing, identity_of, topic_id

log = logging.getLogger(__name__)

_ANSWER_WITHIN_S: Final = 10.0
#: Of a topic that is gone ends are not told, and that it is must be found out all the same.
_ENDS_WITHIN_S: Final = 1.0
#: A broker that has just started may not know all topics, or their last offsets, yet.
_TIMES_IN_A_ROW: Final = 2
_ENDS_EVERY_S: Final = 1.0
_CHECK_EVERY_S: Final = 5.0
_READING_EVERY_S: Final = 10.0
#: So many looks without a move end the worker; together longer than a flush may take, so that one
#: slow flush is not taken for a stall.
_STILL_LOOKS: Final = 12
_MISSING: Final = -1

Offsets = Callable[[], Mapping[int, int]]
"""An offset by partition held."""


Place = TypeVar("Place", bound=Hashable)


class Progress(Generic[Place]):
    """Tells a partition that stands still before its end from one that has nothing to read.

    Looks are counted and not seconds: a worker that was frozen has not stood still.

    Args:
        allowed: in how many looks in a row a partition may stand still.
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._still: dict[Place, tuple[int, int]] = {}

    def look(self, positions: Mapping[Place, int], ends: Mapping[Place, int]) -> list[Place]:
        """Partitions that have stood still before their end for too long."""
        stalled: list[Place] = []
        for partition, position in positions.items():
            seen, looks = self._still.get(partition, (-1, 0))
            is_still = position == seen and position < ends.get(partition, 0)
            self._still[partition] = position, looks + 1 if is_still else 0
            if is_still and looks + 1 > self._allowed:
                stalled.append(partition)
        for gone in self._still.keys() - positions.keys():
            del self._still[gone]
        return stalled


class TopicMonitor:
    """Compares the tick topic with what was applied of it, and knows where partitions end.

    Args:
        cluster: where the topics are.
        topic: name of the tick topic.
        beside: topics with the same partitions of which the ends are asked as well.

    Attributes:
        identity: id of the tick topic when it was seen first; None where brokers give none.
    """

    def __init__(self, cluster: Cluster, topic: str, beside: Collection[str] = ()) -> None:
        self.identity: str | None = None
        self._cluster = cluster
        self._topic = topic
        self._beside = tuple(beside)
        self._ends: dict[tuple[str, int], int] = {}

    def end_of(self, topic: str, partition: int) -> int | None:
        """First offset after the last record, uncommitted ones included, as of a second ago.

        While no broker answers it stays as it was; None: not known yet.
        """
        return self._ends.get((topic, partition))

    def note(self, ends: Mapping[tuple[str, int], int]) -> None:
        """What was found, by topic and partition."""
        self._ends.update(ends)

    async def identify(self) -> None:
        """Learn which topic this is, or that it is still the same.

        Raises:
            TicksGone: there is none of that name, or another one than before.
            KafkaError: no broker answered.
        """
        try:
            found = await identity_of(self._cluster, self._topic)
        except TopicMissing as error:
            raise self._missing() from error
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

    async def watch(self, reached: Offsets) -> NoReturn:
        """Ask for the ends, and every few seconds also whether it is the same topic.

        Args:
            reached: the highest offset that must exist, the position or a barrier.

        Raises:
            TicksGone: the topic is gone, another one, or shorter than what was applied.
        """
        self._ends = {}
        loop = asyncio.get_running_loop()
        check_at, strikes = loop.time() + _CHECK_EVERY_S, Counter[int]()

        def within_s(*, is_due: bool) -> float:
            return _ANSWER_WITHIN_S if is_due else max(_ENDS_WITHIN_S, check_at - loop.time())

        async def look(client: KafkaConsumer) -> None:
            nonlocal check_at
            wanted = reached()  # before the ends are asked for: they only grow
            is_due = loop.time() >= check_at
            if is_due:
                check_at = loop.time() + _CHECK_EVERY_S
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    await self._check_identity(client, strikes)
            if strikes[_MISSING]:
                return
            ends = await self._ask(client, self._topic, wanted, within_s(is_due=is_due))
            if is_due:
                self._check_length(wanted, ends, strikes)
            for topic in self._beside:
                await self._ask(client, topic, wanted, within_s(is_due=False))

        await self._look(_ENDS_EVERY_S, look, pause_s=0.0)

    async def watch_reading(self, positions: Offsets) -> NoReturn:
        """Ask how far committed ticks go, and whether they are read.

        Args:
            positions: first offset not applied yet.

        Raises:
            ReadingStalled: a partition stands still before its end.
        """
        progress = Progress[int](_STILL_LOOKS)

        async def look(client: KafkaConsumer) -> None:
            held = dict(positions())
            known = await _ends_of(client, self._topic, held, _ANSWER_WITHIN_S)
            for partition in progress.look(held, known):
                raise ReadingStalled(
                    f"{self._topic}[{partition}] must be read on from offset {held[partition]} to "
                    f"{known[partition]}, but has stood still for "
                    f"{_STILL_LOOKS * _READING_EVERY_S:.0f} s: the worker stops, so that another "
                    "one takes over; start it again"
                )

        # committed: what an open transaction holds back is not there to be read
        await self._look(_READING_EVERY_S, look, pause_s=_READING_EVERY_S, committed=True)

    async def _look(
        self,
        every_s: float,
        look: Callable[[KafkaConsumer], Awaitable[None]],
        *,
        pause_s: float,
        committed: bool = False,
    ) -> NoReturn:
        """Look until cancelled, or until a look raises; while no broker answers, nothing is known.

        A client has one isolation level, so those who ask for other ends have one of their own.
        """
        consumer = make_consumer(self._cluster, committed=committed)
        is_started = False
        try:
            while True:
                await asyncio.sleep(pause_s)
                pause_s = every_s
                try:
                    if not is_started:
                        await consumer.start()
                        is_started = True
                    await look(consumer)
                except (KafkaError, TimeoutError, OSError) as error:
                    log.debug("no answer: topic=%s committed=%s %r", self._topic, committed, error)
        finally:
            await consumer.stop()

    async def _ask(
        self, client: KafkaConsumer, topic: str, held: Iterable[int], within_s: float
    ) -> dict[int, int]:
        ends = await _ends_of(client, topic, held, within_s)
        self.note({(topic, partition): end for partition, end in ends.items()})
        return ends

    async def _check_identity(self, client: KafkaConsumer, strikes: Counter[int]) -> None:
        try:
            found = await topic_id(client._client, self._topic)
        except TopicMissing as error:
            strikes[_MISSING] += 1
            if strikes[_MISSING] >= _TIMES_IN_A_ROW:
                raise self._missing() from error
            return
        check_identity(self._topic, self.identity, found)
        del strikes[_MISSING]

    def _check_length(
        self, wanted: Mapping[int, int], ends: Mapping[int, int], strikes: Counter[int]
    ) -> None:
        short = {number: end for number, end in ends.items() if wanted[number] > end}
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


async def _ends_of(
    client: KafkaConsumer, topic: str, partitions: Iterable[int], within_s: float
) -> dict[int, int]:
    places = [TopicPartition(topic, partition) for partition in partitions]
    if not places:
        return {}
    async with asyncio.timeout(within_s):
        ends = await client.end_offsets(places)
    return {place.partition: end for place, end in ends.items()}
