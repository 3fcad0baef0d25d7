"""Verifying one partition: read what it says of itself, scan its ticks once, compare.

In this order, so that it holds while workers run: how far things have come first, then what was
published by then, then the ticks all of that needs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from barstream.codecs.ticks import TickColumns, TickDecoder
from barstream.core.period import DAY, MINUTE, Period
from barstream.core.schedule import AlwaysOpenIndex
from barstream.core.time import MINUTE_US
from barstream.history.heartbeats import heartbeats
from barstream.history.reading import Span, chunks, held, offsets_at
from barstream.history.rejected import rejected
from barstream.history.schedule import ScheduleRecord, schedule_index, schedule_records
from barstream.history.series import PartitionRows, series_rows, series_seen
from barstream.kafka import client_options
from barstream.topics import TopicNames
from barstream.transport.chunk import RecordChunk
from barstream.verify.changes import ScheduleChanges
from barstream.verify.closes import CloseRules, Closes
from barstream.verify.complete import Bounds, Completeness
from barstream.verify.findings import Finding
from barstream.verify.judging import Block, Judge
from barstream.verify.live import check_live, newest_live
from barstream.verify.names import SeriesNumbers
from barstream.verify.proof import Heartbeats
from barstream.verify.published import Published, longs, read_published
from barstream.verify.refusals import Refusals
from barstream.verify.scan import Reach, Scan
from barstream.verify.task import Outcome, Progress, Task
from barstream.verify.uppers import SeriesStand, Uppers, in_order, true_minutes

_NEVER_US: Final = -(1 << 60)
#: Ticks are compared so many at a time: few calls, and memory bounded.
_BLOCK: Final = 200_000


@dataclass(slots=True)
class Snapshot:
    """What the topics said beside the ticks, at one point of the log.

    Attributes:
        rows: positions and series when the look began.
        rows_now: those that changed until everything was read.
        position: no bar that was read closes above it.
        index, records: the schedule.
    """

    rows: PartitionRows
    rows_now: PartitionRows
    position: int
    published: Published
    uppers: dict[Period, Published]
    refusals: Refusals
    beats: Heartbeats
    judge: Judge
    changes: ScheduleChanges
    #: Extent of the tick partition.
    ticks: Span


class Verification:
    """One partition.

    Args:
        task: what is to be verified.
        progress: told about ticks read.
    """

    def __init__(self, task: Task, progress: Progress) -> None:
        self._task = task
        self._progress = progress
        self._settings = task.settings
        self._names = TopicNames.of(task.settings)
        self._options = client_options(task.settings)
        self._partition = task.partition
        self.series = SeriesNumbers()
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """Verify it.

        Raises:
            BarstreamError: a topic cannot be read.
        """
        began = time.monotonic()
        snapshot = await self._look()
        scan, end = await self._scan(snapshot)
        ticks = scan.finish(end)
        bars = self._settings.bars
        closes = Closes(
            self._partition, self.series, snapshot.published, ticks, snapshot.beats,
            CloseRules(
                bars.grace_us, bars.late_policy == "revise", snapshot.ticks.begin,
                snapshot.position,
            ),
            snapshot.changes, self.outcome.findings,
        )  # fmt: skip
        closes.check()
        closes.check_late(scan)
        complete = Completeness(
            self._partition, self.series, snapshot.published, ticks, scan.loose, snapshot.judge,
            snapshot.changes, bars.inactive_after, self.outcome.findings,
        )  # fmt: skip
        for number, name in enumerate(self.series.names):
            if self._task.wanted.has_series(*name):
                complete.check(number, self._bounds(snapshot, scan, number))
        for finding in self.outcome.findings.kept:
            if finding.rule == "field" and finding.bucket_us is not None and finding.broker:
                finding.closed_by = closes.describe(
                    (finding.broker, finding.symbol or ""), finding.bucket_us
                )
        self._check_uppers(snapshot, complete, ticks.corrected, closes.wrong)
        self.outcome.sessions = complete.sessions
        self.outcome.accounts = scan.accounts
        self.outcome.bars = {"1m": len(snapshot.published.bars)} | {
            period.timeframe: len(found.bars) for period, found in snapshot.uppers.items()
        }
        self.outcome.causes = closes.causes
        self.outcome.series = sum(self._task.wanted.has_series(*n) for n in self.series.names)
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    # -- what is read before the ticks ----------------------------------------------------------

    async def _look(self) -> Snapshot:
        options, names, partition = self._options, self._names, self._partition
        here = (partition,)
        rows_span = (await held(options, names.series, here))[partition]
        rows = (await series_rows(options, names.series, {partition: rows_span}))[partition]
        for name in rows.series:
            self.series.number(name)
        records = await self._schedule()
        index = schedule_index(records) if self._settings.bars.schedule else AlwaysOpenIndex()
        homes = {
            name: row.partition
            for name, row in (await series_seen(options, names.series_seen)).items()
        }
        published = await self._published(MINUTE, names.final_1m)
        uppers = {
            period: await self._published(period, names.rollups[period])
            for period in in_order(self._task.periods)
        }
        await self._check_live(published, MINUTE, names.live_1m)
        for period, found in uppers.items():
            if period in names.live_rollups:
                await self._check_live(found, period, names.live_rollups[period])
        span = (await held(options, names.ticks_rejected, here))[partition]
        refused = await rejected(options, names.ticks_rejected, {partition: span}, names.ticks)
        beats_span = (await held(options, names.heartbeats, here))[partition]
        beats = await heartbeats(options, names.heartbeats, {partition: beats_span})
        rows_now = await self._rows_since(rows_span.end)
        position = rows_now.position or rows.position
        return Snapshot(
            rows=rows,
            rows_now=rows_now,
            position=0 if position is None else position.next_offset,
            published=published,
            uppers=uppers,
            refusals=Refusals(refused, partition, span.begin),
            beats=Heartbeats(beats, self.series, self._settings.bars.grace_us, beats_span.begin),
            judge=Judge(partition, self.series, self._task.wanted, index, homes),
            changes=ScheduleChanges(records),
            ticks=(await held(options, names.ticks, here))[partition],
        )

    async def _schedule(self) -> list[ScheduleRecord]:
        if not self._settings.bars.schedule:
            return []
        return await schedule_records(self._options, self._names.market_schedule)

    async def _published(self, period: Period, topic: str) -> Published:
        span = (await held(self._options, topic, (self._partition,)))[self._partition]
        return await read_published(
            self._options, topic, self._partition, span, self._task.wanted, self.series,
            self.outcome.findings, period.timeframe,
        )  # fmt: skip

    async def _check_live(self, published: Published, period: Period, topic: str) -> None:
        span = (await held(self._options, topic, (self._partition,)))[self._partition]
        live = await newest_live(self._options, topic, self._partition, span, self._task.wanted)
        check_live(
            published, live, span.begin, self.series, self._partition, period.timeframe,
            self.outcome.findings,
        )  # fmt: skip

    async def _rows_since(self, since: int) -> PartitionRows:
        """The rows written since: every final that was read belongs to their position."""
        partition = self._partition
        now = (await held(self._options, self._names.series, (partition,)))[partition]
        tail = Span(max(since, now.begin), now.end)
        return (await series_rows(self._options, self._names.series, {partition: tail}))[partition]

    # -- the ticks ------------------------------------------------------------------------------

    async def _scan(self, snapshot: Snapshot) -> tuple[Scan, int]:
        """Scan the ticks; returns the scan and the offset it came to."""
        position = snapshot.rows.position
        applied = 0 if position is None else position.next_offset
        closed = [snapshot.rows.series.get(name) for name in self.series.names]
        reach = Reach(
            snapshot.ticks.begin,
            applied,
            np.array(
                [
                    _NEVER_US if row is None or row.closed_until_us is None else row.closed_until_us
                    for row in closed
                ],
                np.int64,
            ),
        )
        scan = Scan(
            self._partition, self.series, snapshot.published, snapshot.judge, snapshot.refusals,
            reach, self._task.wanted, snapshot.changes, self.outcome.findings,
            publishes_off_session=self._settings.bars.publish_off_session,
        )  # fmt: skip
        last = longs(snapshot.published.bars, "close_offset")
        needed = max(applied, int(last.max()) if len(last) else 0)
        span = Span(snapshot.ticks.begin, min(needed, snapshot.ticks.end))
        if applied > snapshot.ticks.end:
            self.outcome.findings.add(
                Finding(
                    "difference", "position", self._partition,
                    f"the position is {applied}, but the tick topic ends at "
                    f"{snapshot.ticks.end}: it was deleted and made again, or truncated",
                )
            )  # fmt: skip
        span = await self._from(span)
        end = span.begin
        blocks = _Blocks(scan, snapshot.judge, applied, span.begin)
        decoder = TickDecoder(
            self._settings.ticks, max_future_skew_us=self._settings.bars.max_future_skew_us
        )
        await decoder.start()
        async for chunk in chunks(self._options, self._names.ticks, {self._partition: span}):
            if missing := decoder.missing_schema_ids(chunk.values):
                await decoder.fetch_schemas(missing)
            blocks.add(chunk, decoder.decode(chunk.values, chunk.timestamps_us))
            self._progress(len(chunk))
            end = chunk.next_offset
        blocks.end(end)
        return scan, end

    async def _from(self, span: Span) -> Span:
        """Where the ticks of the range may begin.

        An event time lies at most the allowed skew after the record's timestamp, or the tick is
        no tick: so those of the range were not stored before its beginning less the skew.
        """
        from_us = self._task.wanted.from_us
        if from_us is None:
            return span
        since_us = from_us - self._settings.bars.max_future_skew_us - MINUTE_US
        found = await offsets_at(
            self._options, self._names.ticks, {self._partition: span}, since_us
        )
        first = max(span.begin, found[self._partition])
        return Span(first, max(first, span.end))

    def _check_uppers(
        self,
        snapshot: Snapshot,
        complete: Completeness,
        corrected: dict[int, dict[str, Any]],
        closed_wrong: set[int],
    ) -> None:
        if not self._task.periods:
            return
        bars, wanted = self._settings.bars, self._task.wanted
        both = {
            bar: corrected.get(bar, {}) | complete.corrected.get(bar, {})
            for bar in corrected.keys() | complete.corrected.keys()
        }
        minutes = true_minutes(complete, snapshot.published.bars, both, closed_wrong)
        uppers = Uppers(
            self._partition, self.series, snapshot.judge.hours,
            self._stands(snapshot, minutes), snapshot.changes, bars.inactive_after,
            bars.grace_us,
            lambda start_us, end_us: (
                (wanted.from_us is None or wanted.from_us <= start_us)
                and (wanted.to_us is None or end_us <= wanted.to_us)
            ),
            self.outcome.findings,
        )  # fmt: skip
        days = minutes.clear()
        for period, published in snapshot.uppers.items():
            right = uppers.check(period, days if period.is_made_of_days else minutes, published)
            if period == DAY:
                days = right
        self.outcome.skipped = uppers.skipped

    def _stands(self, snapshot: Snapshot, minutes: pl.DataFrame) -> list[SeriesStand]:
        evidence = snapshot.beats.latest_append_us()
        real = minutes.filter(~pl.col("synthetic")).group_by("series")
        seen_on = dict(real.agg(pl.col("trading_date").max()).iter_rows())
        found: list[SeriesStand] = []
        for number, name in enumerate(self.series.names):
            closed = [
                _NEVER_US if row is None or row.closed_until_us is None else row.closed_until_us
                for rows in (snapshot.rows, snapshot.rows_now)
                for row in [rows.series.get(name)]
            ]
            found.append(
                SeriesStand(
                    closed[0], max(closed), self._kept_us(snapshot.published, number),
                    seen_on.get(number), evidence.get(number, _NEVER_US),
                )
            )  # fmt: skip
        return found

    def _bounds(self, snapshot: Snapshot, scan: Scan, number: int) -> Bounds:
        wanted, grace_us = self._task.wanted, self._settings.bars.grace_us
        row = snapshot.rows.series.get(self.series.names[number])
        until_us = _NEVER_US if row is None else row.closed_until_us or _NEVER_US
        if number < len(scan.at_position):
            reached = int(scan.at_position[number]) - grace_us
            until_us = max(until_us, reached - reached % MINUTE_US)
        if wanted.to_us is not None:
            until_us = min(until_us, wanted.to_us)
        from_us = _NEVER_US if wanted.from_us is None else wanted.from_us
        return Bounds(from_us, until_us, self._kept_us(snapshot.published, number))

    @staticmethod
    def _kept_us(published: Published, number: int) -> int:
        """Minutes before it may have been deleted: those written first go first."""
        if published.begin == 0:
            return _NEVER_US
        bars = published.bars
        mine = bars.filter((bars["series"] == number) & (bars["revision"] == 0))
        if mine.is_empty():
            return 1 << 60
        return int(mine["bucket_us"][mine["offset"].arg_min() or 0])


class _Blocks:
    """Gathers chunks to blocks, and cuts one at the position."""

    def __init__(self, scan: Scan, judge: Judge, position: int, begin: int) -> None:
        self._scan = scan
        self._judge = judge
        self._position = position
        self._begin = begin
        self._parts: list[Block] = []
        self._refused: dict[int, str] = {}
        self._count = 0
        self._passed = False

    def add(self, chunk: RecordChunk, columns: TickColumns) -> None:
        """Take a decoded chunk."""
        block = self._judge.judge(columns, chunk.offsets)
        refused = {int(chunk.offsets[at]): str(reason) for at, reason, _ in columns.rejected}
        cut = self._position
        if not self._passed and chunk.next_offset >= cut:
            below = int(np.searchsorted(block.offset, cut))
            first = {offset: why for offset, why in refused.items() if offset < cut}
            self._put(block.take(slice(None, below)), first)
            self._pass(max(cut, self._begin))
            block = block.take(slice(below, None))
            refused = {offset: why for offset, why in refused.items() if offset >= cut}
        self._put(block, refused)
        if self._count >= _BLOCK:
            self._flush(chunk.next_offset)

    def _put(self, block: Block, refused: dict[int, str]) -> None:
        self._parts.append(block)
        self._refused.update(refused)
        self._count += len(block) + len(refused)

    def _pass(self, position: int) -> None:
        self._flush(position)
        self._scan.position_passed()
        self._passed = True

    def end(self, end: int) -> None:
        """There is no more."""
        self._flush(end)
        if not self._passed:
            self._scan.position_passed()

    def _flush(self, end: int) -> None:
        if self._parts:
            self._scan.take(Block.joined(self._parts), self._refused, self._begin, end)
        self._begin, self._parts, self._refused, self._count = end, [], {}, 0
