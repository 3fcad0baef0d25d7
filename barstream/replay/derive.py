"""One partition derived anew: the log through an engine, and its bars into shadow topics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.kafka.cluster import Cluster
from barstream.kafka.flush import Flush, Row
from barstream.kafka.topic_identity import identity_of
from barstream.kafka.writer import PartitionWriter
from barstream.log.snapshot import chunks, parts
from barstream.log.tick_decoder import Decoders
from barstream.market.schedule import Series
from barstream.model.key import bar_key
from barstream.model.period import MINUTE, Period
from barstream.model.time import DAY_US, ceil_minute
from barstream.partition.counts import Counts
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.partition.outbox import Emission
from barstream.replay.finals_store import ReplayFinals
from barstream.replay.heartbeats import Beats
from barstream.replay.published_bars import (
    Known,
    ahead_of_clock,
    known_of,
    published_before,
)
from barstream.replay.request import Job, Request
from barstream.replay.rules import RulesInTurn
from barstream.replay.scope import Derived, Scope, SeriesScope
from barstream.replay.seed import seed
from barstream.replay.shadow_topics import ShadowTopics
from barstream.replay.tick_block import TicksInRange, blocks, placed, without_rejected
from barstream.rules.series import FOREVER_US, NEVER_US
from barstream.runtime.flush import build_flush, by_period

_STAMP_BYTES: Final = len("2013-01-01T22:00:00Z")

Report = Callable[[int], None]
"""Told how many offsets were passed just now."""


async def derive(job: Job, report: Report) -> Derived:
    """Replay one partition into its shadow topics, which are empty.

    Raises:
        BarstreamError: the topics cannot be read, or not be written.
    """
    settings = job.request.settings
    cluster = Cluster(settings)
    names = cluster.names
    identity = await identity_of(cluster, names.ticks)
    known = await known_of(job, cluster, identity)
    before = await published_before(job, cluster, known.starts)
    producer = PartitionWriter(
        cluster, f"{settings.app_id}-replay-{job.request.suffix}-{job.partition}"
    )
    with TemporaryDirectory(prefix="barstream-replay-") as directory:
        book = ReplayFinals(Path(directory), job.partition, names.rollups)
        try:
            await producer.start()
            book.cut_us = known.cut_us
            run = _Run(job, cluster, known, book, producer)
            run.firsts = seed(run.engine, book, known.starts, before)
            return await run.through(report)
        finally:
            await producer.stop()
            book.close()


@dataclass
class _Bounds:
    """From the first minute to the last bar that is asked for."""

    from_us: int
    to_us: int
    #: Until all children of these bars are there.
    fold_to_us: int | None

    @classmethod
    def of(cls, request: Request, periods: tuple[Period, ...]) -> _Bounds:
        from_us = NEVER_US if request.from_us is None else ceil_minute(request.from_us)
        if request.to_us is None:
            return cls(from_us, FOREVER_US, None)
        last_us = request.to_us - 1
        ends = [request.to_us]
        for period in periods:
            if period.is_intraday:
                ends.append(last_us + period.size_us)
            else:
                # a trading date may lie a day or two beside the calendar's
                start_us = period.floor_date(last_us // DAY_US + 1) * DAY_US
                ends.append(period.advance(start_us) + 2 * DAY_US)
        return cls(from_us, request.to_us, ceil_minute(max(ends)))


@dataclass
class _Run:
    """An engine between the log and the shadow topics."""

    job: Job
    cluster: Cluster
    known: Known
    book: ReplayFinals
    producer: PartitionWriter
    firsts: dict[Series, dict[Period, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        request, names = self.job.request, self.cluster.names
        self.in_turn = RulesInTurn(
            self.known.regimes, self.known.ticks.begin,
            request.settings.heartbeats.feed_delay_us,
        )  # fmt: skip
        provider = self.in_turn.provider
        homes = request.homes
        self.engine = PartitionMachine(
            self.job.partition,
            self.in_turn.rules,
            provider,
            lambda broker, symbol: homes.get((broker, symbol)),
            MachineOptions(
                tuple(names.rollups), names.live_rollups, self.in_turn.row.publish_off_session
            ),
            book=self.book,
        )
        self.engine.state.use_schedule(provider.index)
        self.engine.restored([str(period) for period in names.rollups])
        self.engine.position = self.known.ticks.begin
        self.bounds = _Bounds.of(request, self.engine.rollups.periods)
        self.outputs = ShadowTopics(names, request.suffix).outputs
        self.counts = Counts()
        self.finals: dict[str, int] = {}
        #: Offsets of ticks of the block that lie after the range: rejected or not, they are no
        #: part of it.
        self.after: set[int] = set()
        self.series_rows: list[Row] = []
        #: Where timestamps are not the broker's: also what the clock of a worker has refused.
        self.refused: pl.DataFrame | None = None

    async def through(self, report: Report) -> Derived:
        """From the first block to the last."""
        known = self.known
        decoders = Decoders(self.job.request.settings.ticks, known.regimes)
        in_range = TicksInRange(
            self.job.request.wanted,
            {name: start.start_us for name, start in known.starts.items()},
            self.bounds.from_us,
            self.bounds.fold_to_us,
            whole=self.job.request.is_whole,
        )
        beats = Beats(known.beats)
        spans = {self.job.partition: known.ticks}
        if not known.ticks.is_empty:
            async for block in blocks(chunks(self.cluster, self.cluster.names.ticks, spans)):
                if not block.append_time and self.refused is None:
                    ahead = await ahead_of_clock(self.job, self.cluster)
                    self.refused = pl.concat([known.rejected, ahead])
                for part in parts(block, known.regimes.begin.tolist()):
                    await self._change_rules(part.start, beats)
                    await decoders.fetch(part)
                    await self._apply(part, decoders.decode(part), in_range, beats)
                report(block.next_offset - block.start)
        await self._change_rules(known.ticks.end, beats)
        beats.give(self.engine, known.ticks.end, self.in_turn.number)
        self.engine.release()
        return await self._finish()

    async def _change_rules(self, offset: int, beats: Beats) -> None:
        """Go on by the rules that held from an offset on."""
        for _ in self.in_turn.reach(offset, self.engine, beats):
            await self._flush()

    async def _apply(
        self, block: RecordChunk, decoded: TickColumns, in_range: TicksInRange, beats: Beats
    ) -> None:
        decoded, _ = self.known.withdrawn.split(decoded, block.offsets)
        placed_us = placed(decoded, self.in_turn.provider.index)
        columns = in_range.of(decoded, placed_us, self._closed_us)
        stays = self.known.rejected if block.append_time else self.refused
        if stays is not None:
            columns = without_rejected(columns, block, stays)
        beats.give(self.engine, block.next_offset, self.in_turn.number)
        if self.bounds.to_us < FOREVER_US:
            late = placed(columns, self.in_turn.provider.index) >= self.bounds.to_us
            places = late.nonzero()[0] if columns.index is None else columns.index[late]
            self.after = set(block.offsets[places].tolist())
        self.engine.release()
        while not self.engine.apply_ticks(block, columns, 0, at_end=False):
            await self._flush()
        await self._flush()

    def _closed_us(self, broker: str, symbol: str) -> int:
        series = self.engine.state.get(broker, symbol)
        return NEVER_US if series is None else int(self.engine.state.closed_until_us[series.slot])

    async def _flush(self) -> None:
        """Write all that waits, in as many transactions as the engine makes of it."""
        while self.engine.outbox.has_finals or self.engine.outbox.backlog:
            await self._write()
            self.engine.release()  # what waited for room

    async def _write(self) -> None:
        emitted = self.engine.take(live=False)
        flush = self._flush_of(emitted)
        if len(flush):
            await self.producer.write(flush.rows)
        self.book.keep(MINUTE, emitted.finals)
        for period, bars in by_period(emitted.rollups).items():
            self.book.keep(period, bars)
        self._count(emitted)

    def _flush_of(self, emitted: Emission) -> Flush:
        """Bars and rejected ticks in range; the rows of the series come at the end, once."""
        engine, outputs = self.engine, self.outputs
        emitted.rejected = [one for one in emitted.rejected if one.offset not in self.after]
        flush = build_flush(emitted, engine.state, engine.partition, outputs, self.known.topic_id)
        flush.rows.pop((outputs.series_seen, 0), None)
        self.series_rows = flush.rows.pop((outputs.series, engine.partition), [])
        self._leave_out_what_is_after(flush)
        return flush

    def _leave_out_what_is_after(self, flush: Flush) -> None:
        if self.bounds.to_us == FOREVER_US:
            return
        end = bar_key("", "", ceil_minute(self.bounds.to_us))[-_STAMP_BYTES:]
        for place, rows in list(flush.rows.items()):
            if place[0] == self.outputs.rejected:
                continue
            kept = [row for row in rows if row.key is not None and row.key[-_STAMP_BYTES:] < end]
            if kept:
                flush.rows[place] = kept
            else:
                del flush.rows[place]

    def _count(self, emitted: Emission) -> None:
        to_us = self.bounds.to_us
        for period, bars in {MINUTE: emitted.finals, **by_period(emitted.rollups)}.items():
            some = sum(bar.bucket_start_us < to_us for bar in bars)
            self.finals[str(period)] = self.finals.get(str(period), 0) + some
        counts = self.engine.take_counts()
        self.counts.accepted += counts.accepted
        self.counts.early_heartbeats += counts.early_heartbeats
        self.counts.unpriced_minutes += counts.unpriced_minutes
        for reason, count in counts.rejected.items():
            self.counts.reject(reason, count)

    async def _finish(self) -> Derived:
        """Bars that are still open, how the series stand, and last of all what is covered."""
        await self._flush()
        derived = self._derived()
        self.engine.outbox.touch(series.slot for series in self.engine.state)
        flush = self._flush_of(self.engine.take(live=True))
        rows = [Row(key, value) for key, value in Scope(derived, self._scopes()).rows()]
        flush.add(self.outputs.series, self.engine.partition, [*self.series_rows, *rows])
        await self.producer.write(flush.rows)
        return derived

    def _derived(self) -> Derived:
        request, counts, ticks = self.job.request, self.counts, self.known.ticks
        return Derived(
            self.job.partition,
            ticks.begin,
            ticks.end,
            self.bounds.from_us,
            self.bounds.to_us,
            request.wanted.broker,
            request.wanted.symbol,
            request.recorded,
            self.engine.state.rules.grace_us,
            self.engine.state.rules.late_policy,
            counts.accepted,
            self.finals,
            {str(reason): count for reason, count in counts.rejected.items()},
            sum(start.later for start in self.known.starts.values()),
            self.known.unreliable if request.recorded else 0,
            counts.early_heartbeats,
            counts.unpriced_minutes,
        )

    def _scopes(self) -> dict[Series, SeriesScope]:
        state, rollups = self.engine.state, self.engine.rollups
        scopes: dict[Series, SeriesScope] = {}
        for series in state:
            name = series.broker, series.symbol
            start = self.known.starts.get(name)
            start_us = self.bounds.from_us if start is None else start.start_us
            uppers: dict[str, tuple[int, int]] = {}
            for period in rollups.periods:
                latest_us = rollups.latest_bucket_us(series, period)
                first_us = self.firsts.get(name, {}).get(period, start_us)
                end_us = NEVER_US if latest_us is None else latest_us
                over = rollups.is_latest_final(series, period)
                uppers[str(period)] = first_us, end_us + over
            closed_us = int(state.closed_until_us[series.slot])
            scopes[name] = SeriesScope(start_us, closed_us, uppers, series.previous_close)
        return scopes
