"""Gathering the facts of a bucket from Kafka alone: workers may run or not.

Everything is read up to ends that are fixed first, and the state of the series before what
follows from it, so that a running worker does not make the facts contradict each other.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from barstream.codecs.topics.state import open_bar_of
from barstream.config.periods import kept_days
from barstream.explain.facts import Facts, RuleFacts, SeriesFact, Stand
from barstream.explain.minute_facts import gather_minute, scan_ticks
from barstream.explain.rejections import rejected_by_reason, rejected_in
from barstream.explain.rollup_facts import gather_upper
from barstream.explain.rollups import UpperFacts
from barstream.explain.scan import EVERY_TICK
from barstream.explain.sessions import scheduled
from barstream.explain.tick_decoder import SeriesDecoder
from barstream.explain.topics import Log
from barstream.log.snapshot import Span, held
from barstream.market.universe import nearest_series
from barstream.model.period import MINUTE, Period
from barstream.model.time import MINUTE_US
from barstream.rules.series import LIVENESS_TICKS, NEVER_US


async def gather(
    log: Log, broker: str, symbol: str, period: Period, bucket_us: int
) -> Facts | UpperFacts:
    """The facts of one bucket.

    Args:
        log: where from.
        broker: normalised.
        symbol: normalised.
        period: one in force.
        bucket_us: start of the bucket, see `Log.bucket`.

    Raises:
        BarstreamError: a topic is missing, the brokers do not answer, or a topic holds what is
            none of ours.
    """
    facts = await _common(log, broker, symbol, period, bucket_us)
    if facts.stand is None:
        return await _never_seen(log, facts)
    if period != MINUTE:
        return await gather_upper(log, facts, facts.stand)
    return await gather_minute(log, facts, facts.stand)


async def last_minute(log: Log, upper: UpperFacts) -> Facts | None:
    """The facts of the last minute a final upper bar was made of; None: it is not final."""
    if upper.facts.final is None or not upper.bars:
        return None
    last_us = upper.bars[-1].bucket_start_us
    found = await gather(log, *upper.facts.name, upper.child, last_us)
    return await last_minute(log, found) if isinstance(found, UpperFacts) else found


async def _common(log: Log, broker: str, symbol: str, period: Period, bucket_us: int) -> Facts:
    settings, name = log.settings, (broker, symbol)
    seen, (index, records) = await asyncio.gather(log.seen(), log.schedule_of(*name))
    row = seen.get(name)
    stand = series = None
    if row is not None:
        stand = await _stand(log, row.partition)
        series = (await log.rows(row.partition)).series.get(name)
    bars = settings.bars
    return Facts(
        broker,
        symbol,
        period,
        bucket_us,
        log.clock(),
        RuleFacts(
            bars.grace_us,
            settings.heartbeats.feed_delay_us.get(broker, 0),
            bars.late_policy,
            bars.inactive_after,
            settings.heartbeats.enabled,
            bars.max_future_skew_us,
        ),
        scheduled(index, records, broker, symbol, period, bucket_us),
        seen=row,
        similar=() if row is not None else tuple(nearest_series(name, seen)),
        stand=stand,
        regimes=None if row is None else await log.regimes(row.partition, name),
        row=None
        if series is None
        else SeriesFact(
            _or_never(series.closed_until_us),
            _or_never(series.watermark_us),
            series.previous_close,
            _or_never(series.first_tick_us),
            series.last_trading_date,
            series.since_timely < LIVENESS_TICKS,
            tuple(open_bar_of(bar) for bar in series.open_bars),
        ),
        kept_days=kept_days(settings, period),
    )


def _or_never(time_us: int | None) -> int:
    return NEVER_US if time_us is None else time_us


async def _stand(log: Log, partition: int) -> Stand:
    opened = await log.opened(partition)
    position = opened.rows.position
    ticks, beats = await asyncio.gather(
        opened.span(log.cluster.names.ticks), opened.span(log.cluster.names.heartbeats)
    )
    return Stand(
        partition,
        None if position is None else position.next_offset,
        ticks.begin,
        ticks.end,
        None if position is None else position.heartbeat_offset,
        beats.end,
    )


# -- a series that was never seen ---------------------------------------------------------------


async def _never_seen(log: Log, facts: Facts) -> Facts:
    """Its ticks may have been rejected, or stand where nothing was applied yet."""
    names, cluster = log.cluster.names, log.cluster
    there = await held(cluster, names.ticks)
    drops = {partition: await log.withdrawal(partition, facts.name) for partition in there}
    dropped = {partition: row for partition, row in drops.items() if row is not None}
    below = {at: row.end(at).ticks for at, row in dropped.items()}
    decoder = SeriesDecoder(log.settings, *facts.name, await log.spellings(there), below)
    if dropped:
        last_us = max(row.withdrawn_at_us for row in dropped.values())
        facts = replace(facts, dropped_at_us=last_us)
    rejected = await held(cluster, names.ticks_rejected)
    counts = await rejected_by_reason(
        cluster, (names.ticks_rejected, names.ticks), rejected, decoder, log.progress
    )
    facts = replace(facts, refused_before=counts)
    if facts.period == MINUTE:
        bucket = facts.bucket_us, facts.bucket_us + MINUTE_US
        topics = names.ticks_rejected, names.ticks
        mine = await rejected_in(cluster, topics, rejected, decoder, bucket, log.progress)
        facts = replace(facts, rejected=mine.of_bucket)
    for partition, span in there.items():
        stand = await _stand(log, partition)
        begin = span.begin if stand.position is None else max(span.begin, stand.position)
        if begin >= span.end:
            continue
        found = await scan_ticks(log, facts, decoder, partition, Span(begin, span.end), EVERY_TICK)
        wrong = {one.tick.offset for one in found.invalid}
        first = next((tick for tick in found.ticks if tick.offset not in wrong), None)
        if first is not None:
            start_us, end_us = facts.bucket_us, facts.period.advance(facts.bucket_us)
            ticks = [one for one in found.ticks if start_us <= one.time_us < end_us]
            invalid = [one for one in found.invalid if start_us <= one.tick.time_us < end_us]
            refused = (*facts.rejected, *invalid)
            return replace(
                facts, stand=stand, ticks=tuple(ticks), rejected=refused, unapplied=first
            )
    return facts
