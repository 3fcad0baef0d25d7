"""Dropping many series at once: names that somebody made up, long asleep, of few ticks.

Each takes a place (`barstream.rules.series_limit`) and has bars that nobody reads.  They are
dropped as any series is (`barstream.series.drop`), all of them in one transaction, after the topics
were read once and not once a series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from barstream.codecs.ticks.decoder import TickDecoder
from barstream.codecs.topics.withdrawal import WithdrawalRow, WithdrawnEnd
from barstream.config import Settings
from barstream.feeds.load_positions import LoadRecords, load_records
from barstream.kafka.cluster import Cluster
from barstream.kafka.consumer_group import require_no_workers
from barstream.kafka.fence import fenced_partitions
from barstream.kafka.flush import Flush
from barstream.log.compaction import newest_values
from barstream.log.series import PartitionRows, series_rows, series_seen
from barstream.log.snapshot import Span, chunks, held
from barstream.market.schedule import Series
from barstream.market.universe import SeriesSeen
from barstream.model.key import series_key, split_bar_key
from barstream.model.time import DAY_US
from barstream.series.contents import Holding, add_last, tombstones
from barstream.series.drop import DropRefused, refuse_loading


@dataclass(frozen=True, slots=True)
class AsleepSeries:
    """Series long asleep that have few ticks.

    Attributes:
        ticks: how many each has.
        last_dates: likewise the trading date of the last tick, days since 1970-01-01.
    """

    ticks: Mapping[Series, int]
    last_dates: Mapping[Series, int]

    def __len__(self) -> int:
        return len(self.ticks)


class BulkDrop:
    """All of them, on their way out.

    Args:
        settings: completed by the pipeline's declaration.
        asleep_days: a series is dropped if its last tick is of a trading date so many days ago.
        ticks_below: and if it has fewer ticks than this.
        clock: microseconds since the epoch.
        progress: told how many ticks more were read.
    """

    def __init__(
        self,
        settings: Settings,
        asleep_days: int,
        ticks_below: int,
        clock: Callable[[], int],
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._asleep_days = asleep_days
        self._ticks_below = ticks_below
        self._clock = clock
        self.progress = progress
        self._cluster = Cluster(settings)
        self._decoder = TickDecoder(
            settings.ticks, max_future_skew_us=settings.bars.max_future_skew_us
        )
        self._seen: Mapping[Series, SeriesSeen] = {}
        self._there: dict[Series, Counter[int]] = {}
        self._rows: dict[int, PartitionRows] = {}
        self._records: LoadRecords | None = None

    async def look(self) -> AsleepSeries:
        """Which sleep so long and have so few ticks; nothing is written, nobody is fenced.

        Raises:
            WorkersRunning: they would not know of it.
            DropRefused: a load writes to one of their partitions.
            BarstreamError: a topic cannot be read.
        """
        await require_no_workers(self._settings)
        names, cluster = self._cluster.names, self._cluster
        self._seen = await series_seen(cluster)
        self._rows = await series_rows(cluster, names.series, await held(cluster, names.series))
        before = self._clock() // DAY_US - self._asleep_days
        asleep = {name for name, row in self._seen.items() if row.last_trading_date <= before}
        await self._count(asleep, await held(cluster, names.ticks))
        ticks = {name: self._there[name].total() for name in sorted(asleep & self._there.keys())}
        ticks = {name: count for name, count in ticks.items() if count < self._ticks_below}
        if ticks:
            self._records = await load_records(self._settings)
            mine = {number for name in ticks for number in self._there[name]}
            refuse_loading(self._records, names.ticks, mine, self._clock())
        return AsleepSeries(ticks, {name: self._seen[name].last_trading_date for name in ticks})

    async def drop(self, asleep: AsleepSeries) -> AsleepSeries:
        """Drop those that are asleep still; what was dropped.

        Raises:
            WorkersRunning, DropRefused: nothing was dropped.
            BarstreamError: a partition cannot be written.
        """
        self.progress = lambda _: None
        numbers = sorted(await held(self._cluster, self._cluster.names.ticks))
        topics = *self._cluster.names.bars, self._cluster.names.series
        async with fenced_partitions(
            self._cluster, numbers, topics, DropRefused, "withdrawn"
        ) as producers:
            ends = await held(self._cluster, self._cluster.names.ticks)
            found = await self.look()
            left = {name: n for name, n in found.ticks.items() if name in asleep.ticks}
            found = AsleepSeries(left, {name: found.last_dates[name] for name in left})
            if left:
                flush = await self._flush(left.keys(), ends)
                await producers[numbers[0]].write(flush.rows)
        return found

    async def _count(self, asleep: Collection[Series], spans: Mapping[int, Span]) -> None:
        """By series and partition, the ticks of those that sleep."""
        self._there = {name: Counter() for name in asleep}
        async for chunk in chunks(self._cluster, self._cluster.names.ticks, spans):
            columns = await self._decoder.decoded(chunk.values, chunk.timestamps_us)
            withdrawn = self._rows[chunk.partition].withdrawn(chunk.partition)
            columns, _ = withdrawn.split(columns, chunk.offsets)
            counts = np.bincount(columns.series, minlength=len(columns.names)).tolist()
            for name, count in zip(columns.names, counts, strict=True):
                if count and name in self._there:
                    self._there[name][chunk.partition] += count
            self.progress(len(chunk))

    async def _flush(self, asleep: Collection[Series], ends: Mapping[int, Span]) -> Flush:
        names, at_us = self._cluster.names, self._clock()
        beats = await held(self._cluster, names.heartbeats)
        records = self._records
        flush = Flush()
        whole: dict[Series, WithdrawalRow | None] = {
            name: None if records is None else records.withdrawal(name) for name in asleep
        }
        for partition in sorted(ends):
            end = WithdrawnEnd(ends[partition].end, beats[partition].end)
            keys = await self._keys(asleep, partition)
            for name in asleep:
                before = self._rows[partition].withdrawals.get(name)
                part = Holding(
                    partition, self._there[name][partition], end, {}, keys.get(name, {}), 0,
                    self._seen[name].partition == partition, before,
                )  # fmt: skip
                if part.is_empty:
                    continue
                row = WithdrawalRow(*name, at_us, {partition: end})
                whole[name] = row.joined(whole[name])
                for place, rows in tombstones(names, part, row.joined(before)).rows.items():
                    flush.add(*place, rows)
        for row_of_all in whole.values():
            if row_of_all is not None:
                add_last(flush, names, row_of_all, records)
        return flush

    async def _keys(
        self, asleep: Collection[Series], partition: int
    ) -> dict[Series, dict[str, list[bytes]]]:
        """By series and topic the keys that get a tombstone."""
        names, found = self._cluster.names, dict[Series, dict[str, list[bytes]]]()
        for topic in (*names.bars, names.heartbeats):
            for key in sorted(await newest_values(self._cluster, topic, partition)):
                try:
                    name = split_bar_key(key)[:2]
                except ValueError:
                    continue  # another program wrote it
                if name in asleep:
                    found.setdefault(name, {}).setdefault(topic, []).append(key)
        for name in asleep:
            if name in self._rows[partition].series:
                found.setdefault(name, {})[names.series] = [series_key(*name)]
        return found
