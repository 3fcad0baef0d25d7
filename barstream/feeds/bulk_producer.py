"""Ticks into Kafka in bulk: whole batches to a partition, never one send a tick."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from barstream.kafka.cluster import Cluster
from barstream.kafka.flush import NO_HEADERS
from barstream.kafka.partitioner import default_partition
from barstream.kafka.writer import BatchWriter
from barstream.model.key import series_key

Int64s = NDArray[np.int64]

MAX_BATCH_BYTES: Final = 512 * 1024
"""The default of 16 KiB costs a request for every few hundred ticks."""


def bulk_writer(cluster: Cluster, **more: Any) -> BatchWriter:
    """What sends in bulk: nothing twice, nothing lost, large batches.

    Args:
        cluster: where the topic is.
        more: options of the producer.
    """
    return BatchWriter(
        cluster,
        MAX_BATCH_BYTES,
        enable_idempotence=True,
        max_request_size=4 * MAX_BATCH_BYTES,
        **more,
    )


@dataclass(frozen=True, slots=True)
class Routes:
    """Key and partition of each series; ``partition`` has shape (series,)."""

    keys: tuple[bytes, ...]
    partition: Int64s

    @classmethod
    def of(
        cls,
        names: Iterable[tuple[str, str]],
        partitions: int,
        seen: Mapping[tuple[str, str], int] | None = None,
    ) -> Routes:
        """Routes of (broker, symbol) names.

        Args:
            names: of the series, in the order of their index.
            partitions: of the tick topic.
            seen: partitions in which ticks of a series were seen before: it stays there,
                whoever sent them and however that producer hashes.
        """
        named = list(names)
        keys = tuple(series_key(*name) for name in named)
        known = seen or {}
        chosen = [
            known.get(name, default_partition(key, partitions))
            for name, key in zip(named, keys, strict=True)
        ]
        return cls(keys, np.array(chosen, np.int64))


class BulkSender:
    """Sends ticks in bulk, in order within a partition; ``flush`` waits for the brokers.

    At most one batch a partition is on its way and one is waiting, so a slow broker slows
    the sender and memory stays bounded.
    """

    def __init__(self, writer: BatchWriter, topic: str, routes: Routes) -> None:
        self._writer = writer
        self._topic = topic
        self._routes = routes
        self._sent: list[tuple[int, int, asyncio.Future[Any]]] = []

    async def send(self, series: Int64s, values: Sequence[bytes | None]) -> None:
        """Hand over ticks; ``values[i]`` is one of series ``series[i]``.

        Raises:
            KafkaError: a batch could not be queued.
            RowTooLarge: the topic takes no batch of one of them.
        """
        partition = self._routes.partition[series]
        keys = self._routes.keys
        for number in np.unique(partition).tolist():
            rows = np.flatnonzero(partition == number).tolist()
            owners = series[rows].tolist()
            ticks = zip(
                [keys[owner] for owner in owners],
                [values[row] for row in rows],
                repeat(NO_HEADERS),
            )
            self._sent += [
                (number, each.batch.record_count(), each.answer)  # batches are large
                for each in await self._writer.send(self._topic, number, ticks)
            ]

    @property
    def outstanding(self) -> int:
        """Batches handed over since the last flush."""
        return len(self._sent)

    async def flush(self) -> dict[int, int]:
        """Wait until all that was sent is acknowledged.

        Returns:
            The offset of the last tick by partition; -1 where the broker did not say.

        Raises:
            KafkaError: a batch was not acknowledged.
        """
        sent, self._sent = self._sent, []
        acknowledged = await asyncio.gather(*(answer for _, _, answer in sent))
        last: dict[int, int] = {}
        for (partition, count, _), metadata in zip(sent, acknowledged, strict=True):
            # A batch that was sent twice and taken once is acknowledged without an offset.
            last[partition] = metadata.offset + count - 1 if metadata.offset >= 0 else -1
        return last
