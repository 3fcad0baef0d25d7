"""The broker of a comparison: Apache Kafka of our own, on a core of its own, that forgets nothing.

Nothing is compacted or deleted by age while a comparison runs, so what stands in the logs is what
was written, and states whose records carry event times of long ago stay.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.topic_log import log_bytes
from tests.kafka_cluster import KafkaCluster

_SIX_HOURS_MS: Final = str(6 * 3_600_000)
_SETTINGS: Final = {
    # no more than the longest lag that barstream's topics allow
    "log.cleaner.min.compaction.lag.ms": _SIX_HOURS_MS,
    "log.retention.check.interval.ms": _SIX_HOURS_MS,
    # topics of a round that is over make room at once
    "log.segment.delete.delay.ms": "1000",
}
_APPEND_TIME: Final = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}


class Broker:
    """One node; it runs on the cores this process may use when it is started."""

    def __init__(self) -> None:
        self._cluster = KafkaCluster(settings=_SETTINGS)
        self.data: Path = self._cluster.data_dir / "node-1" / "data"

    def __enter__(self) -> Self:
        self._cluster.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.close()

    def raise_if_died(self) -> None:
        """Raise with the end of its log when it has ended by itself."""
        for node in self._cluster.nodes:
            node.raise_if_died()

    @property
    def bootstrap(self) -> str:
        """Its address."""
        return self._cluster.bootstrap

    @property
    def options(self) -> dict[str, Any]:
        """For a client."""
        return {"bootstrap_servers": self.bootstrap}

    def bytes_written(self, part_of_name: str) -> int:
        """In the logs of all topics with ``part_of_name`` in their names."""
        return log_bytes(self.data, part_of_name)

    def create(self, topic: str, partitions: int) -> None:
        """A topic whose records have their append times."""
        new = NewTopic(topic, partitions, 1, topic_configs=_APPEND_TIME)
        self._administer(lambda admin: admin.create_topics([new]))

    def committed(self, group: str) -> int:
        """Ticks that a consumer group says it is through with, over all partitions."""
        found: list[int] = []

        async def look(admin: AIOKafkaAdminClient) -> None:
            offsets = await admin.list_consumer_group_offsets(group)
            found.extend(max(0, each.offset) for each in offsets.values())

        self._administer(look)
        return sum(found)

    def delete(self, part_of_name: str) -> None:
        """All topics with ``part_of_name`` in their names."""

        async def delete(admin: AIOKafkaAdminClient) -> None:
            found = [topic for topic in await admin.list_topics() if part_of_name in topic]
            if found:
                await admin.delete_topics(found)

        self._administer(delete)

    def _administer(self, action: Any) -> None:
        async def run() -> None:
            admin = AIOKafkaAdminClient(**self.options)
            await admin.start()
            try:
                await action(admin)
            finally:
                await admin.close()

        asyncio.run(run())
