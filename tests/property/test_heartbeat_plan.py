"""Laws of planning: after any outage there is no hole, nothing twice, and order is kept."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.market.schedule import ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules, plan
from tests.examples import examples

FIRST_US = 28_000_000 * MINUTE_US
SPAN_MINUTES = 240


@st.composite
def schedules(draw: st.DrawFn, symbol: str) -> list[SessionRow]:
    """Sessions that neither overlap nor share a minute, opening and closing at any second."""
    rows: list[SessionRow] = []
    cursor_us = FIRST_US
    for number in range(draw(st.integers(1, 5))):
        open_us = cursor_us + draw(st.integers(0, 40 * 60)) * SECOND_US
        close_us = open_us + draw(st.integers(1, 40 * 60)) * SECOND_US
        tolerance_us = draw(st.sampled_from([0, 0, 10, 90, 300])) * SECOND_US
        rows.append(SessionRow("DEMO", symbol, number, 0, open_us, close_us, tolerance_us))
        cursor_us = max(-(-close_us // MINUTE_US) * MINUTE_US, close_us + tolerance_us)
    return rows


def due_one_by_one(
    seen: SeriesSeen, rows: list[SessionRow], mark_us: int, now_us: int, rules: HeartbeatRules
) -> list[int]:
    """The definition, a minute at a time: in session, after the mark, over, and awake.

    The last minute of a session is over when its close tolerance is.
    """
    late_us = MINUTE_US + rules.grace_us + rules.feed_delay_us.get(seen.broker, 0)
    later_dates = sorted({r.trading_date for r in rows if r.trading_date > seen.last_trading_date})
    asleep_dates = later_dates[rules.inactive_after :]
    found = []
    for k in range(FIRST_US, FIRST_US + 20 * SPAN_MINUTES * MINUTE_US, MINUTE_US):
        if k <= mark_us or k + late_us > now_us:
            continue
        for r in rows:
            in_session = r.open_us < k + MINUTE_US and k < r.close_us
            tolerated_us = r.close_us + r.close_tolerance_us + late_us - MINUTE_US
            is_over = r.close_us > k + MINUTE_US or tolerated_us <= now_us
            if in_session and is_over and r.trading_date not in asleep_dates:
                found.append(k)
    return found


@pytest.mark.law("L13")
@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_any_sequence_of_wake_ups_covers_every_due_minute_exactly_once(data: st.DataObject) -> None:
    symbols = ["A", "B", "C"][: data.draw(st.integers(1, 3))]
    rows = {symbol: data.draw(schedules(symbol)) for symbol in symbols}
    index = ScheduleIndex.build([row for series in rows.values() for row in series])
    assert not index.problems
    rules = HeartbeatRules(
        grace_us=data.draw(st.integers(0, 20)) * SECOND_US,
        inactive_after=data.draw(st.integers(0, 5)),
        feed_delay_us={"DEMO": data.draw(st.sampled_from([0, 30, 900])) * SECOND_US},
        max_catch_up=data.draw(st.integers(1, 60)),
    )
    unbounded = replace(rules, max_catch_up=1_000_000)
    universe = [
        SeriesSeen("DEMO", symbol, 0, FIRST_US, data.draw(st.integers(0, 2)), True, -1)
        for symbol in symbols
    ]
    start = FIRST_US + data.draw(st.integers(-5, 60)) * MINUTE_US
    marks = {seen.name: start for seen in universe}
    emitted: dict[tuple[str, str], list[int]] = {seen.name: [] for seen in universe}

    # Outages of any length between wake-ups, and at the last one rounds until it is through.
    gaps = data.draw(st.lists(st.integers(1, 90 * 60), min_size=1, max_size=6))
    now_us = FIRST_US
    for gap_s in [*gaps, 0]:
        now_us += gap_s * SECOND_US
        while True:
            due = plan(now_us, universe, index, marks, rules)
            order = [(minute_us, seen.symbol) for seen, minute_us in due]
            assert order == sorted(order)
            assert len(due) <= rules.max_catch_up
            for seen, minute_us in due:
                emitted[seen.name].append(minute_us)
            marks.update(due.marks())
            expected_left = sum(
                len(due_one_by_one(seen, rows[seen.symbol], marks[seen.name], now_us, rules))
                for seen in universe
            )
            assert due.remaining == expected_left
            if due.held_until_us is not None:
                # it is told when the first of those comes due that wait for a tolerance alone
                assert now_us < due.held_until_us
                later_us = due.held_until_us
                assert len(plan(later_us, universe, index, marks, unbounded)) >= len(
                    plan(later_us - 1, universe, index, marks, unbounded)
                )
            if gap_s or not due.remaining:
                break  # an outage may begin in the midst of a catch-up

    for seen in universe:
        assert all(a < b for a, b in pairwise(emitted[seen.name]))
        expected = due_one_by_one(seen, rows[seen.symbol], start, now_us, rules)
        assert emitted[seen.name] == expected


@given(
    now_s=st.integers(0, 10**7),
    grace_s=st.integers(0, 200),
    delays=st.lists(st.integers(0, 2000), max_size=3),
)
def test_between_two_wake_ups_no_minute_comes_due(
    now_s: int, grace_s: int, delays: list[int]
) -> None:
    brokers = {f"B{i}": delay * SECOND_US for i, delay in enumerate(delays)}
    rules = HeartbeatRules(grace_s * SECOND_US, 5, feed_delay_us=brokers)
    now_us = FIRST_US + now_s * SECOND_US
    wake_us = rules.next_due_us(now_us)
    assert now_us < wake_us <= now_us + MINUTE_US
    for broker in [*brokers, "OTHER"]:
        assert rules.newest_due(broker, wake_us - 1) == rules.newest_due(broker, now_us)
    assert any(
        rules.newest_due(b, wake_us) > rules.newest_due(b, now_us) for b in [*brokers, "OTHER"]
    )
