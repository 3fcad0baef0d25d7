"""How a series is shown follows what the planner of heartbeats makes of it."""

from __future__ import annotations

from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen
from barstream.rules.heartbeat_plan import HeartbeatRules, plan
from barstream.rules.series import Rules
from barstream.serve.series_list import Kinds

from .engine_stub import feed, stub_partitions

MINUTE = 60_000_000
DAY = 1440 * MINUTE
INACTIVE_AFTER = 5


def provider() -> MarketScheduleProvider:
    made = MarketScheduleProvider()
    made.swap(
        ScheduleIndex.build(
            SessionRow("B", symbol, day, 0, day * DAY, (day + 1) * DAY)
            for symbol in ("X", "OLD")
            for day in range(40)
        )
    )
    return made


def seen(symbol: str = "X", *, live: bool = True) -> SeriesSeen:
    return SeriesSeen("B", symbol, 0, 0, 0, live, 10 * MINUTE)


def test_a_series_is_shown_asleep_from_the_instant_the_planner_stops() -> None:
    #  day    0      1   2   3   4   5      6
    #         tick   five trading dates     first open: asleep
    schedule, rules = provider(), HeartbeatRules(0, INACTIVE_AFTER)
    for now_us in (DAY, 6 * DAY - 1, 6 * DAY, 6 * DAY + 1, 30 * DAY):
        due = plan(now_us, [seen()], schedule.index, {}, rules)
        shown = Kinds(schedule, INACTIVE_AFTER, lambda now_us=now_us: now_us).of_row(seen())  # type: ignore[misc]
        assert shown == ("asleep" if due.asleep else "live"), now_us
        assert shown == ("asleep" if now_us >= 6 * DAY else "live"), now_us


def test_a_series_held_here_is_shown_as_its_row_is_elsewhere() -> None:
    """The planner stops before `asleep_us`, so `closed_until` never passes it."""
    schedule = provider()
    engine = stub_partitions(schedule, Rules(0, INACTIVE_AFTER)).owned[0].engine
    feed(engine, "X", [MINUTE])
    feed(engine, "OLD", [MINUTE], late_us=DAY)
    state = engine.state
    for now_us, kinds in ((DAY, ["live", "historical"]), (6 * DAY, ["asleep", "historical"])):
        judge = Kinds(schedule, INACTIVE_AFTER, lambda now_us=now_us: now_us)  # type: ignore[misc]
        assert [judge.of_state(0, state, series) for series in state] == kinds


def test_a_live_series_that_left_the_schedule_is_shown_so() -> None:
    kinds = Kinds(provider(), INACTIVE_AFTER, lambda: 0)
    assert kinds.of_row(seen("GONE")) == "unscheduled"
    assert kinds.of_row(seen("GONE", live=False)) == "historical"
