"""Deletes from this worker's disk the bars that Kafka has deleted: at start, and once a day."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mode import Service

from barstream.clock import system_clock_us
from barstream.kafka.clients import KafkaError
from barstream.kafka.cluster import Cluster
from barstream.kafka.offsets import extents
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.runtime.assignment import Assignment
from barstream.runtime.partition_task import PartitionTask
from barstream.runtime.schedule import next_reload_us
from barstream.runtime.standby import StandbyPartition

log = logging.getLogger(__name__)

#: Partitions held, and those a warm copy is kept of: both are on this disk.
Stored = PartitionTask | StandbyPartition

#: So long after the daily reload of the schedule.
AFTER_RELOAD_US: Final = 5 * MINUTE_US
_POLL_S: Final = 5.0


class RetentionService(Service):
    """Goes by the offset at which each partition of the finals begins in Kafka, not by time.

    Args:
        partitions: what this worker holds.
        cluster: where the topics are.
        clock: microseconds since the epoch.
        poll_s: how often it looks whether a day is over or a partition has come.
    """

    def __init__(
        self,
        partitions: Assignment,
        cluster: Cluster,
        clock: Callable[[], int] = system_clock_us,
        poll_s: float = _POLL_S,
    ) -> None:
        super().__init__()
        self._partitions = partitions
        self._cluster = cluster
        self._clock = clock
        self._poll_s = poll_s
        self._due_us = 0
        #: Those looked through since the day began.
        self._done: set[Stored] = set()

    @Service.task
    async def _daily(self) -> None:
        while not self.should_stop:
            await self.sleep(self._poll_s)
            now_us = self._clock()
            if now_us >= self._due_us:
                self._due_us = next_reload_us(now_us) + AFTER_RELOAD_US
                self._done.clear()
            try:
                await self.expire()
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("bars Kafka has deleted are looked for again later: %r", error)
                await self.sleep(60.0)

    async def expire(self) -> None:
        """Look through the partitions held that were not looked through today.

        Raises:
            KafkaError: the brokers do not say where the finals begin.
        """
        held = self._partitions.stored
        self._done.intersection_update(held.values())
        waiting = {
            partition: owned
            for partition, owned in held.items()
            if owned not in self._done and not owned.fenced
        }
        if not waiting or self._partitions.restoring:
            return
        begins = {
            topic: await extents(self._cluster, topic, waiting)
            for topic in next(iter(waiting.values())).finals
        }
        for partition, owned in waiting.items():
            for topic in owned.finals:
                if self._is_held(owned):
                    await self._expire(owned, topic, begins[topic][partition].begin)
            self._done.add(owned)

    async def _expire(self, owned: Stored, topic: str, begin: int) -> None:
        began_us, series = self._clock(), 0
        finals = owned.finals[topic]
        finals.begin_window(began_us)
        for _ in finals.expire(begin):
            series += 1
            await asyncio.sleep(0)
            if not self._is_held(owned):
                return
        if series:
            log.debug(
                "bars that Kafka has deleted are gone from disk too: partition=%s[%d] series=%d "
                "topic_begins=%d seconds=%.1f",
                topic, owned.partition, series, begin, (self._clock() - began_us) / SECOND_US,
            )  # fmt: skip

    def _is_held(self, owned: Stored) -> bool:
        return self._partitions.stored.get(owned.partition) is owned and not owned.fenced
