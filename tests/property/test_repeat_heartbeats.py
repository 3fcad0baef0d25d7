"""Laws of repeats: every week and month the schedule does not reach past is proved over once."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.market.schedule import ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules, plan
from tests.examples import examples

EPOCH = date(1970, 1, 1)
FIRST = (date(2024, 1, 22) - EPOCH).days
DAYS = 30
WEEK, MONTH = Period.weeks(), Period.months()


@st.composite
def schedules(draw: st.DrawFn) -> list[SessionRow]:
    """Short sessions on some dates, some of which run past midnight UTC."""
    rows: list[SessionRow] = []
    for day in sorted(draw(st.sets(st.integers(0, DAYS), min_size=1, max_size=12))):
        opened = draw(st.sampled_from([0, 9 * 3600, 86400 - 90])) * SECOND_US
        length = draw(st.integers(1, 200)) * SECOND_US
        open_us = (FIRST + day) * DAY_US + opened
        if rows and open_us < rows[-1].close_us + MINUTE_US:
            continue
        rows.append(SessionRow("DEMO", "A", FIRST + day, 0, open_us, open_us + length))
    return rows


def following(period: Period, day: int) -> int:
    """First date of the week or month after the one that holds a date, by the calendar."""
    at = EPOCH + timedelta(days=day)
    if period == WEEK:
        return (at - timedelta(days=at.weekday()) + timedelta(days=7) - EPOCH).days
    return ((at.replace(day=28) + timedelta(days=4)).replace(day=1) - EPOCH).days


def minutes_awake(rows: list[SessionRow], seen: SeriesSeen, after: int) -> dict[int, int]:
    """Trading date of each in-session minute before the series falls asleep."""
    later = sorted({r.trading_date for r in rows if r.trading_date > seen.last_trading_date})
    return {
        k: r.trading_date
        for r in rows
        if r.trading_date not in later[after:]
        for k in range(
            r.open_us // MINUTE_US * MINUTE_US, r.close_us, MINUTE_US
        )
    }  # fmt: skip


@pytest.mark.law("L13")
@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_every_bucket_the_schedule_ends_in_is_proved_over_exactly_once(
    data: st.DataObject,
) -> None:
    rows = data.draw(schedules())
    index = ScheduleIndex.build(rows)
    assert not index.problems
    rules = HeartbeatRules(
        grace_us=data.draw(st.integers(0, 120)) * SECOND_US,
        inactive_after=data.draw(st.integers(0, 8)),
        feed_delay_us={"DEMO": data.draw(st.sampled_from([0, 900])) * SECOND_US},
        max_catch_up=data.draw(st.integers(1, 9)),
    )
    traded = data.draw(st.sampled_from(sorted({r.trading_date for r in rows})))
    seen = SeriesSeen("DEMO", "A", 0, rows[0].open_us, traded, live=True, closed_until_us=-1)
    periods = data.draw(st.sampled_from([(WEEK,), (MONTH,), (WEEK, MONTH)]))
    awake = minutes_awake(rows, seen, rules.inactive_after)
    late_us = rules.lateness_us("DEMO")

    marks = {seen.name: FIRST * DAY_US - MINUTE_US}
    heard: dict[tuple[str, str], int] = {}
    sent: list[tuple[int, int]] = []
    repeated: list[tuple[int, int]] = []
    now_us = FIRST * DAY_US
    gaps = data.draw(st.lists(st.integers(0, 9 * 86400), min_size=1, max_size=25))
    for gap_s in [*gaps, 70 * 86400]:
        now_us += gap_s * SECOND_US
        while True:
            due = plan(now_us, [seen], index, marks, rules, periods, heard)
            before = dict(marks)
            for each in due.repeats:
                repeated.append((each.minute_us, now_us))
                assert each.minute_us <= before[seen.name]
                assert now_us >= each.end_us + late_us
            sent += [(minute_us, now_us) for _, minute_us in due]
            marks.update(due.marks())
            heard.update((series.name, now_us) for series, _ in due)
            if not due.remaining:
                break

    # whatever is repeated, the minutes themselves are sent as if there were no weeks
    first_time = list(sent)
    for again in repeated:
        first_time.remove(again)
    assert [k for k, _ in first_time] == sorted(awake)

    last_date = max(r.trading_date for r in rows)
    proved = {
        following(period, day)
        for period in periods
        for day in awake.values()
        if last_date < following(period, day)
    }
    for end in proved:
        assert any(at_us >= end * DAY_US + late_us for _, at_us in sent)
    assert {k for k, _ in repeated} <= {max(awake, default=None)}
    # one for each end at most, and none where the minute itself was sent after it
    ends = [end * DAY_US + late_us for end in proved]
    needed = [us for us in ends if not any(at_us >= us for _, at_us in first_time)]
    assert len(repeated) <= len(needed)
    assert bool(repeated) == bool(needed)
