"""The facts of a minute: its versions, its ticks, and what may have closed it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from barstream.core.keys import series_key
from barstream.core.schedule import OFF_SESSION, SeriesSchedule
from barstream.core.time import MINUTE_US, SECOND_US
from barstream.explaining.bars import BarTopic
from barstream.explaining.beats import beats_from
from barstream.explaining.decoding import SeriesDecoder
from barstream.explaining.facts import (
    Beat,
    Facts,
    RejectedTick,
    Stand,
    Tick,
)
from barstream.explaining.log import Log
from barstream.explaining.rejections import rejected_in
from barstream.explaining.scanning import Found, Looked, scan
from barstream.history.reading import Span, held, offsets_at
from barstream.history.regimes import Regimes

#: Clocks of brokers differ a little: so much earlier is looked as well.
_MARGIN_US: Final = 60 * SECOND_US
#: Late ticks so far behind the close are not looked up in the tick topic.
_FAR: Final = 2_000_000


async def gather_minute(log: Log, facts: Facts, stand: Stand) -> Facts:
    """Complete the facts of a minute whose partition is known."""
    start_us = facts.bucket_us
    series = facts.broker, facts.symbol
    finals = BarTopic(log.options, log.names.final_1m, stand.partition, series, log.progress)
    live = BarTopic(log.options, log.names.live_1m, stand.partition, series, log.progress)
    since_us = start_us - facts.rules.max_future_skew_us
    (versions, neighbours), of_live, rejected = await asyncio.gather(
        finals.around(start_us, since_us),
        live.versions(start_us, since_us),
        _rejected(log, facts),
    )
    facts = replace(
        facts,
        finals=versions,
        live=of_live,
        neighbours=neighbours,
        finals_begin=await finals.begin(),
    )
    facts = _by_rules_then(facts, await log.regimes(stand.partition))
    with_ticks, beats = await asyncio.gather(
        _with_ticks(log, facts, stand, rejected), _beats(log, facts, stand)
    )
    return replace(with_ticks, beats=beats)


def _by_rules_then(facts: Facts, regimes: Regimes) -> Facts:
    """With the rules by which the first version was closed, not those of now."""
    first = facts.finals[0].bar if facts.finals else None
    if first is None or first.close_offset is None:
        return facts
    regime = regimes.at(max(0, first.close_offset - 1))
    rules = facts.rules
    if regime.is_told:
        rules = replace(
            rules, grace_us=regime.rules.grace_us, late_policy=regime.rules.late_policy,
            inactive_after=regime.rules.inactive_after,
            max_future_skew_us=regime.rules.max_future_skew_us,
            publish_off_session=regime.rules.publish_off_session,
        )  # fmt: skip
    took_over = regimes.at(first.close_offset)
    begins_here = took_over.is_told and took_over.begin == first.close_offset
    shortened = begins_here and took_over.rules.grace_us < rules.grace_us
    # a tick is judged by the sessions of its offset: of a bar, those of its first tick
    judged = regimes.at(
        first.close_offset - 1 if first.first_offset is None else first.first_offset
    )
    schedule = facts.scheduled.schedule
    if judged.is_told:
        schedule = judged.index.for_series(facts.broker, facts.symbol)
    return replace(
        facts, rules=rules, judged_by=schedule,
        shortened_us=took_over.rules.grace_us if shortened else None,
    )  # fmt: skip


async def _rejected(log: Log, facts: Facts) -> list[RejectedTick]:
    """Rejected ticks of the minute, of all partitions."""
    options, names, start_us = log.options, log.names, facts.bucket_us
    since_us = start_us - facts.rules.max_future_skew_us - _MARGIN_US
    spans = await held(options, names.ticks_rejected)
    begins = await offsets_at(options, names.ticks_rejected, spans, since_us)
    spans = {p: Span(begins[p], span.end) for p, span in spans.items()}
    decoder = SeriesDecoder(log.settings, facts.broker, facts.symbol)
    topics, bucket = (names.ticks_rejected, names.ticks), (start_us, start_us + MINUTE_US)
    return await rejected_in(options, topics, spans, decoder, bucket, log.progress)


async def _with_ticks(log: Log, facts: Facts, stand: Stand, rejected: list[RejectedTick]) -> Facts:
    options, names, rules = log.options, log.names, facts.rules
    start_us = facts.bucket_us
    bucket = start_us, start_us + MINUTE_US
    since_us = start_us - rules.max_future_skew_us - _MARGIN_US
    decoder = SeriesDecoder(log.settings, facts.broker, facts.symbol)
    mine = [one for one in rejected if one.tick.partition == stand.partition]
    elsewhere = [one.tick for one in rejected if one.tick.partition != stand.partition]
    whole = Span(stand.begin, stand.end)
    begin = (await offsets_at(options, names.ticks, {stand.partition: whole}, since_us))[
        stand.partition
    ]
    span = Span(begin, _scan_end(facts, stand, mine))
    late_us = rules.grace_us + rules.feed_delay_us + _MARGIN_US
    looked = Looked(
        bucket,
        rules.closes_at_us(start_us),
        (since_us, start_us + MINUTE_US + late_us),
        rules.max_future_skew_us,
        _in_session(facts.judged_by or facts.scheduled.schedule),
    )
    found = await scan_ticks(log, facts, decoder, stand.partition, span, looked)
    if not found.append_times and span.begin > stand.begin:
        # producers say the times: a tick of this minute may stand anywhere
        whole = Span(stand.begin, span.end)
        found = await scan_ticks(log, facts, decoder, stand.partition, whole, looked)
    return replace(
        facts,
        ticks=tuple(_all_ticks(found, mine)),
        closing_tick=_closing(facts, found),
        elsewhere=tuple(elsewhere),
        rejected=tuple(_all_rejected(found, mine)),
        undated=tuple(found.undated),
    )


def _scan_end(facts: Facts, stand: Stand, rejected: list[RejectedTick]) -> int:
    """Where ticks of the minute can stand no more, but for those that are known as rejected."""
    newest = facts.final
    after = facts.neighbours.after
    end = stand.end
    if newest is not None and newest.bar is not None and newest.bar.close_offset is not None:
        end = newest.bar.close_offset
    elif after is not None and after.bar is not None and after.bar.close_offset is not None:
        end = after.bar.close_offset
    last = max((one.tick.offset + 1 for one in rejected), default=end)
    return min(stand.end, max(end, last) if last <= end + _FAR else end)


def _in_session(schedule: SeriesSchedule | None) -> Callable[[int], bool]:
    def counts(time_us: int) -> bool:
        if schedule is None:
            return False
        return bool(schedule.locate(np.array([time_us], np.int64))[0] != OFF_SESSION)

    return counts


def _closing(facts: Facts, found: Found) -> Tick | None:
    """Of a final only the tick before its close offset counts, and only if it passes."""
    first = facts.finals[0].bar if facts.finals else None
    if first is None or first.close_offset is None:
        return found.closing
    tick = found.closing
    return tick if tick is not None and tick.offset == first.close_offset - 1 else None


def _all_ticks(found: Found, rejected: list[RejectedTick]) -> list[Tick]:
    """Those found, and rejected ones that stand too far behind to be looked up."""
    known = {tick.offset for tick in found.ticks}
    others = [one.tick for one in rejected if one.tick.offset not in known]
    return sorted([*found.ticks, *others], key=lambda tick: tick.offset)


def _all_rejected(found: Found, rejected: list[RejectedTick]) -> list[RejectedTick]:
    """With append times where they are known, and those judged by the tick alone."""
    known = {tick.offset: tick for tick in found.ticks}
    all_of_them = [replace(one, tick=known.get(one.tick.offset, one.tick)) for one in rejected]
    there = {one.tick.offset for one in rejected}
    all_of_them += [one for one in found.future if one.tick.offset not in there]
    return sorted(all_of_them, key=lambda one: one.tick.offset)


async def _beats(log: Log, facts: Facts, stand: Stand) -> tuple[Beat, ...]:
    final = facts.finals[0].bar if facts.finals else None
    most = None if final is None else final.close_offset
    return await beats_from(
        log.options,
        log.names.heartbeats,
        stand.partition,
        (facts.broker, facts.symbol),
        facts.bucket_us,
        facts.rules,
        most,
        log.progress,
    )


async def scan_ticks(
    log: Log, facts: Facts, decoder: SeriesDecoder, partition: int, span: Span, looked: Looked
) -> Found:
    """Look through offsets of a partition of the tick topic."""
    key = series_key(facts.broker, facts.symbol)
    place = partition, span
    return await scan(log.options, log.names.ticks, place, decoder, looked, key, log.progress)
