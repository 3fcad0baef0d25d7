"""One load's transactions: ticks, the heartbeats they make due, and the position after them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.topics.load_position import LastTick, LoadPosition, encode
from barstream.feeds.admission import Admission
from barstream.feeds.bulk_producer import BulkSender, Routes, bulk_writer
from barstream.feeds.encoder import ColumnEncoding, TickEncoder
from barstream.feeds.files import FileTicks
from barstream.feeds.load_positions import positions_topic
from barstream.heartbeat.producer import Barriers, Due, encode_rows, send_rows
from barstream.kafka.cluster import Cluster
from barstream.kafka.flush import Row

TRANSACTION_TIMEOUT_MS: Final = 60_000

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LoadContents:
    """What a load sends.

    Attributes:
        load_id: identity of the files and their layouts, the same in every run.
        name: of the files, for people.
        ticks: in the order they are sent (see ``order.py``).
        admission: which of them will be in bars; only those move the clocks.
        routes: key and partition of each of their series.
        closed_until: by index of series, the instant before which its minutes are closed.
    """

    load_id: str
    name: str
    ticks: FileTicks
    admission: Admission
    routes: Routes
    closed_until: Mapping[int, int]


class LoadWriter:
    """Writes a load, one transaction after the other; starting it fences any other run of it.

    Args:
        contents: what is sent.
        encoder: ticks to record values.
        cluster: where the topics are.
        clock_us: the wall clock.

    Attributes:
        position: where the load stands.
    """

    def __init__(
        self,
        contents: LoadContents,
        encoder: TickEncoder,
        cluster: Cluster,
        clock_us: Callable[[], int],
    ) -> None:
        names, load_id = cluster.names, contents.load_id
        total = len(contents.ticks)
        self.position = LoadPosition(load_id, contents.name, names.ticks, total=total)
        self.heartbeats = 0
        self._ticks = contents.ticks
        self._routes = contents.routes
        self._names = names
        self._positions = positions_topic(cluster.settings)
        self._encoder = encoder
        self._clock_us = clock_us
        self._barriers = Barriers(cluster, names.ticks)
        self._writer = bulk_writer(
            cluster,
            transactional_id=f"{cluster.settings.app_id}-load-{load_id}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )
        self._sender = BulkSender(self._writer, names.ticks, contents.routes)

    async def start(self) -> None:
        """Connect; a transaction that a killed run left open has ended when this returns.

        Raises:
            KafkaError: no broker took the transactional id.
        """
        await self._barriers.start()
        await self._writer.start()
        await self._writer.ask_sizes([self._names.ticks])

    async def stop(self) -> None:
        """Disconnect."""
        await self._writer.stop(within_s=None)
        await self._barriers.stop()

    async def chunk(self, start: int, end: int, due: Sequence[tuple[int, int]]) -> None:
        """Ticks [start, end), heartbeats ``due`` as (series, minute), position: all or none.

        Raises:
            ProducerFenced: another run of the same load took over.
            KafkaError: nothing of it is there, unless the commit itself was not answered; the
                next run finds out.
        """
        series = self._ticks.series[start:end]
        values = self._encoder.encode(self._columns(start, end))
        async with self._writer.transaction():
            await self._sender.send(series, values)
            offsets = await self._sender.flush()
            last_ticks = self.position.last_ticks | self._last_ticks(series, values, offsets)
            position = replace(self.position, rows=end, done=False, last_ticks=last_ticks)
            await self._beat(due)
            position = await self._remember(position)
        self.position = position
        self.heartbeats += len(due)

    async def close(self, due: Sequence[tuple[int, int]]) -> None:
        """The last heartbeats; the load is done.

        Raises:
            KafkaError: as in `chunk`.
        """
        async with self._writer.transaction():
            await self._beat(due)
            position = await self._remember(replace(self.position, done=True))
        self.position = position
        self.heartbeats += len(due)

    def _columns(self, start: int, end: int) -> ColumnEncoding:
        ticks = self._ticks
        part = slice(start, end)
        return ColumnEncoding(
            names=ticks.names,
            series=ticks.series[part],
            time_us=ticks.time_us[part],
            price=ticks.price[part],
            bid=None if ticks.bid is None else ticks.bid[part],
            ask=None if ticks.ask is None else ticks.ask[part],
            size=None if ticks.size is None else ticks.size[part],
        )

    def _last_ticks(
        self, series: Int64s, values: Sequence[bytes], offsets: Mapping[int, int]
    ) -> dict[int, LastTick]:
        partition = self._routes.partition[series]
        last = {number: int(np.flatnonzero(partition == number)[-1]) for number in offsets}
        return {
            number: LastTick(offset, zlib.crc32(values[last[number]]))
            for number, offset in offsets.items()
        }

    async def _beat(self, due: Sequence[tuple[int, int]]) -> None:
        """Heartbeats with the barrier of now: the ticks sent are acknowledged and below it."""
        if not due:
            return
        names, partition = self._ticks.names, self._routes.partition
        beats = [Due(*names[i], int(partition[i]), minute_us) for i, minute_us in due]
        barriers = await self._barriers.read({beat.partition for beat in beats})
        rows = encode_rows(beats, barriers, self._clock_us(), "loader")
        await send_rows(self._writer, self._names.heartbeats, rows)

    async def _remember(self, position: LoadPosition) -> LoadPosition:
        position = replace(position, updated_at_us=self._clock_us())
        row = Row(position.key, encode(position))
        for sent in await self._writer.send(self._positions, 0, [row]):
            await sent.answer
        return position
