"""Ticks into Kafka in bulk: whole batches to a partition, never one send a tick."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from barstream.errors import BarstreamError
from barstream.kafka.clients import KafkaProducer
from barstream.kafka.partitioner import default_partition
from barstream.model.key import series_key

Int64s = NDArray[np.int64]

MAX_BATCH_BYTES: Final = 512 * 1024
"""The default of 16 KiB costs a request for every few hundred ticks."""


#: Lengths and deltas of a record, more than they take.
_BESIDE: Final = 40


class TickTooLargeError(BarstreamError):
    """One tick does not fit a batch: its schema holds far more than a tick."""


#: Options of a producer for bulk sending: nothing twice, nothing lost, large batches.
BULK_OPTIONS: Final[Mapping[str, Any]] = {
    "enable_idempotence": True,
    "max_batch_size": MAX_BATCH_BYTES,
    "max_request_size": 4 * MAX_BATCH_BYTES,
}


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

    def __init__(self, producer: KafkaProducer, topic: str, routes: Routes) -> None:
        self._producer = producer
        self._topic = topic
        self._routes = routes
        #: The most bytes the topic takes in a batch, where that is less than a batch has.
        self.most_bytes = MAX_BATCH_BYTES
        self._sent: list[tuple[int, int, asyncio.Future[Any]]] = []

    async def send(self, series: Int64s, values: Sequence[bytes | None]) -> None:
        """Hand over ticks; ``values[i]`` is one of series ``series[i]``.

        Raises:
            KafkaError: a batch could not be queued.
            TickTooLargeError: a value does not fit a batch.
        """
        partition = self._routes.partition[series]
        keys = self._routes.keys
        for number in np.unique(partition).tolist():
            rows = np.flatnonzero(partition == number).tolist()
            owners = series[rows].tolist()
            await self._send_to(
                number, [keys[owner] for owner in owners], [values[row] for row in rows]
            )

    async def _send_to(self, partition: int, keys: list[bytes], values: list[bytes | None]) -> None:
        batch = self._producer.create_batch()
        append = batch.append
        most, is_small = self.most_bytes, self.most_bytes < MAX_BATCH_BYTES
        for key, value in zip(keys, values, strict=True):
            if (
                is_small
                and batch.record_count()
                and batch.size() + len(key) + len(value or b"") + _BESIDE > most
            ):
                await self._submit(batch, partition)
                batch = self._producer.create_batch()
                append = batch.append
            if append(timestamp=None, key=key, value=value) is None:
                await self._submit(batch, partition)
                batch = self._producer.create_batch()
                append = batch.append
                if append(timestamp=None, key=key, value=value) is None:
                    raise TickTooLargeError(
                        f"a tick must fit a batch of {MAX_BATCH_BYTES} bytes, found one of "
                        f"{len(value or b'')} bytes: check the tick schema"
                    )
        await self._submit(batch, partition)

    async def _submit(self, batch: Any, partition: int) -> None:
        batch.close()  # an open batch would take in what others send
        count = batch.record_count()
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._sent.append((partition, count, future))

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
        acknowledged = await asyncio.gather(*(future for _, _, future in sent))
        last: dict[int, int] = {}
        for (partition, count, _), metadata in zip(sent, acknowledged, strict=True):
            # A batch that was sent twice and taken once is acknowledged without an offset.
            last[partition] = metadata.offset + count - 1 if metadata.offset >= 0 else -1
        return last
