"""What partitions have of a series, and the tombstones that take it back.

Dropping a series or many, and moving one, go by it (`barstream.series.drop`,
`barstream.series.move`, `barstream.series.bulk_drop`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickDecoder
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    WithdrawnEnd,
    encode_withdrawal,
)
from barstream.feeds.load_positions import LoadRecords
from barstream.kafka.cluster import Cluster
from barstream.kafka.flush import Flush, Row
from barstream.kafka.topics import TopicNames
from barstream.log.compaction import newest_values
from barstream.log.partition_log import PartitionLog
from barstream.log.selection import Selection
from barstream.log.snapshot import Span, chunks, held
from barstream.market.schedule import Series
from barstream.model.key import series_key, split_bar_key
from barstream.model.period import MINUTE, Period

TickJudge = Callable[[RecordChunk, NDArray[np.intp], NDArray[np.int64]], None]
"""Given a chunk, the places in it of ticks of the series, and their event times, microseconds."""


@dataclass(frozen=True, slots=True)
class StoredBars:
    """Finals of one timeframe: how many, and from which bucket to which, microseconds."""

    count: int
    first_us: int
    last_us: int

    def joined(self, other: StoredBars | None) -> StoredBars:
        """With those of another partition."""
        if other is None:
            return self
        return StoredBars(
            self.count + other.count,
            min(self.first_us, other.first_us),
            max(self.last_us, other.last_us),
        )


@dataclass(frozen=True, slots=True)
class Holding:
    """What one partition has of a series that is to be withdrawn.

    Attributes:
        partition: of the tick topic, and of all that is made of it.
        ticks: that are not marked yet.
        end: below which they and heartbeats are, when it is dropped.
        bars: finals by timeframe.
        keys: of the records that get a tombstone, by topic.
        heartbeats: that get one.
        is_home: whether every worker takes the series to be at home here.
        before: the row of an earlier drop.
    """

    partition: int
    ticks: int
    end: WithdrawnEnd
    bars: dict[str, StoredBars]
    keys: dict[str, list[bytes]]
    heartbeats: int
    is_home: bool
    before: WithdrawalRow | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not self.ticks and not self.is_known

    @property
    def is_known(self) -> bool:
        """Whether more is to be withdrawn than ticks that made nothing."""
        return bool(self.keys) or self.is_home


@dataclass(frozen=True, slots=True)
class Total:
    """What is withdrawn of a series, over all partitions."""

    ticks: int
    bars: dict[str, StoredBars]
    heartbeats: int
    ends: dict[int, int]
    """By partition the offset below which ticks are withdrawn."""

    @classmethod
    def of(cls, parts: Sequence[Holding]) -> Total:
        """The sum of what partitions have."""
        bars: dict[str, StoredBars] = {}
        for part in parts:
            for timeframe, some in part.bars.items():
                bars[timeframe] = some.joined(bars.get(timeframe))
        return cls(
            sum(part.ticks for part in parts), bars, sum(part.heartbeats for part in parts),
            {part.partition: part.end.ticks for part in parts if not part.is_empty},
        )  # fmt: skip


class HoldingReader:
    """Reads what partitions have of one series.

    Args:
        cluster: its settings completed by the pipeline's declaration.
        name: of the series, normalised.
        judge: told of the ticks that are counted; what it raises ends the reading.
        progress: told how many ticks more were read, of whatever series.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: Series,
        judge: TickJudge = lambda *_: None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._judge = judge
        self.progress = progress
        self._cluster, settings = cluster, cluster.settings
        # one for all partitions: it remembers the schemas of a registry
        self.decoder = TickDecoder(
            settings.ticks, max_future_skew_us=settings.bars.max_future_skew_us
        )

    @property
    def finals(self) -> dict[Period, str]:
        """Topic of the finals of each period."""
        return {MINUTE: self._cluster.names.final_1m, **self._cluster.names.rollups}

    async def read(self, partition: int, ticks: Span, home: int | None) -> Holding:
        """What a partition has.

        Args:
            partition: of the tick topic.
            ticks: those to be counted.
            home: the partition that every worker takes the series to be at home in.

        Raises:
            BarstreamError: a topic cannot be read, or the judge refused a tick.
        """
        names = self._cluster.names
        log = await PartitionLog.opened(self._cluster, partition)
        before = log.rows.withdrawals.get(self._name)
        known = log.withdrawn.end(self._name)
        count = await self._count(partition, Span(max(ticks.begin, known.ticks), ticks.end))
        keys: dict[str, list[bytes]] = {}
        bars: dict[str, StoredBars] = {}
        for period, topic in self.finals.items():
            if found := await self._keys(topic, partition):
                keys[topic] = found
                buckets = [split_bar_key(key)[2] for key in found]
                bars[period.timeframe] = StoredBars(len(found), min(buckets), max(buckets))
        for topic in (names.live_1m, *names.live_rollups.values()):
            if found := await self._keys(topic, partition):
                keys[topic] = found
        # their end first: one that comes after it is not withdrawn
        beats_end = (await log.span(names.heartbeats)).end
        beats = await self._keys(names.heartbeats, partition)
        if beats:
            keys[names.heartbeats] = beats
        if self._name in log.rows.series:
            keys[names.series] = [series_key(*self._name)]
        end = WithdrawnEnd(max(ticks.end, known.ticks), max(beats_end, known.heartbeats))
        return Holding(partition, count, end, bars, keys, len(beats), partition == home, before)

    async def read_again(self, part: Holding, home: int | None) -> Holding:
        """What a partition has now; ticks that were counted are not read again."""
        spans = await held(self._cluster, self._cluster.names.ticks, [part.partition])
        span = spans[part.partition]
        left = Span(max(span.begin, part.end.ticks), span.end)
        now = await self.read(part.partition, left, home)
        return replace(now, ticks=part.ticks + now.ticks)

    async def ticks_in(self, chunk: RecordChunk) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Places in a chunk, and event times in microseconds, of ticks of the series."""
        columns = await self.decoder.decoded(chunk.values, chunk.timestamps_us)
        places = columns.places_of(self._name)
        return places if columns.index is None else columns.index[places], columns.time_us[places]

    async def _count(self, partition: int, span: Span) -> int:
        count = 0
        async for chunk in chunks(self._cluster, self._cluster.names.ticks, {partition: span}):
            at, time_us = await self.ticks_in(chunk)
            self._judge(chunk, at, time_us)
            count += len(at)
            self.progress(len(chunk))
        return count

    async def _keys(self, topic: str, partition: int) -> list[bytes]:
        wanted = Selection(*self._name)
        return sorted(await newest_values(self._cluster, topic, partition, wanted))


def tombstones(names: TopicNames, part: Holding, row: WithdrawalRow) -> Flush:
    """Of one partition: what it has of a series is withdrawn, and what must stay is marked."""
    flush = Flush()
    for topic, keys in part.keys.items():
        flush.add(topic, part.partition, [Row(key, None) for key in keys])
    mine = replace(row, ends={part.partition: row.end(part.partition)})
    flush.add(names.series, part.partition, [Row(row.key, encode_withdrawal(mine))])
    return flush


def add_last(
    flush: Flush, names: TopicNames, whole: WithdrawalRow, records: LoadRecords | None
) -> None:
    """What is of no partition: the row of the universe, and what loads go by."""
    flush.add(names.series_seen, 0, [Row(series_key(*whole.name), None)])
    if records is not None:
        flush.add(records.topic, 0, [Row(whole.key, encode_withdrawal(whole))])
