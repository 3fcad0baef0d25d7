"""The facts of a minute: its versions, its ticks, and what may have closed it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from barstream.explain.acceptance import refusal
from barstream.explain.bars import BarTopic, SeriesPlace
from barstream.explain.close_cause import closing_of, passes
from barstream.explain.facts import Beat, Facts, RejectionFact, Stand, Tick
from barstream.explain.heartbeats import beats_from
from barstream.explain.rejections import RejectionFacts, rejected_in
from barstream.explain.scan import EVERY_TICK, FoundTicks, Looked, scan
from barstream.explain.sessions import scheduled, session_at
from barstream.explain.tick_decoder import SeriesDecoder
from barstream.explain.topics import Log
from barstream.log.snapshot import Span, held, offsets_at
from barstream.model.bar import Bar, PartialBar
from barstream.model.key import series_key
from barstream.model.period import MINUTE
from barstream.model.time import MINUTE_US, SECOND_US

#: Clocks of brokers differ a little: so much earlier is looked as well.
_MARGIN_US: Final = 60 * SECOND_US
#: Late ticks so far behind the close are not looked up in the tick topic.
_FAR: Final = 2_000_000
#: So many offsets before a bar are looked through all the same: records that are no tick stand
#: beside those of its minute.
_BEFORE: Final = 100_000
#: Of ticks that are not applied yet so many offsets are looked through, when the bar is final.
_UNAPPLIED: Final = 100_000


async def gather_minute(log: Log, facts: Facts, stand: Stand) -> Facts:
    """Complete the facts of a minute whose partition is known."""
    decoder = await _decoder(log, facts)
    facts = await _closed(log, facts, stand, decoder)
    if facts.final is not None or facts.open_bar is not None:
        return facts
    return replace(facts, woken_by=await _woken_by(log, facts, stand, decoder))


async def _closed(log: Log, facts: Facts, stand: Stand, decoder: SeriesDecoder) -> Facts:
    start_us = facts.bucket_us
    series = facts.broker, facts.symbol
    dropped = await log.withdrawal(stand.partition, series)
    place = SeriesPlace(log.cluster, stand.partition, series, dropped, log.progress)
    finals, live = (
        BarTopic(topic, place, open_us=open_us(facts), is_live=topic == log.cluster.names.live_1m)
        for topic in (log.cluster.names.final_1m, log.cluster.names.live_1m)
    )
    since_us = start_us - facts.most_skew_us
    (versions, neighbours), of_live, rejected = await asyncio.gather(
        finals.around(start_us, since_us),
        live.versions(start_us, since_us),
        _rejected(log, facts, decoder),
    )
    facts = replace(
        facts,
        finals=versions,
        live=of_live,
        neighbours=neighbours,
        finals_begin=await finals.begin(),
    )
    facts = await _with_ticks(log, facts, stand, rejected, decoder)
    closing = None if facts.first is None else closing_of(facts, facts.first)
    if closing is not None and closing.by == "watermark":
        return facts  # the tick closed it, whatever heartbeats say
    return replace(facts, beats=await _beats(log, facts, stand))


def open_us(facts: Facts) -> int | None:
    """How far minutes may lie apart that were open together; None: bars were written anew."""
    if not never_written_anew(facts) or facts.regimes is None:
        return None
    longest_us = max(each.rules.grace_us for each in facts.regimes.all)
    return longest_us + facts.most_skew_us + _MARGIN_US


def never_written_anew(facts: Facts) -> bool:
    """Whether the log says that no bar of the partition was ever revised or made late."""
    regimes = facts.regimes
    return (
        regimes is not None and regimes.is_told and not regimes.is_rewritten and not regimes.revises
    )


async def _decoder(log: Log, facts: Facts) -> SeriesDecoder:
    homes = set() if facts.home is None else {facts.home}
    below = await _withdrawn_below(log, facts, homes)
    spellings = await log.spellings(homes)
    if any(one.begins for one in spellings.values()):  # then so it was in the other partitions
        spellings = await log.spellings(await held(log.cluster, log.cluster.names.ticks))
    return SeriesDecoder(log.settings, *facts.name, spellings, below)


async def _rejected(
    log: Log, facts: Facts, decoder: SeriesDecoder, *, all_of_them: bool = False
) -> RejectionFacts:
    """Rejected ticks of the series, above all those of the minute, of all partitions."""
    cluster, names, start_us = log.cluster, log.cluster.names, facts.bucket_us
    spans = await held(cluster, names.ticks_rejected)
    if not all_of_them:
        since_us = start_us - facts.most_skew_us - _MARGIN_US
        begins = await offsets_at(cluster, names.ticks_rejected, spans, since_us)
        spans = {p: Span(begins[p], span.end) for p, span in spans.items()}
    topics = names.ticks_rejected, names.ticks
    found = await rejected_in(cluster, topics, spans, decoder, facts.ticks_between, log.progress)
    mine = tuple(one for one in found.of_bucket if facts.is_of_minute(one.tick))
    return replace(found, of_bucket=mine)


async def _withdrawn_below(log: Log, facts: Facts, partitions: set[int]) -> dict[int, int]:
    """By partition the offset below which ticks of the series are withdrawn."""
    found = {}
    for partition in partitions:
        row = await log.withdrawal(partition, facts.name)
        found[partition] = 0 if row is None else row.end(partition).ticks
    return found


async def _with_ticks(
    log: Log, facts: Facts, stand: Stand, rejected: RejectionFacts, decoder: SeriesDecoder
) -> Facts:
    cluster, names, start_us = log.cluster, log.cluster.names, facts.bucket_us
    since_us = start_us - facts.most_skew_us - _MARGIN_US
    mine = [one for one in rejected.of_bucket if one.tick.partition == stand.partition]
    whole = Span(stand.begin, stand.end)
    begin = (await offsets_at(cluster, names.ticks, {stand.partition: whole}, since_us))[
        stand.partition
    ]
    span = Span(_scan_begin(facts, begin), _scan_end(facts, stand, mine))
    looked = _looked(facts, rejected)
    found = await scan_ticks(log, facts, decoder, stand.partition, span, looked)
    if not found.append_times:
        # producers say the times: a tick of this minute may stand anywhere, and one that was ahead
        # of the clock long before it would have closed it
        rejected = await _rejected(log, facts, decoder, all_of_them=True)
        mine = [one for one in rejected.of_bucket if one.tick.partition == stand.partition]
        whole, looked = Span(stand.begin, span.end), _looked(facts, rejected)
        found = await scan_ticks(log, facts, decoder, stand.partition, whole, looked)
    applied = stand.begin if stand.position is None else stand.position
    waiting = Span(max(span.end, applied), min(stand.end, applied + _UNAPPLIED))
    if not waiting.is_empty:
        found.add(await scan_ticks(log, facts, decoder, stand.partition, waiting, looked))
    elsewhere = [one.tick for one in rejected.of_bucket if one.tick.partition != stand.partition]
    below = await _withdrawn_below(log, facts, {tick.partition for tick in elsewhere})
    elsewhere = [tick for tick in elsewhere if tick.offset >= below[tick.partition]]
    return replace(
        facts,
        ticks=tuple(_all_ticks(found, mine)),
        until_close=tuple(found.until_close),
        closing_tick=found.closing,
        graced=found.graced,
        elsewhere=tuple(elsewhere),
        rejected=tuple(_all_rejected(found, mine)),
        undated=tuple(found.undated),
    )


def _looked(facts: Facts, rejected: RejectionFacts) -> Looked:
    """What to look for among the ticks of a minute's series."""
    start_us, rules = facts.bucket_us, facts.rules
    low_us, high_us = facts.ticks_between
    graces_us = [rules.grace_us]
    if facts.regimes is not None:
        graces_us += [each.rules.grace_us for each in facts.regimes.all]
    first = None if facts.first is None else facts.first.bar

    def is_recorded(tick: Tick) -> bool:
        return (tick.partition, tick.offset) in rejected.places

    return Looked(
        (low_us, high_us),
        start_us + MINUTE_US + min(graces_us),
        (
            start_us - rules.max_future_skew_us - _MARGIN_US,
            high_us + rules.grace_us + rules.feed_delay_us + _MARGIN_US,
        ),
        facts.is_of_minute,
        lambda tick: not is_recorded(tick) and passes(facts, tick),
        lambda tick: not is_recorded(tick) and refusal(facts, tick) is None,
        is_recorded,
        None if first is None else first.close_offset,
        _shorter_graces(facts) if facts.first is None else (),
        facts.placed_us,
    )


def _shorter_graces(facts: Facts) -> tuple[tuple[int, int, int], ...]:
    """See `Looked.graces`."""
    every = [] if facts.regimes is None else facts.regimes.all
    rules = [facts.rules_of(each if each.is_told else None) for each in every]
    return tuple(
        (number, every[number].begin, rules[number].closes_at_us(facts.bucket_us))
        for number in range(1, len(every))
        if rules[number].grace_us < rules[number - 1].grace_us
    )


def _scan_begin(facts: Facts, begin: int) -> int:
    """From where on ticks of the minute may stand, but for those that are known as rejected.

    By time alone a file of old ticks, all of them appended today, would be read from its first one.
    """
    if not never_written_anew(facts) or facts.regimes is None:
        return begin
    minute_us = facts.bucket_us
    for regime in facts.regimes.all:
        schedule = facts.schedule_of(regime if regime.is_told else None)
        session = None if schedule is None else session_at(schedule, minute_us)
        if (
            session is None
            or session.open_us > minute_us
            or session.close_us < minute_us + MINUTE_US
        ):
            return begin  # no record tells of those off session
    first = None if facts.first is None else facts.first.bar
    known = first
    if first is None:
        known = None if facts.neighbours.before is None else facts.neighbours.before.bar
    if known is None or known.close_offset is None:
        return begin
    if first is not None and facts.regimes.begins_at(known.close_offset):
        return begin  # a shorter grace may have closed it: what it had passed stands anywhere
    found = known.close_offset - 1
    if first is not None and first.first_offset is not None:
        found = min(found, first.first_offset)
    return found if found - begin > _BEFORE else begin


def _scan_end(facts: Facts, stand: Stand, rejected: list[RejectionFact]) -> int:
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


async def _woken_by(log: Log, facts: Facts, stand: Stand, decoder: SeriesDecoder) -> Tick | None:
    """The first tick in time after a minute without a bar: what ended its sleep, if it slept."""
    offsets = [bar.first_offset for bar in _open_after(facts)]
    for version in facts.neighbours.reals_after:
        bar = version.bar
        if bar is None or bar.first_offset is None:
            continue
        if offsets and min(offsets) < bar.first_offset:
            break
        if not await _was_made_late(log, facts, stand, decoder, bar):
            offsets.append(bar.first_offset)
            break
    if not offsets:
        return None
    offset = min(offsets)
    span = Span(max(offset, stand.begin), offset + 1)
    found = await scan_ticks(log, facts, decoder, stand.partition, span, EVERY_TICK)
    return found.ticks[0] if found.ticks else None


def _open_after(facts: Facts) -> list[PartialBar]:
    bars = () if facts.row is None else facts.row.open_bars
    return [bar for bar in bars if bar.bucket_us > facts.bucket_us]


async def _was_made_late(
    log: Log, facts: Facts, stand: Stand, decoder: SeriesDecoder, bar: Bar
) -> bool:
    """Whether late ticks made a bar: it ends no sleep."""
    close_offset = bar.close_offset or 0
    rules = facts.rules_of(facts.regime_at(max(0, close_offset - 1)))
    if rules.late_policy != "revise" or bar.last_offset != close_offset - 1:
        return False
    name = facts.broker, facts.symbol
    index, records = await log.schedule_of(*name)
    other = replace(
        facts,
        bucket_us=bar.bucket_start_us,
        scheduled=scheduled(index, records, *name, MINUTE, bar.bucket_start_us),
    )
    other = await _closed(log, other, stand, decoder)
    closing = None if other.first is None else closing_of(other, other.first)
    return closing is not None and closing.by == "late_tick"


def _all_ticks(found: FoundTicks, rejected: list[RejectionFact]) -> list[Tick]:
    """Those found, and rejected ones that stand too far behind to be looked up."""
    known = {tick.offset for tick in found.ticks}
    others = [one.tick for one in rejected if one.tick.offset not in known]
    return sorted([*found.ticks, *others], key=lambda tick: tick.offset)


def _all_rejected(found: FoundTicks, rejected: list[RejectionFact]) -> list[RejectionFact]:
    """With append times where they are known, and invalid ones that no record tells of yet."""
    known = {tick.offset: tick for tick in found.ticks}
    all_of_them = [replace(one, tick=known.get(one.tick.offset, one.tick)) for one in rejected]
    there = {one.tick.offset for one in rejected}
    all_of_them += [one for one in found.invalid if one.tick.offset not in there]
    return sorted(all_of_them, key=lambda one: one.tick.offset)


async def _beats(log: Log, facts: Facts, stand: Stand) -> tuple[Beat, ...]:
    first = None if facts.first is None else facts.first.bar
    most = None if first is None else first.close_offset
    dropped = await log.withdrawal(stand.partition, facts.name)
    return await beats_from(
        log.cluster,
        log.cluster.names.heartbeats,
        stand.partition,
        facts.name,
        0 if dropped is None else dropped.end(stand.partition).heartbeats,
        facts,
        most,
        log.progress,
    )


async def scan_ticks(
    log: Log, facts: Facts, decoder: SeriesDecoder, partition: int, span: Span, looked: Looked
) -> FoundTicks:
    """Look through offsets of a partition of the tick topic."""
    key = series_key(facts.broker, facts.symbol)
    place = partition, span
    topic = log.cluster.names.ticks
    return await scan(log.cluster, topic, place, decoder, looked, key, log.progress)
