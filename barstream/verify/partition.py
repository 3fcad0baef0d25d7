"""Verifying one partition: read what it says of itself, scan its ticks once, compare.

In the order in which `barstream.log.partition_log` reads, so that it holds while workers run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from barstream.codecs.topics.rules import RulesRow
from barstream.kafka.fetch_columns import JudgedBatches
from barstream.log.compaction import newest_records
from barstream.log.heartbeats import heartbeats
from barstream.log.partition_log import PartitionLog
from barstream.log.rejections import rejected
from barstream.log.rules import Regimes
from barstream.log.series import series_seen
from barstream.log.snapshot import Clients, Span, chunks, offsets_at
from barstream.log.tick_decoder import Decoders
from barstream.model.period import MINUTE, Period
from barstream.model.rejection import Reason
from barstream.model.time import MINUTE_US
from barstream.verify.graces import Graces
from barstream.verify.hours import AlwaysOpenHours, HoursIndex
from barstream.verify.judgement import JudgedBy, Judgement, Snapshot
from barstream.verify.live import check_live
from barstream.verify.proof import Heartbeats
from barstream.verify.published_bars import Published, read_published
from barstream.verify.rejection_comparison import Refusals
from barstream.verify.rollups import in_order
from barstream.verify.schedule_changes import ScheduleChanges
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.task import Outcome, Progress, Task
from barstream.verify.tick_class import Judge


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
        self._cluster = Clients(task.settings)
        self._partition = task.partition
        self.series = SeriesNumbers()
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """Verify it.

        Raises:
            BarstreamError: a topic cannot be read.
        """
        began = time.monotonic()
        async with self._cluster:
            await self._verify()
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _verify(self) -> None:
        snapshot = await self._look()
        regimes = snapshot.judge.regimes
        judgement = Judgement(
            snapshot,
            JudgedBy(
                Graces.in_force(regimes, self._task.graces_before_us), regimes, self._task.wanted
            ),
            self.outcome,
        )
        await self._scan(judgement, snapshot)
        judgement.finish()

    # -- what is read before the ticks ----------------------------------------------------------

    async def _look(self) -> Snapshot:
        cluster, names, partition = self._cluster, self._cluster.names, self._partition
        log = await PartitionLog.opened(cluster, partition)
        rows = log.rows
        for name in rows.series:
            self.series.number(name)
        periods = in_order(self._task.periods)
        records, seen, refusals, published, uppers = await asyncio.gather(
            log.schedule_records(self._settings),
            series_seen(cluster),
            self._refusals(log),
            self._published(log, MINUTE, names.final_1m),
            asyncio.gather(*(self._published(log, each, names.rollups[each]) for each in periods)),
        )
        by_period = dict(zip(periods, uppers, strict=True))
        regimes = Regimes.made_by(
            HoursIndex(), AlwaysOpenHours(), rows.rules, records, RulesRow.of(self._settings)
        )
        graces = Graces.in_force(regimes, self._task.graces_before_us)
        # after the finals: by then each has its live record, and the heartbeat that closed it
        homes = {name: row.partition for name, row in seen.items()}
        judge = Judge(partition, self.series, self._task.wanted, regimes, homes)
        beats = await self._heartbeats(log, graces, judge)
        await asyncio.gather(
            self._check_live(log, published, MINUTE, names.live_1m),
            *(
                self._check_live(log, by_period[period], period, topic)
                for period, topic in names.live_rollups.items()
                if period in by_period
            ),
        )
        rows_now = await log.rows_now()
        position = rows_now.position or rows.position
        return Snapshot(
            partition=partition,
            series=self.series,
            rows=rows,
            rows_now=rows_now,
            position=0 if position is None else position.next_offset,
            published=published,
            uppers=by_period,
            refusals=refusals,
            beats=beats,
            judge=judge,
            changes=ScheduleChanges(records, max(each.longest_us for each in graces), regimes),
            ticks=await log.span(names.ticks),
        )

    async def _refusals(self, log: PartitionLog) -> Refusals:
        topic = self._cluster.names.ticks_rejected
        span = await log.span(topic)
        found = await rejected(
            self._cluster, topic, {self._partition: span}, self._cluster.names.ticks
        )
        return Refusals(found, self._partition, span.begin)

    async def _heartbeats(
        self,
        log: PartitionLog,
        graces: Sequence[Graces],
        judge: Judge,
    ) -> Heartbeats:
        topic = self._cluster.names.heartbeats
        span = await log.span(topic)
        found = await heartbeats(self._cluster, topic, {self._partition: span}, tombstones=True)
        return Heartbeats(
            found,
            graces,
            span.begin,
            judge,
            log.withdrawn,
        )

    async def _published(self, log: PartitionLog, period: Period, topic: str) -> Published:
        return await read_published(
            self._cluster, topic, self._partition, await log.span(topic), self._task.wanted,
            self.series, self.outcome.findings, period.timeframe,
        )  # fmt: skip

    async def _check_live(
        self, log: PartitionLog, published: Published, period: Period, topic: str
    ) -> None:
        span = await log.span(topic)
        live = await newest_records(
            self._cluster, topic, {self._partition: span}, self._task.wanted
        )
        check_live(
            published, live, span.begin, self.series, self._partition, period.timeframe,
            self.outcome.findings,
        )  # fmt: skip

    # -- the ticks ------------------------------------------------------------------------------

    async def _scan(self, judgement: Judgement, snapshot: Snapshot) -> None:
        decoders = Decoders(self._settings.ticks, snapshot.judge.regimes)
        span = {self._partition: await self._from(judgement.span(), decoders.most_skew_us)}
        judged = {self._partition: _judged(snapshot)}
        async for chunk in chunks(self._cluster, self._cluster.names.ticks, span, judged):
            for part in decoders.parts(chunk):
                await decoders.fetch(part)
                judgement.take(part, decoders.decode(part))
            self._progress(len(chunk))

    async def _from(self, span: Span, skew_us: int) -> Span:
        """Where the ticks of the range may begin.

        An event time lies at most the allowed skew after the record's timestamp, or the tick is
        no tick: so those of the range were not stored before its beginning less the skew.
        """
        from_us = self._task.wanted.from_us
        if from_us is None:
            return span
        since_us = from_us - skew_us - MINUTE_US
        found = await offsets_at(
            self._cluster, self._cluster.names.ticks, {self._partition: span}, since_us
        )
        first = max(span.begin, found[self._partition])
        return Span(first, max(first, span.end))


def _judged(snapshot: Snapshot) -> JudgedBatches:
    """What the workers made of record batches, whatever ``ticks.max_batch_mib`` was then.

    Below, the log says nothing of it: rows are gone with retention, or a replay was switched over
    to, which has read what was refused before.
    """
    position = snapshot.rows.position
    return JudgedBatches(
        max(snapshot.refusals.known_from, snapshot.judge.regimes.told_from),
        0 if position is None else position.next_offset,
        snapshot.refusals.offsets_of(Reason.TOO_LARGE),
    )
