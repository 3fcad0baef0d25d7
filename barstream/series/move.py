"""Moving a series: another partition becomes its home, with all its history.

The order of a partition is what bars are made by, so what a series is made of moves with it: its
accepted ticks are appended to the other partition, and where they were the series is dropped
(`barstream.series.drop`).  All of it is one transaction::

    home       ... x x x x x | withdrawn                 x: ticks of the series
    other      ... s s s     | x x x x x s s | feed ...  s: came here, and were rejected
                   withdrawn   copies

Before anything is written its bars are made anew from the copies, by the rules of now, and compared
with those there are: where one would be another the series stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickDecoder
from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import encode as encode_heartbeat
from barstream.codecs.topics.series_seen import encode as encode_seen
from barstream.codecs.topics.withdrawal import WithdrawalRow
from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.feeds.load_positions import load_records
from barstream.kafka.clients import TopicPartition, make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.consumer_group import require_no_workers
from barstream.kafka.fence import fenced_partitions
from barstream.kafka.flush import Flush, Row
from barstream.log.compaction import newest_values
from barstream.log.rejections import rejected
from barstream.log.selection import Selection
from barstream.log.series import PartitionRows, series_rows, series_seen
from barstream.log.snapshot import Span, chunks, held
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, Series
from barstream.market.universe import SeriesSeen, did_you_mean, nearest_series
from barstream.model.bar import Bar
from barstream.model.bar_fields import BAR_FIELDS
from barstream.model.key import BAR_KEY, series_key
from barstream.model.period import MINUTE, Period
from barstream.model.rejection import Reason
from barstream.model.time import iso_from_us
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.replay.run import sessions_in_force
from barstream.rules.series import Rules
from barstream.series.contents import Holding, HoldingReader, tombstones
from barstream.series.drop import refuse_loading

_PIECE: Final = 1 << 16
#: Of a bar, what does not say at which offsets its ticks are, nor how often it was revised.
_content_of: Final = attrgetter(
    *(
        field.attribute
        for field in BAR_FIELDS
        if field.name not in (*BAR_KEY.names, "revision") and not field.is_lineage
    )
)


class MoveRefused(BarstreamError):
    """A series cannot be moved now, or not without changing its bars; the message says which."""


class Copied(NamedTuple):
    """A tick of the series, to be appended to the other partition."""

    time_us: int
    offset: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a move does.

    Attributes:
        home: the partition the series is in.
        to: the one it is moved to.
        history: ticks of its bars, in the order in which they are appended.
        strays: ticks that came in other partitions after those, by time.
        left: ticks that came in other partitions and are no later: they stay rejected.
        bars: finals by timeframe, all of which come again.
        parts: what is withdrawn, by partition.
    """

    home: int
    to: int
    history: Sequence[Copied]
    strays: Sequence[Copied]
    left: int
    bars: Mapping[str, int]
    parts: Sequence[Holding]
    last_final_us: int | None

    @property
    def copies(self) -> list[Copied]:
        """All that are appended, in order."""
        return [*self.history, *self.strays]


@dataclass
class Move:
    """One series, on its way to another partition.

    Args:
        settings: completed by the pipeline's declaration.
        name: of the series, normalised.
        clock: microseconds since the epoch.
        to: the partition.
    """

    settings: Settings
    name: Series
    clock: Callable[[], int]
    to: int
    seen: SeriesSeen | None = None
    _rows: dict[int, PartitionRows] = field(init=False, default_factory=dict)
    _cluster: Cluster = field(init=False)
    _holdings: HoldingReader = field(init=False)

    def __post_init__(self) -> None:
        self._cluster = Cluster(self.settings)
        # whatever its ticks are: it is looked at last whether its feed wrote meanwhile
        self._holdings = HoldingReader(self._cluster, self.name)

    @property
    def _spelled(self) -> str:
        return " ".join(self.name)

    async def look(self) -> Outlook:
        """What would be moved; nothing is written, nobody is fenced.

        Raises:
            WorkersRunning: they would not know of it.
            MoveRefused: there is nothing to move, or its bars would be others.
            DropRefused: the series is being loaded.
            BarstreamError: a topic cannot be read.
        """
        await require_no_workers(self.settings)
        names, cluster = self._cluster.names, self._cluster
        universe = await series_seen(cluster)
        self.seen = universe.get(self.name)
        if self.seen is None:
            hint = did_you_mean(nearest_series(self.name, universe))
            raise MoveRefused(
                f"a series that has a home is required, {self._spelled} has none{hint}"
            )
        ticks = await held(cluster, names.ticks)
        if self.to not in ticks:
            raise MoveRefused(
                f"{names.ticks} has the partitions 0 to {len(ticks) - 1}, found "
                f"--to-partition {self.to}"
            )
        home = self.seen.partition
        if self.to == home:
            raise MoveRefused(f"partition {home} is the home of {self._spelled} already")
        records = await load_records(self.settings)
        self._rows = await series_rows(cluster, names.series, await held(cluster, names.series))
        self._refuse_full()
        parts = [await self._holdings.read(number, ticks[number], home) for number in sorted(ticks)]
        parts = [part for part in parts if not part.is_empty]
        refuse_loading(records, names.ticks, {part.partition for part in parts}, self.clock())
        refused = await self._refused()
        history, strays, left = await self._ticks_of(home, ticks, refused)
        finals = {
            period: await self._published(topic, home)
            for period, topic in self._holdings.finals.items()
        }
        minutes = [bar.bucket_start_us for bar in finals[MINUTE]]
        last_us = max(minutes, default=None)
        self._compare(history, last_us, finals, await self._provider(), home)
        counts = {period.timeframe: len(rows) for period, rows in finals.items() if rows}
        return Outlook(home, self.to, history, strays, left, counts, parts, last_us)

    async def move(self) -> Outlook:
        """Move it; what was moved.

        Raises:
            WorkersRunning, MoveRefused, DropRefused: as `look`; nothing was moved.
            BarstreamError: a partition cannot be written.
        """
        before = await self.look()
        numbers = sorted({*(part.partition for part in before.parts), before.home, self.to})
        topics = *self._cluster.names.bars, self._cluster.names.series
        async with fenced_partitions(
            self._cluster, numbers, topics, MoveRefused, "moved"
        ) as producers:
            found = await self.look()
            ends = await held(self._cluster, self._cluster.names.ticks, [self.to])
            flush = self._flush_of(found)
            await producers[found.home].write(
                flush.rows, behind=lambda written: self._finish(found, ends[self.to].end, written)
            )
        return found

    # -- what there is ----------------------------------------------------------------------------

    def _refuse_full(self) -> None:
        rows, limit = self._rows[self.to], self.settings.bars.max_series
        if len(rows.series) >= limit or (rows.rules and rows.rules[-1].is_full):
            raise MoveRefused(
                f"partition {self.to} must take another series, but it has {len(rows.series)} and "
                f"bars.max_series is {limit}: drop some of them, or raise it and let a worker start"
            )

    async def _refused(self) -> dict[int, dict[int, str]]:
        """By tick partition and offset why a tick was rejected."""
        topic = self._cluster.names.ticks_rejected
        spans = await held(self._cluster, topic)
        found: dict[int, dict[int, str]] = {}
        frame = await rejected(self._cluster, topic, spans, self._cluster.names.ticks)
        for row in frame.iter_rows(named=True):
            found.setdefault(row["tick_partition"], {})[row["tick_offset"]] = row["reason"]
        return found

    async def _ticks_of(
        self, home: int, ticks: Mapping[int, Span], refused: Mapping[int, Mapping[int, str]]
    ) -> tuple[list[Copied], list[Copied], int]:
        """The ticks of its bars, those that came elsewhere after them, and how many before.

        Raises:
            MoveRefused: some were not applied yet.
        """
        history: list[Copied] = []
        position = self._position(home)
        for copied in await self._copied(home, ticks[home]):
            if copied.offset >= position:
                raise MoveRefused(
                    f"all ticks of {self._spelled} must be applied, but those from offset "
                    f"{copied.offset} of partition {home} on are not: start the workers until "
                    "their lag is 0, stop them, and do it again"
                )
            if copied.offset not in refused.get(home, {}):
                history.append(copied)
        history.sort(key=lambda each: (each.time_us, each.offset))
        last_us = history[-1].time_us if history else -1
        elsewhere: list[Copied] = []
        for number in sorted(ticks.keys() - {home}):
            said, position = refused.get(number, {}), self._position(number)
            elsewhere += [
                each
                for each in await self._copied(number, ticks[number])
                if each.offset >= position or said.get(each.offset) == Reason.PARTITION
            ]
        strays = sorted(each for each in elsewhere if each.time_us > last_us)
        return history, strays, len(elsewhere) - len(strays)

    def _position(self, partition: int) -> int:
        position = self._rows[partition].position
        return 0 if position is None else position.next_offset

    async def _copied(self, partition: int, span: Span) -> list[Copied]:
        """The ticks of the series in a partition that are not withdrawn, in offset order."""
        withdrawn = self._rows[partition].withdrawn(partition).end(self.name).ticks
        found: list[Copied] = []
        span = Span(min(max(span.begin, withdrawn), span.end), span.end)
        async for chunk in chunks(self._cluster, self._cluster.names.ticks, {partition: span}):
            places, times_us = await self._holdings.ticks_in(chunk)
            for at, time_us in zip(places.tolist(), times_us.tolist(), strict=True):
                value = chunk.values[at]
                if value is not None:
                    found.append(Copied(time_us, int(chunk.offsets[at]), chunk.keys[at], value))
        return found

    async def _published(self, topic: str, home: int) -> list[Bar]:
        wanted = Selection(*self.name)
        found = await newest_values(self._cluster, topic, home, wanted)
        return [decode_bar(value) for _, value in sorted(found.items())]

    async def _provider(self) -> MarketScheduleProvider:
        """The sessions of now."""
        sessions = await sessions_in_force(self.settings)
        if sessions is None:
            return MarketScheduleProvider.always_open()
        provider = MarketScheduleProvider(self.settings.ticks.name_rule)
        provider.swap(ScheduleIndex.build(sessions))
        return provider

    def _compare(
        self,
        history: Sequence[Copied],
        last_final_us: int | None,
        finals: Mapping[Period, Sequence[Bar]],
        provider: MarketScheduleProvider,
        home: int,
    ) -> None:
        """Refuse where the bars that are made of the copies are not those there are."""
        bars = self.settings.bars
        rules = Rules(
            bars.grace_us, bars.inactive_after, self.settings.heartbeats.feed_delay_us,
            bars.late_policy,
        )  # fmt: skip
        made = made_of(
            self.name, history, last_final_us, rules, provider, self._holdings.decoder,
            tuple(self._cluster.names.rollups), self.clock(),
        )  # fmt: skip
        different = differences(finals, made)
        if different:
            count = sum(map(len, finals.values()))
            period, bucket_us = different[0]
            raise MoveRefused(
                f"the bars of {self._spelled} must come out of its ticks as they are, but "
                f"{len(different):,} of {count:,} would not, the first of them {period} at "
                f"{iso_from_us(bucket_us)}: ticks of them are gone with the retention of "
                f"{self._cluster.names.ticks}, or they were made by other rules or sessions than "
                f"those of now. Let its feed write to partition {home} instead"
            )

    # -- what is written --------------------------------------------------------------------------

    def _flush_of(self, found: Outlook) -> Flush:
        """Everything but the heartbeat: the copies first."""
        flush, names, at_us = Flush(), self._cluster.names, self.clock()
        rows = [Row(each.key, each.value) for each in found.copies]
        flush.add(names.ticks, self.to, rows)
        for part in found.parts:
            row = WithdrawalRow(*self.name, at_us, {part.partition: part.end})
            for place, some in tombstones(names, part, row.joined(part.before)).rows.items():
                flush.add(*place, some)
        if self.seen is not None:
            key = series_key(*self.name)
            seen = encode_seen(self.seen._replace(partition=self.to))
            # a row that names another home counts only after a tombstone
            flush.add(names.series_seen, 0, [Row(key, None), Row(key, seen)])
        return flush

    async def _finish(
        self, found: Outlook, end: int, written: Mapping[tuple[str, int], int]
    ) -> Mapping[tuple[str, int], Sequence[Row]]:
        """Before it is committed: nobody wrote between the copies; the heartbeat behind them."""
        place = self._cluster.names.ticks, self.to
        last = written.get(place)
        if last is None or found.last_final_us is None:
            return {}
        await self._refuse_others(end, last, len(found.copies))
        beat = HeartbeatRecord(*self.name, found.last_final_us, last + 1, self.clock(), "loader")
        return {(self._cluster.names.heartbeats, self.to): [Row(beat.key, encode_heartbeat(beat))]}

    async def _refuse_others(self, begin: int, last: int, copies: int) -> None:
        """Refuse when ticks of the series came between those of the transaction, or before."""
        consumer = make_consumer(self._cluster, committed=False)
        place = TopicPartition(self._cluster.names.ticks, self.to)
        count = 0
        await consumer.start()
        try:
            consumer.assign([place])
            consumer.seek(place, begin)
            while await consumer.position(place) <= last:
                for records in (await consumer.getmany(place, timeout_ms=1_000)).values():
                    some = [each for each in records if each.offset <= last]
                    chunk = _chunk(self._cluster.names.ticks, self.to, some)
                    count += len((await self._holdings.ticks_in(chunk))[0])
        finally:
            await consumer.stop()
        if count != copies:
            raise MoveRefused(
                f"nobody may write ticks of {self._spelled} to partition {self.to} while it is "
                f"moved, but {count - copies:,} came: nothing was moved. Do it again, or stop its "
                "feed for as long as it takes"
            )


def _chunk(topic: str, partition: int, records: Sequence[Any]) -> RecordChunk:
    begin = records[0].offset if records else 0
    return RecordChunk(
        topic, partition, begin, records[-1].offset + 1 if records else 0,
        [each.key for each in records], [each.value for each in records],
        np.array([each.offset for each in records], np.int64),
        np.array([each.timestamp * 1_000 for each in records], np.int64), True,
    )  # fmt: skip


def made_of(
    name: Series,
    ticks: Sequence[Copied],
    last_final_us: int | None,
    rules: Rules,
    provider: MarketScheduleProvider,
    decoder: TickDecoder,
    periods: Sequence[Period],
    now_us: int,
) -> dict[Period, dict[int, Bar]]:
    """The finals that ticks give, by period and bucket, with one heartbeat behind them.

    Args:
        name: of the series.
        ticks: in order.
        last_final_us: the minute of the heartbeat; None: there is none.
        rules: what decides a bar.
        provider: the schedule, ready.
        decoder: what a record means.
        periods: of the upper bars.
        now_us: when they are appended.
    """
    engine = PartitionMachine(
        0, rules, provider, lambda _b, _s: None, MachineOptions(periods=periods)
    )
    engine.state.use_schedule(provider.index)
    found: dict[Period, dict[int, Bar]] = {MINUTE: {}, **{period: {} for period in periods}}

    def keep() -> None:
        pending = engine.take(live=False)
        for bar in pending.finals:
            found[MINUTE][bar.bucket_start_us] = bar
        for period, bar in pending.rollups:
            found[period][bar.bucket_start_us] = bar

    for begin in range(0, len(ticks), _PIECE):
        some = ticks[begin : begin + _PIECE]
        stamps: NDArray[np.int64] = np.full(len(some), now_us, np.int64)
        chunk = RecordChunk(
            "ticks", 0, begin, begin + len(some), [each.key for each in some],
            [each.value for each in some], np.arange(begin, begin + len(some)), stamps, True,
        )  # fmt: skip
        columns = decoder.decode(chunk.values, chunk.timestamps_us)
        while not engine.apply_ticks(chunk, columns, now_us, at_end=False):
            keep()
        keep()
    if last_final_us is not None:
        engine.position = engine.position or 0
        engine.add_heartbeat(QueuedHeartbeat(0, *name, last_final_us, len(ticks), now_us))
        engine.heartbeats_read(1)
        keep()
    return found


def differences(
    published: Mapping[Period, Sequence[Bar]], made: Mapping[Period, Mapping[int, Bar]]
) -> list[tuple[str, int]]:
    """Timeframe and bucket of the bars that are not the same, whatever their offsets are."""
    found: list[tuple[str, int]] = []
    for period, stand in published.items():
        bars = dict(made.get(period, {}))
        for was in stand:
            bar = bars.pop(was.bucket_start_us, None)
            if bar is None or _is_other(was, bar):
                found.append((period.timeframe, was.bucket_start_us))
        last_us = max((bar.bucket_start_us for bar in stand), default=-1)
        found += [(period.timeframe, at) for at in bars if at < last_us]
    return sorted(found, key=lambda each: each[1])


def _is_other(was: Bar, bar: Bar) -> bool:
    """Whether a reader would find other values; a turnover where there was none is welcome."""
    if was.turnover is None:
        bar = bar.replace(turnover=None)
    return bool(_content_of(was) != _content_of(bar))
