"""What is published of one partition, and so where a replay of it begins and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from barstream.codecs.topics.rules import RulesRow
from barstream.codecs.topics.withdrawal import Withdrawn
from barstream.errors import BarstreamError
from barstream.kafka.cluster import Cluster
from barstream.kafka.offsets import START_OVER, check_identity
from barstream.log import finals
from barstream.log.compaction import compacted
from barstream.log.heartbeats import heartbeats, without_withdrawn
from barstream.log.partition_log import PartitionLog
from barstream.log.rejections import rejected
from barstream.log.rules import Regime, Regimes
from barstream.log.selection import Selection
from barstream.log.series import PartitionRows
from barstream.log.snapshot import Span, chunks, held, offsets_at
from barstream.market.schedule import ScheduleIndex, Series
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.model.rejection import Reason
from barstream.model.time import DAY_US, SECOND_US
from barstream.replay.close_record import recorded_closes
from barstream.replay.heartbeats import from_finals, from_log
from barstream.replay.request import Job, Request
from barstream.replay.start_points import StartPoint, starts_of

#: So long before the first minute lie the children of every bar that is made of minutes.
_LOOK_BACK_US: Final = 5 * DAY_US
_TOLD: Final = [
    "offset", "key", "kind", "broker", "symbol", "bucket_start", "trading_date", "close",
    "tick_count", "close_time", "revision", "first_offset", "close_offset",
]  # fmt: skip


class NothingToReplay(BarstreamError):
    """The range holds nothing that was applied: mend the range, or let the workers come so far."""


@dataclass(frozen=True, slots=True)
class Known:
    """Where one partition begins, and by what it closes.

    Attributes:
        ticks: offsets to be read.
        starts: of the series that were published before.
        beats: see `barstream.replay.heartbeats`.
        cut_us: by series the first minute that is left where earlier ones were deleted.
        topic_id: identity of the tick topic.
        unreliable: recorded closes that were not used.
        regimes: the rules that held, and from where on; of a replay by other rules those alone.
        rejected: rejections that the log alone does not give again: of ticks of which it does not
            say by which rules they were judged, and those of series beyond `bars.max_series`.
        withdrawn: ticks that are as if they were not there.
    """

    ticks: Span
    starts: dict[Series, StartPoint]
    beats: pl.DataFrame
    cut_us: dict[Series, int]
    topic_id: str | None
    unreliable: int
    regimes: Regimes[ScheduleIndex]
    rejected: pl.DataFrame
    withdrawn: Withdrawn


async def known_of(job: Job, cluster: Cluster, identity: str | None) -> Known:
    """Read what is published of the partition of ``job``.

    The position is read first and the finals after it (`barstream.log.partition_log`), so that on
    a running system every close up to the position is among them.

    Raises:
        BarstreamError: the topics cannot be read, or the range holds nothing.
    """
    request, names = job.request, cluster.names
    log = await PartitionLog.opened(cluster, job.partition)
    told = log.rows
    if told.position is not None:
        check_identity(names.ticks, told.position.topic_id, identity)
    versions = await _minutes(log, request.wanted)
    newest = compacted(versions).filter(pl.col("kind") == "bar")
    regimes = await _regimes(request, log)
    closes, unreliable = recorded_closes(versions, revises=regimes.revises)
    skew_us = max(each.rules.max_future_skew_us for each in regimes.all)
    ticks = await _ticks(job, log, closes, skew_us)
    starts = starts_of(newest, closes, told.series, request.from_us, ticks.begin)
    beats = await _beats(job, log)
    if request.recorded:
        wanted = closes.filter(pl.col("close_offset") <= ticks.end)
        beats = from_finals(wanted, beats, regimes)
    else:
        beats = from_log(beats)
    refused = await _rejected(log, regimes)
    if any(row.is_full for row in told.rules):
        # which series had been taken by then hangs on all that came before, and on drops since
        beyond = await _rejected_as(Reason.TOO_MANY_SERIES, job, cluster)
        refused = pl.concat([refused, beyond]).unique("tick_offset", maintain_order=True)
    return Known(
        ticks, starts, beats, _cut(newest, told), identity, unreliable, regimes, refused,
        log.withdrawn,
    )  # fmt: skip


async def _regimes(request: Request, log: PartitionLog) -> Regimes[ScheduleIndex]:
    """What the log says, where the recorded rules are replayed; else what was asked for."""
    otherwise = RulesRow.of(request.settings)
    if not request.recorded:
        index = request.index
        return Regimes([Regime(0, 0, otherwise, index, is_told=True)], index)
    records = await log.schedule_records(request.settings)
    return Regimes.of(log.rows.rules, records, otherwise)


async def ahead_of_clock(job: Job, cluster: Cluster) -> pl.DataFrame:
    """Ticks that were refused as future: where timestamps are not the broker's, by a clock.

    The rules may be others now, and what that clock said is known from nothing else.
    """
    return await _rejected_as(Reason.FUTURE, job, cluster)


async def _rejected_as(reason: Reason, job: Job, cluster: Cluster) -> pl.DataFrame:
    topic = cluster.names.ticks_rejected
    spans = await held(cluster, topic, [job.partition])
    found = await rejected(cluster, topic, spans, cluster.names.ticks)
    return found.filter(
        (pl.col("tick_partition") == job.partition) & (pl.col("reason") == reason)
    ).unique("tick_offset", keep="first", maintain_order=True)


async def _rejected(log: PartitionLog, regimes: Regimes[ScheduleIndex]) -> pl.DataFrame:
    topic, partition = log.names.ticks_rejected, log.partition
    span = await log.span(topic)
    if regimes.is_told or regimes.is_rewritten:  # a replay may have taken rejected ones in
        span = Span(0, 0)
    found = await rejected(log.cluster, topic, {partition: span}, log.names.ticks)
    return found.filter(
        (pl.col("tick_partition") == partition) & (pl.col("tick_offset") < regimes.told_from)
    ).unique("tick_offset", keep="first", maintain_order=True)


async def _minutes(log: PartitionLog, wanted: Selection) -> pl.DataFrame:
    parts = [pl.DataFrame(schema={name: finals.SCHEMA[name] for name in _TOLD})]
    topic = log.names.final_1m
    spans = {log.partition: await log.span(topic)}
    parts += [
        finals.frame_of(chunk, at).select(_TOLD)
        async for chunk in chunks(log.cluster, topic, spans)
        if (at := wanted.positions(chunk.keys))
    ]
    return pl.concat(parts)


async def _ticks(job: Job, log: PartitionLog, closes: pl.DataFrame, skew_us: int) -> Span:
    """Offsets that can hold a tick of a bar in range, up to where the workers have come."""
    there, position = await log.span(log.names.ticks), log.rows.position
    end = there.end if position is None else position.next_offset
    if end > there.end:
        raise BarstreamError(
            f"{log.names.ticks}[{job.partition}] must hold the {end} offsets that were applied, "
            f"but ends at {there.end}: Kafka lost what was behind that, or the topic was made "
            f"again. {START_OVER}"
        )
    if job.end is not None:
        end = min(end, job.end)
    begin = there.begin
    if job.begin is not None:
        begin = max(begin, job.begin)
    elif job.request.from_us is not None:
        # an event time lies so far behind its append time at most
        earliest_us = job.request.from_us - skew_us - SECOND_US
        spans = {job.partition: there}
        found = await offsets_at(log.cluster, log.names.ticks, spans, earliest_us)
        # none in a partition that has no bar so late, or none at all
        later = closes.filter(pl.col("bucket_start") >= job.request.from_us)["close_offset"].sort()
        begin = max(begin, min([found[job.partition], *later.head(1)]))
    return Span(min(begin, end), end)


async def _beats(job: Job, log: PartitionLog) -> pl.DataFrame:
    topic, position = log.names.heartbeats, log.rows.position
    there = await log.span(topic)
    end = there.end if position is None else position.heartbeat_offset
    spans = {job.partition: Span(there.begin, max(there.begin, min(end, there.end)))}
    found = await heartbeats(log.cluster, topic, spans, job.request.wanted)
    return without_withdrawn(found, log.withdrawn)


def _cut(newest: pl.DataFrame, told: PartitionRows) -> dict[Series, int]:
    first = newest.group_by("broker", "symbol").agg(pl.col("bucket_start").min())
    found: dict[Series, int] = {}
    for broker, symbol, earliest_us in first.iter_rows():
        row = told.series.get((broker, symbol))
        if row is not None and row.first_tick_us is not None and row.first_tick_us < earliest_us:
            found[broker, symbol] = earliest_us
    return found


async def published_before(
    job: Job, cluster: Cluster, starts: dict[Series, StartPoint]
) -> dict[Period, dict[Series, list[Bar]]]:
    """The published finals before each start that what comes after it is folded with."""
    known = [start.start_us for start in starts.values() if start.is_known]
    found: dict[Period, dict[Series, list[Bar]]] = {}
    if not known:
        return found
    for period, topic in {MINUTE: cluster.names.final_1m, **cluster.names.rollups}.items():
        # days and what is made of them are few, and a month is made of days long past
        since_us = min(known) - _LOOK_BACK_US if period.is_intraday else None
        span = await held(cluster, topic, [job.partition])
        wanted = Selection(
            job.request.wanted.broker, job.request.wanted.symbol, since_us, max(known)
        )
        bars = finals.bars(compacted(await finals.versions(cluster, topic, span, wanted)))
        series: dict[Series, list[Bar]] = found.setdefault(period, {})
        for bar in sorted(bars, key=lambda each: each.bucket_start_us):
            start: Any = starts.get((bar.broker, bar.symbol))
            if start is not None and bar.bucket_start_us < start.start_us:
                series.setdefault((bar.broker, bar.symbol), []).append(bar)
    return found
