"""Whatever rules and sessions held when: what explain says of a bar is what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from barstream.codecs.topics.rules import RulesRow
from barstream.explain import bars
from barstream.explain import minute_facts as gathered
from barstream.explain.close_cause import Closing
from barstream.explain.facts import Facts
from barstream.explain.report import closed_by, report
from barstream.explain.rollups import UpperExplanation, UpperFacts, explain_upper
from barstream.explain.run import gather, last_minute
from barstream.explain.topics import Log
from barstream.explain.verdict import Explanation, explain
from barstream.market.schedule import SessionRow
from barstream.model.key import NameRule, bar_key, series_key
from barstream.model.period import MINUTE, Period
from barstream.model.time import MINUTE_US
from barstream.rules.series import Rules
from tests.examples import examples
from tests.memory_kafka import MemoryKafka, reading_from
from tests.property.engine_cases import Beat, Case, Tick
from tests.property.explain_cases import Minute, NarratedWorkers, Truth, Version, log_of
from tests.property.rules_cases import Life, ScheduleTopic, Topics, lives, value_of

PERIODS = tuple(map(Period.parse, ("5m", "1h")))


def explained(life: Life, minutes: Sequence[Minute]) -> list[tuple[Facts, Explanation]]:
    """What explain says of some minutes."""
    return explained_from(*log_of(life), minutes)


def explained_from(
    log: Log, kafka: MemoryKafka, minutes: Sequence[Minute]
) -> list[tuple[Facts, Explanation]]:
    """The same, of topics as they are."""

    async def ask() -> list[tuple[Facts, Explanation]]:
        found = []
        for symbol, minute_us in minutes:
            facts = await gather(log, "B", symbol, MINUTE, minute_us)
            assert isinstance(facts, Facts)
            report(facts)
            found.append((facts, explain(facts)))
        return found

    with reading_from(kafka):
        return asyncio.run(ask())


def some_minutes(draw: Any, life: Life, truth: Truth, count: int) -> list[Minute]:
    known = sorted({*truth.versions, *truth.ticks, *truth.passed})
    last_us = max((minute_us for _, minute_us in known), default=0)
    rule = NameRule(life.rules.fold_case is True)
    symbol = st.sampled_from(sorted({rule.normalise(name) for name in life.case.rows}))
    known = [minute for minute in known if rule.normalise(minute[0]) == minute[0]]
    anywhere = st.tuples(symbol, st.integers(0, last_us // MINUTE_US + 2).map(_minutes))
    return [draw(st.sampled_from(known) if known and n % 4 else anywhere) for n in range(count)]


def _minutes(number: int) -> int:
    return number * MINUTE_US


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives(workers=NarratedWorkers, periods=PERIODS))
def test_explain_says_of_a_minute_what_happened(data: st.DataObject, life: Life) -> None:
    truth = Truth.of(life)
    minutes = some_minutes(data.draw, life, truth, 8)
    for minute, (facts, found) in zip(minutes, explained(life, minutes), strict=True):
        note(f"{minute} {found}")
        _holds(truth, minute, facts, found)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives(("reject",), workers=NarratedWorkers, periods=PERIODS))
def test_where_nothing_was_written_anew_explain_finds_its_place_without_reading_all(
    data: st.DataObject, life: Life
) -> None:
    # the topics of a life are short: what is near must be nearer than they are long
    truth = Truth.of(life)
    minutes = some_minutes(data.draw, life, truth, 6)
    with (
        mock.patch.multiple(bars, _NEAR=3, _PROBE=2, _FLUSH=60),
        mock.patch.object(gathered, "_BEFORE", 0),
    ):
        found = explained(life, minutes)
    for minute, (facts, one) in zip(minutes, found, strict=True):
        note(f"{minute} {one}")
        _holds(truth, minute, facts, one)
        assert len(facts.live) == _live_of(life, minute)


def _live_of(life: Life, minute: Minute) -> int:
    key = bar_key("B", *minute)
    return sum(each == key for each, _ in life.store.live)


def _holds(truth: Truth, minute: Minute, facts: Facts, found: Explanation) -> None:
    versions = truth.versions.get(minute, [])
    assert [one.bar for one in facts.finals] == [one.bar for one in versions]
    ticks = truth.ticks.get(minute, {})
    places = found.places
    assert {t.offset for t in places.waiting} == _with(ticks, "waiting")
    assert {t.offset for t in places.accepted} == _with(ticks, "accepted", "merged")
    told = {one.tick.offset: str(one.reason) for one in places.rejected}
    kept = {"accepted", "merged", "waiting"}
    rejected = {at: why for at, why in ticks.items() if why not in kept}
    assert told.items() <= rejected.items()
    # no record tells of those off session, and they are not looked for behind the close
    looked_to = _looked_to(facts)
    missed = {rejected[at] for at in rejected.keys() - told.keys()}
    assert missed <= {"off_session"}
    assert all(at in told for at in rejected if at < looked_to)
    if versions:
        assert found.status == "final"
        first = versions[0]
        assert found.closing is not None
        if found.closing.by == "unproven":  # the log leaves it open, and both are named
            assert found.closing.sentence.startswith("either")
            assert f"at offset {first.offset}" in found.closing.sentence
        else:
            _closing_holds(found.closing, first)
        assert found.parts is None or found.parts.agrees
        assert (found.parts is None) == versions[-1].bar.synthetic
        return
    assert found.status == ("open" if places.accepted else "missing")
    assert found.reason != "unexplained"
    why = truth.passed.get(minute)
    if why == "off_session":
        assert found.reason in (
            "off_session",
            "unscheduled",
            "schedule_newer",
            "before_first_price",
        )
    if why == "unpriced":
        gone = facts.scheduled.session is None  # what is said is said of the sessions of now
        assert found.reason in (
            "before_first_price",
            *(("off_session", "unscheduled") if gone else ()),
        )
    if why == "asleep":
        assert found.reason == "asleep"
    if found.reason == "asleep":
        after = [at for at, us in truth.in_time.get(minute[0], []) if us > minute[1]]
        woken = facts.woken_by
        assert (None if woken is None else woken.offset) == min(after, default=None)


@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives(workers=NarratedWorkers, periods=PERIODS))
def test_explain_says_of_an_upper_bar_what_it_is_made_of(data: st.DataObject, life: Life) -> None:
    truth, period = Truth.of(life), data.draw(st.sampled_from(PERIODS))
    minutes = some_minutes(data.draw, life, truth, 4)
    buckets = [(symbol, period.floor(minute_us)) for symbol, minute_us in minutes]
    for bucket, (facts, found) in zip(buckets, upper_explained(life, period, buckets), strict=True):
        note(f"{bucket} {found}")
        _upper_holds(truth, period, bucket, facts, found)


def upper_explained(
    life: Life, period: Period, buckets: Sequence[Minute]
) -> list[tuple[UpperFacts | None, UpperExplanation | None]]:
    """What explain says of some upper bars; None of a series that was never seen."""

    async def ask() -> list[tuple[UpperFacts | None, UpperExplanation | None]]:
        found: list[tuple[UpperFacts | None, UpperExplanation | None]] = []
        for symbol, bucket_us in buckets:
            facts = await gather(log, "B", symbol, period, bucket_us)
            report(facts)
            if not isinstance(facts, UpperFacts):
                found.append((None, None))
                continue
            if (last := await last_minute(log, facts)) is not None:
                closed_by(last)
            found.append((facts, explain_upper(facts)))
        return found

    log, kafka = log_of(life)
    with reading_from(kafka):
        return asyncio.run(ask())


def _upper_holds(truth: Truth, period: Period, bucket: Minute, facts: Any, found: Any) -> None:
    symbol, bucket_us = bucket
    bar = truth.uppers.get((str(period), bucket))
    if found is None:
        assert bar is None
        return
    minutes = [(symbol, us) for us in range(bucket_us, period.advance(bucket_us), MINUTE_US)]
    newest = [truth.versions[one][-1].bar for one in minutes if one in truth.versions]
    real = [one for one in newest if not one.synthetic]
    assert (found.counts.real, found.counts.synthetic) == (len(real), len(newest) - len(real))
    assert found.counts.revised == sum(one.revision > 0 for one in newest)
    assert (found.of.status == "final") == (bar is not None)
    if bar is None:
        assert found.of.reason != "unexplained", found.of.sentence
        return
    values = {one.bucket_start_us: one for one in newest}
    given = {name: getattr(values[us], name) for name, us in found.givers.items()}
    assert given == {name: getattr(bar, name) for name in ("open", "high", "low", "close")}


def _closing_holds(closing: Closing, first: Version) -> None:
    assert closing.by == first.by
    if closing.beat is not None:
        assert closing.beat.offset == first.offset
    elif closing.tick is not None and first.by != "grace":
        assert closing.tick.offset == first.offset


def _looked_to(facts: Facts) -> int:
    """Up to where ticks are looked for."""
    if facts.seen is None:
        return 0
    closed = facts.final or facts.neighbours.after
    bar = None if closed is None else closed.bar
    return 1 << 60 if bar is None else bar.close_offset or 0


def _with(ticks: dict[int, str], *verdicts: str) -> set[int]:
    return {at for at, verdict in ticks.items() if verdict in verdicts}


# -- lives written by hand ----------------------------------------------------------------------


def sessions(*dates: int) -> list[SessionRow]:
    """Ten minutes of each date, dates a quarter of an hour apart."""
    return [
        SessionRow("B", "S", date, 0, date * 15 * MINUTE_US, (date * 15 + 10) * MINUTE_US)
        for date in dates
    ]


def lived(case: Case, *turns: tuple[int, RulesRow]) -> Life:
    """A life in which workers go on by other rules, each from a tick offset on."""
    schedule, store = ScheduleTopic(), Topics()
    schedule.load(case.rows)
    schedule.read()
    workers = NarratedWorkers(case, by(), schedule, store)
    for end, rules in turns:
        if end:
            workers.apply(end, starts_over=False)
            workers.flush()
        workers.change(rules)
    workers.apply(case.end, starts_over=False)
    workers.flush()
    return Life(case, workers.rules, store, schedule, workers)


def by(policy: Any = "reject", inactive_after: int = 1, grace_us: int = 0) -> RulesRow:
    """Rules."""
    return RulesRow(grace_us, 0, policy, inactive_after, False, "tests", fold_case=True)


def ticks_at(*minutes: float) -> list[Tick]:
    """Ticks at times in minutes, each appended when it or one before it happened."""
    times = [int(minute * MINUTE_US) for minute in minutes]
    return [
        Tick(at, "S", time_us, 1.0 + at, 1.0, max(times[: at + 1]))
        for at, time_us in enumerate(times)
    ]


def test_a_late_tick_that_made_a_bar_during_a_sleep_did_not_end_it() -> None:
    # tick in 1 | asleep from date 2 on, heartbeat for :39 | late tick in :35 | date 4 at :62 wakes
    ticks = ticks_at(1, 35, 62, 64)
    beats = [Beat(1, "S", 39 * MINUTE_US, 1, 41 * MINUTE_US)]
    case = Case({"S": sessions(*range(6))}, Rules(), ticks, beats, 4)
    # the worker that went on by another grace says where the heartbeat had been used
    life = lived(case, (0, by("revise")), (1, by("revise", grace_us=1_000_000)))
    ((facts, found),) = explained(life, [("S", 32 * MINUTE_US)])
    assert found.reason == "asleep"
    assert facts.woken_by is not None
    assert facts.woken_by.offset == 2
    ((_, made),) = explained(life, [("S", 35 * MINUTE_US)])
    assert made.closing is not None
    assert (made.closing.by, made.closing.tick and made.closing.tick.offset) == ("late_tick", 1)


def test_a_minute_that_was_slept_through_stays_so_when_the_rule_is_another() -> None:
    # asleep after one date then, after three now
    ticks = ticks_at(1, 62, 64)
    case = Case({"S": sessions(*range(6))}, Rules(), ticks, [], 4)
    life = lived(case, (3, by(inactive_after=3)))
    ((_, found),) = explained(life, [("S", 32 * MINUTE_US)])
    assert found.reason == "asleep"
    assert "1 trading dates had passed" in found.sentence


def test_a_tick_that_was_rejected_is_of_the_series_whose_name_it_had_then() -> None:
    # offset   1 names are folded: of ALPHA  |  3 they are not: of Alpha; neither is ever accepted
    ticks = [Tick(at, "Alpha", at * 10_000_000, None, 1.0, 30_000_000) for at in (1, 3)]
    life = lived(Case({}, Rules(), ticks, [], 4), (2, replace(by(), fold_case=False)))
    ((facts, found),) = explained(life, [("Alpha", 0)])
    assert [one.tick.offset for one in found.places.rejected] == [3]
    assert (facts.seen, facts.refused_before) == (None, {"invalid": 1})


def test_a_minute_that_a_shorter_grace_passed_is_told_by_the_sessions_of_then() -> None:
    # ticks in 1 and 3, by 200 s of grace nothing is over | the rows are taken back, then another
    # worker with no grace passes 2 | the rows are there again
    ticks = ticks_at(1.1, 3.1)
    case, schedule = Case({"S": sessions(0)}, Rules(), ticks, [], 4), ScheduleTopic()
    schedule.load(case.rows)
    schedule.read()
    workers = NarratedWorkers(case, by(grace_us=200_000_000), schedule, Topics())
    workers.apply(2, starts_over=False)
    schedule.load({"S": []})
    workers.read_schedule()
    workers.flush()
    workers.change(by())
    workers.apply(3, starts_over=False)
    schedule.load(case.rows)
    workers.read_schedule()
    workers.apply(4, starts_over=False)
    workers.flush()
    life = Life(case, workers.rules, workers.store, schedule, workers)
    ((_, found),) = explained(life, [("S", 2 * MINUTE_US)])
    assert found.reason == "schedule_newer"


def test_a_heartbeat_from_before_the_first_tick_is_not_what_passed_a_minute_over() -> None:
    # a heartbeat for 2, then the first tick, in 1 | no session any more: a heartbeat passes 2 over
    # | the sessions are there again
    beats = [
        Beat(1, "S", 2 * MINUTE_US, 0, 180_000_000),
        Beat(2, "S", 2 * MINUTE_US, 2, 190_000_000),
    ]
    tick = Tick(0, "S", 70_000_000, 1.0, 1.0, 180_000_000)
    case, schedule = Case({"S": sessions(0)}, Rules(), [tick], beats, 4), ScheduleTopic()
    schedule.load(case.rows)
    schedule.read()
    workers = NarratedWorkers(case, by(), schedule, Topics())
    workers.apply(1, starts_over=False)
    for end, rows in ((3, []), (4, sessions(0))):
        schedule.load({"S": rows})
        workers.read_schedule()
        workers.apply(end, starts_over=False)
    workers.flush()
    life = Life(case, workers.rules, workers.store, schedule, workers)
    ((_, found),) = explained(life, [("S", 2 * MINUTE_US)])
    assert found.reason == "schedule_newer"


def test_a_minute_behind_a_bar_that_came_late_is_told_by_the_sessions_of_then() -> None:
    # the first tick in 8 | the session ends in 3 now, a late tick in 1 fills to there | as before
    ticks, day = ticks_at(8.1, 9.1, 1.5, 9.5), sessions(0)
    case, schedule = Case({"S": day}, Rules(), ticks, [], 4), ScheduleTopic()
    schedule.load(case.rows)
    schedule.read()
    workers = NarratedWorkers(case, by("revise"), schedule, Topics())
    short = [replace(day[0], close_us=3 * MINUTE_US)]
    for end, rows in ((2, short), (3, day), (4, day)):
        workers.apply(end, starts_over=False)
        schedule.load({"S": rows})
        workers.read_schedule()
    workers.flush()
    life = Life(case, workers.rules, workers.store, schedule, workers)
    (_, late), (_, found) = explained(life, [("S", MINUTE_US), ("S", 5 * MINUTE_US)])
    assert (late.status, found.reason) == ("final", "schedule_newer")


def test_of_heartbeats_that_may_have_come_before_the_first_tick_each_is_named() -> None:
    # three for minute 1; the barriers of two lie before the first tick, and all came after it
    beats = [Beat(at, "S", MINUTE_US, at, (130 + at) * 1_000_000) for at in (1, 2, 4)]
    tick = Tick(3, "S", 70_000_000, 1.0, 1.0, 131_000_000)
    case = Case({"S": sessions(0)}, Rules(), [tick], beats, 5)
    ((_, found),) = explained(lived(case, (0, by())), [("S", MINUTE_US)])
    assert found.closing is not None
    named = [f"the heartbeat at offset {beat.offset}" in found.closing.sentence for beat in beats]
    assert (found.closing.by, named) == ("unproven", [True, True, True])


def test_a_tick_that_the_log_says_was_rejected_closed_nothing() -> None:
    # ticks in 1 and 4, the second closes 1; then a record says that it was rejected
    case = Case({"S": sessions(0)}, Rules(), ticks_at(1.1, 4.5), [], 2)
    life = lived(case)
    for is_recorded, cause in ((False, "watermark"), (True, "unproven")):
        log, kafka = log_of(life)
        names, tick = log.cluster.names, case.ticks[1]
        said = {"topic": names.ticks, "partition": "0", "offset": "1", "reason": "partition"}
        headers = [(name, text.encode()) for name, text in said.items()]
        if is_recorded:
            rejected = kafka.topic(names.ticks_rejected)
            rejected.append(300_000, series_key("B", "S"), value_of(tick), headers)
        ((_, found),) = explained_from(log, kafka, [("S", MINUTE_US)])
        assert found.closing is not None
        assert found.closing.by == cause


def test_a_tick_behind_the_close_that_is_not_applied_yet_is_waiting() -> None:
    # ticks in 1, 2 and 3; minute 1 is final; one more in 1, which no worker has taken
    ticks = ticks_at(1.1, 2.1, 3.1, 1.5)
    case, schedule = Case({"S": sessions(0)}, Rules(), ticks, [], 4), ScheduleTopic()
    schedule.load(case.rows)
    schedule.read()
    workers = NarratedWorkers(case, by("revise"), schedule, Topics())
    workers.apply(3, starts_over=False)
    workers.flush()
    life = Life(case, workers.rules, workers.store, schedule, workers)
    ((_, found),) = explained(life, [("S", MINUTE_US)])
    assert (found.status, [one.offset for one in found.places.waiting]) == ("final", [3])


def test_a_minute_around_a_schedule_load_says_one_thing() -> None:
    # two ticks before the first row of the series, the rows, two ticks; the third minute closes
    ticks = ticks_at(1.1, 1.2, 1.4, 1.5, 3.5)
    case = Case({"S": []}, Rules(), ticks, [], 5)
    schedule = ScheduleTopic()
    workers = NarratedWorkers(case, by(), schedule, Topics())
    workers.apply(2, starts_over=False)
    schedule.now_us = 80_000_000
    schedule.load({"S": sessions(0, 1)})
    workers.read_schedule()
    workers.apply(5, starts_over=False)
    workers.flush()
    life = Life(case, workers.rules, workers.store, schedule, workers)
    (_, found), (_, empty) = explained(life, [("S", MINUTE_US), ("S", 0)])
    assert (found.status, found.sentence) == ("final", "final, made of 2 ticks")
    assert [one.offset for one in found.places.accepted] == [2, 3]
    refused = [(one.tick.offset, str(one.reason), one.detail) for one in found.places.rejected]
    said = "the series had no row in the market schedule when it was applied"
    later = "; the session there is now came later"
    assert refused == [(at, "unscheduled", said + later) for at in (0, 1)]
    assert found.notes == ("ticks of this minute that were rejected: 2 unscheduled",)
    assert empty.reason == "before_first_price"
