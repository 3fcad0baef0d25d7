"""The facts of an upper bar: its versions, its children, and evidence that it is over."""

from __future__ import annotations

from dataclasses import replace

from barstream.config.periods import kept_days
from barstream.explain.bars import BarTopic, SeriesPlace
from barstream.explain.facts import Facts, Stand, Version
from barstream.explain.heartbeats import first_appended_from
from barstream.explain.minute_facts import open_us
from barstream.explain.rollups import UpperFacts, children_of_bucket
from barstream.explain.topics import Log
from barstream.model.period import DAY, MINUTE, Period
from barstream.model.time import DAY_US, MINUTE_US


async def gather_upper(log: Log, facts: Facts, stand: Stand) -> UpperFacts:
    """Complete the facts of an upper bar whose partition is known."""
    schedule = facts.scheduled.schedule
    child = DAY if facts.period.is_made_of_days else MINUTE
    series = facts.broker, facts.symbol
    minutes = [] if schedule is None else children_of_bucket(facts, MINUTE, schedule)
    start_us = min(minutes[0], facts.bucket_us) if minutes else facts.bucket_us
    since_us = start_us - facts.most_skew_us
    dropped = await log.withdrawal(stand.partition, series)
    place = SeriesPlace(log.cluster, stand.partition, series, dropped, log.progress)
    own = BarTopic(log.cluster.names.finals(facts.period), place)
    facts = replace(facts, finals=await own.versions(facts.bucket_us, since_us))
    if facts.period in log.cluster.names.live_rollups:
        topic = log.cluster.names.live_rollups[facts.period]
        live = BarTopic(topic, place)
        facts = replace(facts, live=await live.versions(facts.bucket_us, since_us))
    apart_us = open_us(facts) if child == MINUTE else None
    below = BarTopic(log.cluster.names.finals(child), place, open_us=apart_us)
    span = _children_span(facts, child, minutes)
    children = await below.between(*span, since_us)
    children = tuple(one for one in children if one.bar is None or _belongs(facts, child, one))
    needs_before = facts.final is None or len(children) == 0
    neighbours = await below.neighbours(span[0], since_us) if needs_before else facts.neighbours
    facts = replace(
        facts,
        neighbours=neighbours,
        finals_begin=await below.begin(),
        kept_days=kept_days(log.settings, child),
    )
    evidence = None
    if facts.period.is_made_of_days:
        end_us = facts.period.advance(facts.bucket_us) + facts.rules.grace_us
        evidence = await first_appended_from(
            log.cluster, log.cluster.names.heartbeats, stand.partition, series, end_us, log.progress
        )
    return UpperFacts(facts, child, children, evidence)


def _children_span(facts: Facts, child: Period, minutes: list[int]) -> tuple[int, int]:
    end_us = facts.period.advance(facts.bucket_us)
    if child == DAY or facts.period.is_intraday or not minutes:
        return facts.bucket_us, end_us
    return min(minutes[0], facts.bucket_us), max(minutes[-1] + MINUTE_US, end_us)


def _belongs(facts: Facts, child: Period, version: Version) -> bool:
    """A day's minutes are those of its trading date, and an anchored bucket has one session's."""
    bar = version.bar
    if bar is None or child == DAY:
        return True
    if not facts.period.is_intraday:
        return facts.period.floor_date(bar.trading_date) * DAY_US == facts.bucket_us
    session = facts.scheduled.session
    if facts.period.anchor != "session" or session is None:
        return True
    return (bar.trading_date, bar.session) == (session.trading_date, session.number)
