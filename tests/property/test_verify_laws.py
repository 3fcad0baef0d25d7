"""Whatever the log: what an engine wrote is right, and what is changed in it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.codecs.avro.body import decode, encode
from barstream.log.selection import Selection
from barstream.market.schedule import SessionRow
from barstream.model.period import Period
from barstream.model.time import MINUTE_US
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from barstream.verify.rollups import in_order
from tests.examples import examples
from tests.property.engine_cases import Beat, Case, Store, Tick, cases, cuts, deliver, feed
from tests.property.market_cases import Market, markets
from tests.property.rollup_cases import PERIODS
from tests.property.test_revised_rollups import PERIODS as REVISED
from tests.property.test_revised_rollups import late_cases
from tests.property.test_rollup_laws import slow_cases
from tests.property.verify_cases import Logged, Written, verdict
from tests.reference.series import PlainSeries


def written(case: Case, parts: list[tuple[int, int]]) -> Store:
    """What flushes leave, heartbeats as early as can be."""
    engine, store = case.engine(), Store()
    deliver(engine, case.beats)
    for start, end in parts:
        feed(engine, case.ticks, start, end)
        store.flush(engine)
    return store


@settings(max_examples=examples(150), deadline=None)
@given(st.data(), cases())
def test_what_an_engine_wrote_is_right_in_whatever_blocks_it_is_verified(
    data: st.DataObject, case: Case
) -> None:
    store = written(case, cuts(data.draw, 0, case.end))
    parts = cuts(data.draw, 0, case.end)
    outcome = verdict(case, store.finals, store.rejected, store.series, parts)
    assert outcome.findings.kept == []
    ticks = outcome.accounts
    assert ticks.ticks == ticks.in_bars + ticks.open + ticks.late + ticks.refused + (
        ticks.off_session
    )
    said = [headers["reason"] for _, _, headers in store.rejected]
    assert ticks.unscheduled == said.count(b"unscheduled")
    assert ticks.elsewhere == said.count(b"partition")
    assert sum(each.missing for each in outcome.sessions) == 0


@settings(max_examples=examples(60), deadline=None)
@given(st.data(), cases())
def test_counts_are_of_the_series_and_the_time_asked_for(data: st.DataObject, case: Case) -> None:
    store = written(case, [(0, case.end)])
    symbol = data.draw(st.sampled_from(sorted(case.rows)))
    from_us, to_us = (
        data.draw(st.sampled_from(case.ticks)).time_us // MINUTE_US * MINUTE_US + at * MINUTE_US
        if case.ticks else None
        for at in (0, data.draw(st.integers(0, 9)))
    )  # fmt: skip
    wanted = Selection("B", symbol, from_us, to_us)
    outcome = verdict(
        case, store.finals, store.rejected, store.series, [(0, case.end)], wanted=wanted
    )
    assert outcome.findings.kept == []
    asked = [
        tick for tick in case.ticks
        if tick.symbol == symbol and tick.price is not None
        and wanted.has_time(PlainSeries(case.rows[symbol], 0, 0).minute_of(tick.time_us))
    ]  # fmt: skip
    late = {int(said["offset"]) for _, _, said in store.rejected if said["reason"] == b"late"}
    counted = outcome.accounts
    assert counted.ticks == len(asked)
    assert counted.late == len(late & {tick.offset for tick in asked})
    assert counted.refused == 0, "garbage is of no series"
    assert counted.ticks == counted.in_bars + counted.open + counted.late + counted.off_session


@settings(max_examples=examples(100), deadline=None)
@given(st.data(), cases())
def test_each_field_of_each_bar_is_held_to_the_ticks(data: st.DataObject, case: Case) -> None:
    store = written(case, [(0, case.end)])
    if not store.finals:
        return
    at = data.draw(st.integers(0, len(store.finals) - 1))
    key, value = store.finals[at]
    row = decode("bar", value or b"")
    name = data.draw(st.sampled_from(["open", "high", "low", "close", "tick_count", "session"]))
    store.finals[at] = key, encode("bar", row | {name: row[name] + 1})
    outcome = verdict(case, store.finals, store.rejected, store.series, [(0, case.end)])
    assert [(each.kind, each.field) for each in outcome.findings.kept] == [("difference", name)]


@pytest.mark.law("L4")
@settings(max_examples=examples(100), deadline=None)
@given(st.data(), cases())
def test_a_bar_left_out_is_missing(data: st.DataObject, case: Case) -> None:
    store = written(case, [(0, case.end)])
    if len(store.finals) < 2:
        return
    gone = store.finals.pop(data.draw(st.integers(0, len(store.finals) - 1)))
    outcome = verdict(case, store.finals, store.rejected, store.series, [(0, case.end)])
    assert outcome.findings.number("difference"), gone


@settings(max_examples=examples(100), deadline=None)
@given(st.data(), cases())
def test_what_late_ticks_revised_is_right(data: st.DataObject, case: Case) -> None:
    case = replace(case, rules=Rules(case.rules.grace_us, case.rules.inactive_after, {}, "revise"))
    store = written(case, cuts(data.draw, 0, case.end))
    outcome = verdict(case, store.finals, store.rejected, store.series, [(0, case.end)])
    assert outcome.findings.kept == []


@settings(max_examples=examples(100), deadline=None)
@given(st.data(), cases())
def test_the_exact_volume_of_a_bar_that_may_be_revised_is_held_to_the_ticks(
    data: st.DataObject, case: Case
) -> None:
    """The bar looks right until the next late tick is added to it."""
    case = replace(case, rules=Rules(case.rules.grace_us, case.rules.inactive_after, {}, "revise"))
    store = written(case, [(0, case.end)])
    newest = {key: at for at, (key, _) in enumerate(store.finals)}
    rows = {at: decode("bar", store.finals[at][1] or b"") for at in newest.values()}
    exact = [at for at, row in rows.items() if row["volume_exact"] is not None]
    if not exact:
        return
    at = data.draw(st.sampled_from(exact))
    text = rows[at]["volume_exact"]
    other = data.draw(st.sampled_from([text + "1", "1" + text, "0", "no number", "1e9"]))
    store.finals[at] = store.finals[at][0], encode("bar", rows[at] | {"volume_exact": other})
    outcome = verdict(case, store.finals, store.rejected, store.series, [(0, case.end)])
    found = [(each.kind, each.field) for each in outcome.findings.kept]
    assert found == [("difference", "volume_exact")]


def lived(case: Logged, periods: Sequence[Period], parts: list[tuple[int, int]]) -> Written:
    """Minutes and upper bars, each heartbeat given just before its barrier."""
    engine = PartitionMachine(
        0,
        case.rules,
        case.provider,
        lambda _b, _s: None,
        MachineOptions(periods=in_order(periods)),
    )
    written, given_out, effective = Written(periods), 0, 0
    for start, end in parts:
        for beat in case.beats[given_out:]:
            effective = max(effective, beat.barrier)
            if effective > end:
                break
            deliver(engine, [beat])
            given_out += 1
        feed(engine, case.ticks, start, end)
        written.flush(engine)
    deliver(engine, case.beats[given_out:])
    written.flush(engine)
    return written


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), slow_cases())
def test_upper_bars_an_engine_wrote_are_right(data: st.DataObject, case: Case) -> None:
    written = lived(case, PERIODS, cuts(data.draw, 0, case.end))
    assert written.verdict(case, [(0, case.end)]).findings.kept == []


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), markets(exact=False))
def test_upper_bars_of_real_trading_hours_are_right(data: st.DataObject, market: Market) -> None:
    written = lived(market, PERIODS, cuts(data.draw, 0, market.end))
    assert written.verdict(market, [(0, market.end)]).findings.kept == []


@settings(max_examples=examples(40), deadline=None)
@given(st.data(), late_cases())
def test_upper_bars_that_late_ticks_revised_are_right(data: st.DataObject, case: Case) -> None:
    case = replace(case, rules=replace(case.rules, late_policy="revise"))
    written = lived(case, REVISED, cuts(data.draw, 0, case.end))
    assert written.verdict(case, [(0, case.end)]).findings.kept == []


#: A session of ten minutes on each date; of the third a series is asleep, if it had its last
#: tick on the first.  Buckets of 15 minutes reach from the second into the third.
DATES = [
    SessionRow("B", "ALPHA", date, 0, start * MINUTE_US, end * MINUTE_US)
    for date, start, end in ((100, 0, 10), (101, 12, 22), (102, 24, 45))
]


def test_a_bar_final_since_its_series_fell_asleep_inside_it_may_stand_when_that_wakes() -> None:
    # closed by a heartbeat into what is slept through; the tick at :24 wakes, the next closes it
    times = (5.0, 24.5, 25.5)
    ticks = [Tick(at, "ALPHA", int(t * MINUTE_US), 1.0) for at, t in enumerate(times)]
    beats = [Beat(0, "ALPHA", 23 * MINUTE_US, 1, 24 * MINUTE_US)]
    case = Case({"ALPHA": DATES}, Rules(0, 1), ticks, beats, len(ticks))
    written = lived(case, PERIODS, [(0, 1), (1, 2), (2, 3)])
    quarter = [decode("bar", row.value) for row in written.rows["15m"]]
    assert 15 * MINUTE_US in {bar["bucket_start"] for bar in quarter}, "it is what is asked about"
    assert written.verdict(case, [(0, case.end)]).findings.kept == []


def test_a_day_final_since_late_ticks_came_asleep_may_stand_while_the_waking_bar_is_open() -> None:
    # closed to :31 while asleep; a late tick makes bars there, and the tick at :40 wakes
    times = (5.0, 26.5, 40.5)
    # offset 1 is a marker: else the first bar could be one that a late tick made
    ticks = [
        Tick(at, "ALPHA", int(t * MINUTE_US), 1.0) for at, t in zip((0, 2, 3), times, strict=True)
    ]
    beats = [Beat(0, "ALPHA", 30 * MINUTE_US, 2, 41 * MINUTE_US)]
    case = Case({"ALPHA": DATES}, Rules(10 * MINUTE_US, 1, {}, "revise"), ticks, beats, 4)
    written = lived(case, REVISED, [(0, 2), (2, 3), (3, 4)])
    days = [decode("bar", row.value) for row in written.rows["1d"]]
    assert 102 in {bar["trading_date"] for bar in days}, "it is what is asked about"
    assert written.verdict(case, [(0, case.end)]).findings.kept == []


@settings(max_examples=examples(30), deadline=None)
@given(st.data(), slow_cases())
def test_an_upper_bar_left_out_or_changed_is_found(data: st.DataObject, case: Case) -> None:
    written = lived(case, PERIODS, [(0, case.end)])
    rows_of = {period: written.rows.get(str(period), []) for period in PERIODS}
    every = [(period, at) for period, rows in rows_of.items() for at in range(len(rows))]
    if not every:
        return
    period, at = data.draw(st.sampled_from(every))
    rows = rows_of[period]
    if data.draw(st.booleans()):
        del rows[at]
    else:
        row = decode("bar", rows[at].value)
        value = encode("bar", row | {"volume": row["volume"] * 2 + 1})
        rows[at] = rows[at]._replace(value=value)
    found = written.verdict(case, [(0, case.end)]).findings
    assert found.number("difference")
    assert all(each.timeframe != "1m" for each in found.kept)
