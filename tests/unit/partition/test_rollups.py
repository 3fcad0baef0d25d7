"""When an upper bar is final, rule by rule."""

from __future__ import annotations

import pytest

from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.partition.finals_view import FinalsView
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.rollup import RollUps
from barstream.rules.rollup_fold import fold
from barstream.rules.series import PartitionState, Rules
from tests.property.engine_cases import Tick, chunk

M = 60_000_000
H = 60 * M
D = 24 * H
#: A Monday.
MONDAY = 20_003
#: Far beyond what the rules could call for.
NEVER_LATE = 1 << 59


class Market:
    """One series X of broker B on an engine with a grace of 0."""

    def __init__(self, *periods: str, inactive_after: int = 5) -> None:
        self.provider = MarketScheduleProvider()
        self.engine = PartitionMachine(
            0, Rules(0, inactive_after), self.provider, lambda _b, _s: None,
            MachineOptions(periods=[Period.parse(text) for text in periods]),
        )  # fmt: skip
        self.rows: list[SessionRow] = []
        self.offset = 0

    def session(self, date: int, open_us: int, close_us: int, number: int = 0) -> None:
        """A session of a trading date, times from its midnight; in force at once."""
        self.rows.append(
            SessionRow("B", "X", date, number, date * D + open_us, date * D + close_us)
        )
        self.reload()

    def reload(self) -> None:
        self.provider.swap(ScheduleIndex.build(self.rows).succeeding(self.provider.index))
        self.engine.schedule_changed()

    def tick(self, time_us: int, price: float = 1.0) -> None:
        record = Tick(self.offset, "X", time_us, price)
        self.offset += 1
        self.engine.apply_ticks(*chunk([record], record.offset, record.offset + 1), 0, at_end=False)

    def beat(self, minute_us: int, appended_us: int = NEVER_LATE) -> None:
        at = self.engine.waiting.next_offset
        self.engine.add_heartbeat(
            QueuedHeartbeat(at, "B", "X", minute_us, self.offset, appended_us)
        )
        self.engine.heartbeats_read(at + 1)

    def new(self) -> list[tuple[str, int, int]]:
        """Upper bars since the last call: timeframe, bucket start, revision."""
        taken = self.engine.take().rollups
        return [(str(period), bar.bucket_start_us, bar.revision) for period, bar in taken]

    def bars(self, period: str) -> list[Bar]:
        return self.engine.book.between(Period.parse(period), "B", "X", 0, 1 << 60)


@pytest.mark.law("L12")
def test_a_bar_is_final_with_the_last_in_session_minute_and_not_at_its_nominal_end() -> None:
    # 1h   |10:00 ------ session ends 10:20 |            11:00|
    #                                       ^ final here
    market = Market("1h", "1d")
    market.session(MONDAY, 9 * H, 10 * H + 20 * M)
    day = MONDAY * D
    market.tick(day + 9 * H)
    market.beat(day + 10 * H + 18 * M)
    assert market.new() == [("1h", day + 9 * H, 0)]
    market.beat(day + 10 * H + 19 * M)
    assert market.new() == [("1h", day + 10 * H, 0), ("1d", day, 0)]


def test_an_hour_with_a_lunch_break_waits_for_the_session_after_it() -> None:
    # 1h  |== morning ==]   lunch   [== afternoon ==|   one bucket, two sessions
    market = Market("1h", "1h@session")
    market.session(MONDAY, 9 * H, 11 * H + 10 * M)
    market.session(MONDAY, 11 * H + 40 * M, 12 * H, 1)
    day = MONDAY * D
    market.tick(day + 11 * H)
    market.beat(day + 11 * H + 9 * M)
    assert market.new() == [("1h@session", day + 11 * H, 0)], "the break ends a session's bucket"
    market.beat(day + 11 * H + 59 * M)
    assert sorted(market.new()) == [
        ("1h", day + 11 * H, 0),
        ("1h@session", day + 11 * H + 40 * M, 0),
    ]


def test_minutes_the_series_sleeps_through_count_as_passed() -> None:
    # inactive after 1: tick on Monday, filled on Tuesday, asleep from Wednesday's open
    # 1wk |Mon Tue|zzzzzzzzz|  final with Tuesday: the schedule reaches the next week
    market = Market("1d", "1wk", inactive_after=1)
    for date in range(MONDAY, MONDAY + 8):
        market.session(date, 0, H)
    market.tick(MONDAY * D)
    market.beat((MONDAY + 1) * D + 58 * M)
    assert market.new() == [("1d", MONDAY * D, 0)]
    market.beat((MONDAY + 1) * D + 59 * M)
    assert market.new() == [("1d", (MONDAY + 1) * D, 0), ("1wk", MONDAY * D, 0)]


def test_a_child_that_comes_after_its_parent_is_a_revision_of_it() -> None:
    # asleep from Wednesday on, the week is final; a tick on Thursday wakes the series
    market = Market("1d", "1wk", inactive_after=1)
    for date in range(MONDAY, MONDAY + 8):
        market.session(date, 0, 2 * M)
    market.tick(MONDAY * D, 5.0)
    market.beat((MONDAY + 1) * D + M)
    market.new()
    thursday = (MONDAY + 3) * D
    market.tick(thursday, 9.0)
    market.beat(thursday + M)
    assert market.new() == [("1d", thursday, 0), ("1wk", MONDAY * D, 1)]
    (week,) = market.bars("1wk")
    assert (week.open, week.high, week.close, week.tick_count) == (5.0, 9.0, 9.0, 2)


def test_a_week_whose_schedule_ends_inside_waits_for_a_later_row() -> None:
    # rows until Wednesday are loaded: Thursday may still come
    market = Market("1d", "1wk", "1mo")
    for date in range(MONDAY, MONDAY + 3):
        market.session(date, 0, H)
    market.tick((MONDAY + 2) * D)
    market.beat((MONDAY + 2) * D + 59 * M, (MONDAY + 2) * D + H)
    assert market.new() == [("1d", (MONDAY + 2) * D, 0)]
    market.session(MONDAY + 4, 0, H)
    assert market.new() == [], "the week goes on until Friday now"
    market.beat((MONDAY + 4) * D + 59 * M, (MONDAY + 4) * D + H)
    assert market.new() == [("1d", (MONDAY + 4) * D, 0)]
    market.session(MONDAY + 7, 0, H)
    assert market.new() == [("1wk", MONDAY * D, 0)], "without a tick or heartbeat of it"


@pytest.mark.parametrize(("late_us", "closes"), [(-1, False), (0, True)])
def test_a_week_whose_schedule_ends_inside_is_over_when_the_log_shows_it(
    late_us: int, closes: bool
) -> None:
    # the last minute is sent again: its append time says that Monday has come
    market = Market("1d", "1wk")
    market.session(MONDAY, 0, H)
    market.tick(MONDAY * D)
    last = MONDAY * D + 59 * M
    market.beat(last, last + M)
    assert market.new() == [("1d", MONDAY * D, 0)]
    market.beat(last, (MONDAY + 7) * D + late_us)
    assert market.new() == ([("1wk", MONDAY * D, 0)] if closes else [])


def test_rows_that_are_withdrawn_complete_what_waited_for_them() -> None:
    # a half day is announced: the day is over with the minute that is final already
    market = Market("1d")
    market.session(MONDAY, 0, H)
    market.session(MONDAY, 2 * H, 3 * H, 1)
    market.session(MONDAY + 1, 0, H)
    market.tick(MONDAY * D)
    market.beat(MONDAY * D + 59 * M)
    assert market.new() == []
    del market.rows[1]
    market.reload()
    assert market.new() == [("1d", MONDAY * D, 0)]


def test_nothing_is_final_while_a_series_has_no_schedule_at_all() -> None:
    # withdrawn to be replaced: what comes in its place is not known yet
    market = Market("1d")
    market.session(MONDAY, 0, H)
    market.tick(MONDAY * D)
    market.beat(MONDAY * D + 5 * M)
    rows, market.rows = market.rows, []
    market.reload()
    assert market.new() == []
    market.rows = rows
    market.reload()
    assert market.new() == []


def test_a_trading_date_corrected_to_an_earlier_one_splits_the_day_where_it_was() -> None:
    # minutes keep the date they were judged by: three of the later date, then two of the earlier
    market = Market("1d")
    market.session(MONDAY + 1, 0, 5 * M)
    market.session(MONDAY + 2, D, D + 5 * M)
    at = (MONDAY + 1) * D
    market.tick(at, 1.0)
    market.tick(at + 2 * M, 2.0)
    market.rows = [
        SessionRow("B", "X", MONDAY, 0, at, at + 5 * M),
        SessionRow("B", "X", MONDAY + 1, 0, at + 2 * D, at + 2 * D + 5 * M),
    ]
    market.reload()
    market.tick(at + 4 * M, 3.0)
    market.beat(at + 4 * M)
    market.tick(at + 2 * D, 9.0)
    market.beat(at + 2 * D + 4 * M)
    for day in market.bars("1d"):
        minutes = market.engine.book.between(MINUTE, "B", "X", 0, 1 << 60)
        of_day = [bar for bar in minutes if bar.trading_date == day.trading_date]
        assert day == fold(of_day, day.bucket_start_us).replace(revision=day.revision)
    assert [day.trading_date for day in market.bars("1d")] == [MONDAY, MONDAY + 1]


def test_of_the_minute_a_session_opens_in_a_sleeping_series_fills_nothing() -> None:
    # inactive after 1: asleep from the open of the third date, at :20 of its first minute
    market = Market("1h", inactive_after=1)
    for date in range(3):
        market.session(MONDAY + date, 20_000_000, 5 * M)
    market.tick(MONDAY * D + 30_000_000)
    market.beat((MONDAY + 2) * D + 4 * M)
    last = market.engine.book.before(MINUTE, "B", "X", 1 << 60)
    assert last is not None
    assert last.bucket_start_us == (MONDAY + 1) * D + 4 * M


def test_a_day_of_synthetic_minutes_is_synthetic() -> None:
    # no tick on Tuesday: a flat bar at Monday's close, with no times and no offsets
    market = Market("1d")
    market.session(MONDAY, 0, H)
    market.session(MONDAY + 1, 0, H)
    market.tick(MONDAY * D, 7.0)
    market.beat((MONDAY + 1) * D + 59 * M)
    _, flat = market.bars("1d")
    assert (flat.open, flat.high, flat.low, flat.close, flat.volume) == (7.0, 7.0, 7.0, 7.0, 0.0)
    assert flat.synthetic
    assert (flat.tick_count, flat.open_time_us, flat.first_offset) == (0, None, None)


def test_a_day_opens_with_its_first_tick_and_not_with_the_close_before() -> None:
    # Tuesday's first minutes are synthetic at 7.0, its first trade is 9.0
    market = Market("1d")
    market.session(MONDAY, 0, H)
    market.session(MONDAY + 1, 0, H)
    market.tick(MONDAY * D, 7.0)
    market.tick((MONDAY + 1) * D + 10 * M, 9.0)
    market.beat((MONDAY + 1) * D + 59 * M)
    _, tuesday = market.bars("1d")
    assert (tuesday.open, tuesday.low) == (9.0, 9.0)


def test_open_upper_bars_hold_finals_and_open_minutes() -> None:
    # 5m |==|==|..      two finals and one open minute
    market = Market("5m", "1d", "1wk")
    market.session(MONDAY, 0, H)
    at = MONDAY * D
    for minute, price in enumerate((5.0, 9.0, 7.0)):
        market.tick(at + minute * M, price)
    for period in ("5m", "1d", "1wk"):
        (bar,) = market.engine.live("B", "X", Period.parse(period))
        assert (bar.open, bar.high, bar.low, bar.close) == (5.0, 9.0, 5.0, 7.0), period
        assert (bar.tick_count, bar.final, bar.close_offset) == (3, False, None)
    market.beat(at + 4 * M)
    assert market.engine.live("B", "X", Period.minutes(5)) == [], "it is final"


def test_weeks_without_days_are_refused() -> None:
    # they are made of them
    state = PartitionState(Rules())
    with pytest.raises(ValueError, match="must contain 1d"):
        RollUps(state, [Period.weeks()], FinalsView({}))
