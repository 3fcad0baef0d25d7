"""Dropping a series: the way back from a wrong load.

Its bars, heartbeats and state are withdrawn with tombstones; its ticks stay, for their topic is a
log, and a row says that those below an offset are withdrawn (`barstream.codecs.withdrawal`).

A partition is dropped in one transaction with the transactional id of its worker, so a worker that
comes up meanwhile is fenced or fences the drop.  The partition that has bars or state comes last:
what is done before it only says of ticks that made no bar that they never will.  A drop that was
ended on the way is done again, and finds what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from barstream.codecs.load_position import LoadPosition
from barstream.codecs.load_position import decode as decode_position
from barstream.codecs.ticks import TickDecoder
from barstream.codecs.withdrawal import (
    WithdrawalRow,
    WithdrawnEnd,
    encode_withdrawal,
    is_withdrawal_key,
)
from barstream.config import Settings
from barstream.consumer_group import require_no_workers
from barstream.core.keys import series_key, split_bar_key
from barstream.core.period import MINUTE, Period
from barstream.core.schedule import Series
from barstream.core.time import SECOND_US, iso_from_us
from barstream.core.universe import SeriesSeen, did_you_mean, nearest_series
from barstream.engine.fence import fenced_partitions
from barstream.engine.rows import Flush, Row
from barstream.errors import BarstreamError
from barstream.feeds.positions import LoadRecords, positions_topic, read_records
from barstream.history.reading import Span, chunks, held, newest_values
from barstream.history.selection import Selection
from barstream.history.series import series_rows, series_seen
from barstream.kafka import admin_client, client_options
from barstream.topics import TopicNames
from barstream.transport.chunk import RecordChunk

#: A feed that sent a tick so lately is live.
_LIVE_US: Final = 300 * SECOND_US
#: A load that wrote so lately may go on.
_LOADS_US: Final = 60 * SECOND_US


class DropRefused(BarstreamError):
    """A series cannot be dropped now, or there is nothing to drop; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Finals of one timeframe: how many, and from which bucket to which, microseconds."""

    count: int
    first_us: int
    last_us: int

    def joined(self, other: Bars | None) -> Bars:
        """With those of another partition."""
        if other is None:
            return self
        return Bars(
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
    bars: dict[str, Bars]
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
    bars: dict[str, Bars]
    heartbeats: int
    ends: dict[int, int]
    """By partition the offset below which ticks are withdrawn."""

    @classmethod
    def of(cls, parts: Sequence[Holding]) -> Total:
        """The sum of what partitions have."""
        bars: dict[str, Bars] = {}
        for part in parts:
            for timeframe, some in part.bars.items():
                bars[timeframe] = some.joined(bars.get(timeframe))
        return cls(
            sum(part.ticks for part in parts), bars, sum(part.heartbeats for part in parts),
            {part.partition: part.end.ticks for part in parts if not part.is_empty},
        )  # fmt: skip


@dataclass
class Drop:
    """One series, on its way out.

    Args:
        settings: completed by the pipeline's declaration.
        name: of the series, normalised.
        clock: microseconds since the epoch.
        progress: told how many ticks more were read.
    """

    settings: Settings
    name: Series
    clock: Callable[[], int]
    progress: Callable[[int], None] = lambda _: None
    seen: SeriesSeen | None = None
    #: The topic of load positions, if there is one.
    records: LoadRecords | None = None
    _names: TopicNames = field(init=False)
    _options: dict[str, Any] = field(init=False)
    _decoder: TickDecoder = field(init=False)

    def __post_init__(self) -> None:
        self._names = TopicNames.of(self.settings)
        self._options = client_options(self.settings)
        # one for all partitions: it remembers the schemas of a registry
        self._decoder = TickDecoder(
            self.settings.ticks, max_future_skew_us=self.settings.bars.max_future_skew_us
        )

    @property
    def _spelled(self) -> str:
        return " ".join(self.name)

    async def outlook(self, partitions: Sequence[int]) -> list[Holding]:
        """What would be withdrawn; nothing is written, nobody is fenced.

        Raises:
            WorkersRunning: they would not know of it.
            DropRefused: the feed is live, the series is being loaded, or nobody knows it.
            BarstreamError: a topic cannot be read.
        """
        await require_no_workers(self.settings)
        universe = await series_seen(self._options, self._names.series_seen)
        self.seen = universe.get(self.name)
        loads = positions_topic(self.settings)
        async with admin_client(self.settings) as admin:
            there = loads in await admin.list_topics()  # asking for its end could create it
        self.records = await read_records(self._options, loads) if there else None
        spans = await held(self._options, self._names.ticks, partitions)
        found = [await self._holding(number, spans[number]) for number in sorted(partitions)]
        if all(part.is_empty and part.before is None for part in found):
            hint = did_you_mean(nearest_series(self.name, universe))
            raise DropRefused(
                f"a series that has ticks or bars is required, {self._spelled} has none{hint}"
            )
        self.refuse_loading({part.partition for part in found if not part.is_empty})
        return sorted(found, key=lambda part: (part.is_known, part.partition))

    async def run(self, outlook: Sequence[Holding]) -> list[Holding]:
        """Withdraw it; what was withdrawn, by partition.

        Args:
            outlook: what `outlook` gave; what has come since is withdrawn as well.

        Raises:
            WorkersRunning, DropRefused: as `outlook`; partitions before are done.
            BarstreamError: a partition cannot be written.
        """
        at_us = self.clock()
        todo = [part for part in outlook if not part.is_empty]
        whole = self._before(outlook)
        done: list[Holding] = []
        for part in todo:
            number = part.partition
            async with fenced_partitions(
                self.settings, [number], (*self._names.bars, self._names.series), DropRefused,
                "withdrawn",
            ) as producers:  # fmt: skip
                now = await self._again(part)
                row = WithdrawalRow(*self.name, at_us, {number: now.end})
                whole = row.joined(whole)
                flush = tombstones(self._names, now, row.joined(now.before))
                if part is todo[-1]:
                    add_last(flush, self._names, whole, self.records)
                await producers[number].write(flush.rows)
            done.append(now)
        return done

    # -- what there is ----------------------------------------------------------------------------

    async def _holding(self, partition: int, ticks: Span) -> Holding:
        names, options = self._names, self._options
        spans = await held(options, names.series, [partition])
        rows = (await series_rows(options, names.series, spans))[partition]
        before = rows.withdrawals.get(self.name)
        known = rows.withdrawn(partition).end(self.name)
        count = await self._count(partition, Span(max(ticks.begin, known.ticks), ticks.end))
        keys: dict[str, list[bytes]] = {}
        bars: dict[str, Bars] = {}
        for period, topic in self._finals().items():
            if found := await self._keys(topic, partition):
                keys[topic] = found
                buckets = [split_bar_key(key)[2] for key in found]
                bars[period.timeframe] = Bars(len(found), min(buckets), max(buckets))
        for topic in (names.live_1m, *names.live_rollups.values()):
            if found := await self._keys(topic, partition):
                keys[topic] = found
        # their end first: one that comes after it is not withdrawn
        beats_end = (await held(options, names.heartbeats, [partition]))[partition].end
        beats = await self._keys(names.heartbeats, partition)
        if beats:
            keys[names.heartbeats] = beats
        if self.name in rows.series:
            keys[names.series] = [series_key(*self.name)]
        end = WithdrawnEnd(max(ticks.end, known.ticks), max(beats_end, known.heartbeats))
        is_home = self.seen is not None and self.seen.partition == partition
        return Holding(partition, count, end, bars, keys, len(beats), is_home, before)

    async def _again(self, part: Holding) -> Holding:
        """What a partition has now; ticks that were counted are not read again."""
        spans = await held(self._options, self._names.ticks, [part.partition])
        span = spans[part.partition]
        now = await self._holding(part.partition, Span(max(span.begin, part.end.ticks), span.end))
        return replace(now, ticks=part.ticks + now.ticks)

    async def _keys(self, topic: str, partition: int) -> list[bytes]:
        wanted = Selection(*self.name)
        return sorted(await newest_values(self._options, topic, partition, wanted))

    def _finals(self) -> dict[Period, str]:
        return {MINUTE: self._names.final_1m, **self._names.rollups}

    async def _count(self, partition: int, span: Span) -> int:
        """How many ticks of the series there are.

        Raises:
            DropRefused: one of them is of a feed that is live.
        """
        decoder = self._decoder
        count = 0
        async for chunk in chunks(self._options, self._names.ticks, {partition: span}):
            if missing := decoder.missing_schema_ids(chunk.values):
                await decoder.fetch_schemas(missing)
            columns = decoder.decode(chunk.values, chunk.timestamps_us)
            if self.name in columns.names:
                mine = columns.series == columns.names.index(self.name)
                places = np.flatnonzero(mine)
                at = places if columns.index is None else columns.index[places]
                self._refuse_live(chunk, at, columns.time_us[places])
                count += len(places)
            self.progress(len(chunk))
        return count

    # -- what keeps it from being dropped ---------------------------------------------------------

    def _refuse_live(self, chunk: RecordChunk, at: Any, time_us: Any) -> None:
        """A tick that came as it happened, minutes ago: the next would begin the series anew."""
        heartbeats = self.settings.heartbeats
        late_us = heartbeats.feed_delay_us.get(self.name[0], 0) + self.settings.bars.grace_us
        since_us = self.clock() - _LIVE_US
        stamps = chunk.timestamps_us[at]
        live = time_us >= since_us - late_us
        if chunk.append_time:
            live &= (stamps - time_us <= late_us) & (stamps >= since_us)
        if live.any():
            place = int(np.flatnonzero(live)[-1])
            raise DropRefused(
                f"a feed that was stopped is required, but {self._spelled} is live: its tick at "
                f"offset {int(chunk.offsets[at[place]])} of {chunk.topic}[{chunk.partition}] came "
                f"as it happened, at {iso_from_us(int(time_us[place]))}. Stop the feed, and drop "
                f"it {_LIVE_US // (60 * SECOND_US)} minutes after its last tick"
            )

    def refuse_loading(self, mine: Collection[int]) -> None:
        """A load that still runs would go on where it is, with the rest of its file.

        Args:
            mine: partitions that have something of the series.

        Raises:
            DropRefused: one wrote to them in the last minute.
        """
        for position in self._loads():
            age_us = self.clock() - position.updated_at_us
            if not position.done and age_us < _LOADS_US and position.last_ticks.keys() & mine:
                raise DropRefused(
                    f"a load that has ended is required, but that of {position.file} wrote tick "
                    f"{position.rows:,} of {position.total:,} {max(0, age_us) // SECOND_US} s ago: "
                    f"let it end, or end it with Ctrl-C and wait {_LOADS_US // SECOND_US} s"
                )

    def _loads(self) -> list[LoadPosition]:
        found = []
        for key, value in ({} if self.records is None else self.records.by_key).items():
            if is_withdrawal_key(key):
                continue
            try:
                position = decode_position(value)
            except ValueError:
                continue  # the load it is of says so
            if position.ticks_topic == self._names.ticks:
                found.append(position)
        return found

    # -- what is written --------------------------------------------------------------------------

    def _before(self, parts: Sequence[Holding]) -> WithdrawalRow | None:
        """What was withdrawn before, of all partitions."""
        row = None if self.records is None else self.records.withdrawal(self.name)
        for part in parts:
            if part.before is not None:
                row = part.before.joined(row)
        return row


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
