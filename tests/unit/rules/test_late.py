"""What one late tick does to bars that are final, rule by rule (policy revise).

Minutes are counted from the open of a day; a lower-case letter is a real bar, ``-`` a synthetic
one and ``.`` none, ``|`` stands where the series is closed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from barstream.market.schedule import ScheduleIndex, SessionRow
from barstream.model.bar import Bar
from barstream.model.finals import Change
from barstream.model.period import MINUTE, Period
from barstream.model.rejection import Reason
from barstream.model.tick import Ticks
from barstream.model.time import DAY_US, MINUTE_US
from barstream.partition.finals_view import FinalsView
from barstream.rules.series import FOREVER_US, PartitionState, Rules
from tests.tick_batches import Partition, Taken

DATE = 15_706
OPEN_US = DATE * DAY_US
LENGTH = 60
SECOND_US = 1_000_000


def at(minute: int, second: int = 0, day: int = 0) -> int:
    return OPEN_US + day * DAY_US + minute * MINUTE_US + second * SECOND_US


def hours(days: Iterable[int] = range(20), number: int = 0, date: int = DATE) -> ScheduleIndex:
    """One session of an hour a day."""
    return ScheduleIndex.build(
        SessionRow("B", "S", date + day, number, at(0, day=day), at(LENGTH, day=day))
        for day in days
    )


class Book(FinalsView):
    """Finals in memory, of which the oldest may be deleted."""

    def __init__(self) -> None:
        super().__init__({})
        self.kept_from_us: int | None = None

    def retained_from_us(self, period: Period, broker: str, symbol: str) -> int | None:
        return self.kept_from_us


class Market:
    """One series under the policy revise; the grace is nothing, so a tick closes what is over."""

    def __init__(self, inactive_after: int = 5) -> None:
        self.state = PartitionState(Rules(0, inactive_after, late_policy="revise"))
        self.state.use_schedule(hours())
        self.series = self.state.add("B", "S")
        self.book = Book()
        self.offset = 0

    def tick(self, time_us: int, price: float, size: float = 1.0) -> Taken:
        return self.batch((time_us, price, size))

    def batch(self, *ticks: tuple[int, float, float]) -> Taken:
        """Apply ticks as one batch; their offsets are 10 apart."""
        offsets = [self.offset + 10 * n for n in range(len(ticks))]
        self.offset = offsets[-1] + 10
        time_us, price, size = zip(*ticks, strict=True)
        return Partition(self.state, self.book).take(
            Ticks(
                np.zeros(len(ticks), np.int32), np.array(time_us, np.int64), np.array(price),
                np.array(size), np.array(offsets, np.int64),
                np.full(len(ticks), FOREVER_US),
            )
        )  # fmt: skip

    def heartbeat(self, minute: int) -> None:
        until_us = at(minute) + MINUTE_US
        Partition(self.state, self.book).close(self.series, until_us, self.offset)

    def bar(self, minute: int, day: int = 0) -> Bar:
        found = self.book.get(MINUTE, "B", "S", at(minute, day=day))
        assert found is not None
        return found

    def picture(self, day: int = 0, minutes: int = 12) -> str:
        """The first minutes of a day, ``r`` real, ``-`` synthetic, ``.`` none."""
        there = [self.book.get(MINUTE, "B", "S", at(m, day=day)) for m in range(minutes)]
        return "".join("." if bar is None else "-" if bar.synthetic else "r" for bar in there)


@pytest.fixture
def market() -> Market:
    return Market()


def test_a_late_tick_is_merged_and_counted(market: Market) -> None:
    """r|  ->  r, with the late tick in it: high, volume, count, lineage, one revision."""
    market.tick(at(0, 10), 5.0)
    market.tick(at(1), 6.0)
    out = market.tick(at(0, 5), 9.0, 2.0)
    bar = market.bar(0)
    assert (bar.open, bar.high, bar.low, bar.close) == (9.0, 9.0, 5.0, 5.0)
    assert (bar.open_time_us, bar.close_time_us) == (at(0, 5), at(0, 10))
    assert (bar.volume, bar.tick_count, bar.revision) == (3.0, 2, 1)
    assert (bar.first_offset, bar.last_offset, bar.close_offset) == (0, 20, 21)
    assert not out.rejected
    assert out.merged == [20]


def test_of_equal_times_the_earlier_tick_opens_and_the_late_one_closes(market: Market) -> None:
    """A late tick has a higher offset than every tick of a bar that is final."""
    market.tick(at(0, 10), 5.0)
    market.tick(at(1), 6.0)
    market.tick(at(0, 10), 9.0)
    assert (market.bar(0).open, market.bar(0).close) == (5.0, 9.0)


def test_each_late_tick_is_one_revision_however_they_come(market: Market) -> None:
    market.tick(at(0), 5.0)
    market.tick(at(3), 6.0)
    market.batch((at(0, 1), 7.0, 1.0), (at(0, 2), 8.0, 1.0))
    market.tick(at(0, 3), 9.0)
    assert [market.bar(m).revision for m in range(3)] == [3, 3, 3]


def test_the_synthetic_bars_that_follow_take_the_new_close_up_to_the_next_real_one(
    market: Market,
) -> None:
    """r--r-|  with a late tick in the first: its two followers change, nothing behind the next."""
    market.tick(at(0), 5.0)
    market.tick(at(3), 6.0)
    market.tick(at(5), 6.5)
    assert market.picture(minutes=5) == "r--r-"
    before = [market.bar(m) for m in (3, 4)]
    out = market.tick(at(0, 30), 7.0)
    for minute in (1, 2):
        bar = market.bar(minute)
        assert (bar.open, bar.high, bar.low, bar.close) == (7.0, 7.0, 7.0, 7.0)
        assert (bar.revision, bar.close_offset, bar.synthetic) == (1, 31, True)
    assert [market.bar(m) for m in (3, 4)] == before
    assert [change.new.bucket_start_us for change in out.revised] == [at(0), at(1), at(2)]


def test_a_synthetic_bar_becomes_real(market: Market) -> None:
    """r---|  ->  r-r-: what the tick was late for is there, what follows it has its price."""
    market.tick(at(0), 5.0)
    market.tick(at(4), 6.0)
    market.tick(at(2), 8.0, 0.5)
    bar = market.bar(2)
    assert market.picture(minutes=4) == "r-r-"
    assert (bar.open, bar.high, bar.low, bar.close) == (8.0, 8.0, 8.0, 8.0)
    assert (bar.volume, bar.tick_count, bar.revision, bar.first_offset) == (0.5, 1, 1, 20)
    assert [market.bar(m).close for m in range(4)] == [5.0, 5.0, 8.0, 8.0]


def test_the_volume_stays_the_exactly_rounded_sum_of_all_ticks(market: Market) -> None:
    """From the rounded float of the final, 1e16, it would stay 1e16 forever."""
    market.batch((at(0), 5.0, 1e16), (at(0), 5.0, 1.0), (at(1), 5.0, 1.0))
    assert market.bar(0).volume == 1e16
    market.tick(at(0), 5.0, 1.0)
    assert market.bar(0).volume == 1e16 + 2


def test_so_does_the_turnover_whatever_its_sign(market: Market) -> None:
    market.batch((at(0), -1.0, 1e16), (at(0), -1.0, 1.0), (at(1), 5.0, 1.0))
    assert market.bar(0).turnover == -1e16
    market.tick(at(0), -1.0, 1.0)
    assert (market.bar(0).turnover, market.bar(0).vwap) == (-1e16 - 2, -1.0)


def test_a_late_tick_gives_no_turnover_to_a_final_of_a_version_without(market: Market) -> None:
    market.batch((at(0), 5.0, 2.0), (at(1), 5.0, 1.0))
    market.heartbeat(2)
    for minute in range(3):
        market.book.put(MINUTE, market.bar(minute).replace(turnover=None))
    market.tick(at(0), 6.0, 1.0)
    market.tick(at(2), 7.0, 3.0)
    assert (market.bar(0).volume, market.bar(0).turnover, market.bar(0).vwap) == (3.0, None, None)
    assert market.bar(2).turnover == 21.0, "made anew of late ticks alone"


def test_a_flat_minute_that_is_revised_costs_nothing_whoever_made_it(market: Market) -> None:
    market.batch((at(0), 5.0, 2.0), (at(1), 5.0, 1.0))
    market.heartbeat(2)
    market.book.put(MINUTE, market.bar(2).replace(turnover=None))
    market.tick(at(1), 6.0, 1.0)
    assert (market.bar(2).revision, market.bar(2).turnover) == (1, 0.0)


def test_later_fills_go_by_the_revised_close(market: Market) -> None:
    """r|  then late, then closed further: the synthetic bars have the late tick's price."""
    market.tick(at(0), 5.0)
    market.heartbeat(0)
    out = market.tick(at(0, 30), 7.0)
    assert out.touched == {0}
    market.heartbeat(2)
    assert [market.bar(m).close for m in range(3)] == [7.0, 7.0, 7.0]


def test_before_the_first_price_a_bar_is_made_and_the_gap_filled(market: Market) -> None:
    """.....r|  ->  ..r--r: revision 0, for no final was there."""
    market.tick(at(5), 5.0)
    market.tick(at(6), 6.0)
    out = market.tick(at(2), 4.0)
    assert market.picture(minutes=6) == "..r--r"
    assert [market.bar(m).revision for m in (2, 3, 4, 5)] == [0, 0, 0, 0]
    assert [market.bar(m).close for m in (2, 3, 4, 5)] == [4.0, 4.0, 4.0, 5.0]
    assert [market.bar(m).close_offset for m in (2, 3, 4)] == [21, 21, 21]
    assert [(change.old, change.tick_offset) for change in out.revised] == [(None, 20)] * 3


def test_of_a_bar_made_by_several_late_ticks_the_first_one_made_it(market: Market) -> None:
    """A parent counts what came after it: for that it is told which tick brought a child."""
    market.tick(at(5), 5.0)
    market.tick(at(6), 6.0)
    out = market.batch((at(2), 4.0, 1.0), (at(2), 4.5, 1.0), (at(5), 5.5, 1.0), (at(3), 4.0, 1.0))
    assert [market.bar(m).revision for m in (2, 3, 4, 5)] == [1, 2, 2, 1]
    assert out.revised == [
        Change(None, market.bar(2), 20), Change(None, market.bar(3), 20),
        Change(None, market.bar(4), 20), Change(out.revised[3].old, market.bar(5), -1),
    ]  # fmt: skip


def test_a_series_that_would_have_slept_after_a_late_tick_is_filled_no_further() -> None:
    """Day 0: real.  Days 1 to 9 asleep from day 2 on.  A late tick on day 5 fills days 5 and 6."""
    market = Market(inactive_after=1)
    market.tick(at(0), 5.0)
    market.tick(at(0, day=10), 6.0)
    market.tick(at(1, day=10), 6.0)
    assert [market.picture(day, 2) for day in (0, 1, 2, 5, 9)] == ["r-", "--", "..", "..", ".."]
    market.tick(at(58, day=5), 7.0)
    assert market.bar(58, 5).close == 7.0
    assert market.picture(5, 60) == "." * 58 + "r-"
    assert market.picture(6, 60) == "-" * 60
    assert [market.picture(day, 2) for day in (7, 8, 9)] == ["..", "..", ".."]
    assert market.bar(0, 10).close == 6.0


def test_nothing_is_filled_up_to_the_first_tick_from_a_late_one_long_before() -> None:
    """The first tick opens minute 3; filling up to it from another year would be a wrong price."""
    market = Market(inactive_after=1)
    market.state.rules = Rules(2 * MINUTE_US, 1, late_policy="revise")
    market.tick(at(3, day=10), 6.0)
    market.tick(at(0), 5.0)
    assert market.picture(0, 2) == "r-"
    market.tick(at(9, day=10), 6.0)
    assert market.picture(10, 6) == "...r--"


def test_filling_goes_on_from_a_late_tick_that_was_awake_until_then() -> None:
    """Likewise, but the late tick came on the day itself: no hole is left."""
    market = Market(inactive_after=1)
    market.state.rules = Rules(2 * MINUTE_US, 1, late_policy="revise")
    market.tick(at(3, day=10), 6.0)
    market.tick(at(0, day=10), 5.0)
    market.tick(at(9, day=10), 6.0)
    assert market.picture(10, 6) == "r--r--"
    assert market.bar(2, 10).close == 5.0


def test_a_tick_that_wakes_its_series_waits_for_a_late_one_before_it() -> None:
    """In one batch or in two: what the late tick leaves is there when the series wakes.

    A heartbeat has closed so far ahead that the waking tick closes nothing itself.
    """
    pictures = []
    for cut in (True, False):
        market = Market(inactive_after=1)
        market.state.rules = Rules(9 * MINUTE_US, 1, late_policy="revise")
        market.tick(at(0), 5.0)
        market.heartbeat(3 * 24 * 60 + 2)
        ticks = [(at(1, day=3), 7.0, 1.0), (at(6, day=3), 8.0, 1.0)]
        for some in [ticks[:1], ticks[1:]] if cut else [ticks]:
            market.batch(*some)
        market.tick(at(30, day=3), 9.0)
        pictures.append(market.picture(3))
    assert pictures[0] == pictures[1] == ".r----r-----"


def test_a_late_tick_moves_neither_watermark_nor_liveness_nor_sleep(market: Market) -> None:
    """A feed that sends old ticks only must fall asleep and leave the universe."""
    market.tick(at(0, day=1), 5.0)
    market.heartbeat(3 * 24 * 60)
    known = (
        int(market.state.watermark_us[0]), int(market.state.since_timely[0]),
        market.series.last_trading_date, market.series.asleep_us,
        int(market.state.closed_until_us[0]), market.series.first_tick_us,
    )  # fmt: skip
    for time_us in (at(5), at(0, 1, day=1), at(0, day=2)):
        assert not market.tick(time_us, 6.0).accepted
    assert known == (
        int(market.state.watermark_us[0]), int(market.state.since_timely[0]),
        market.series.last_trading_date, market.series.asleep_us,
        int(market.state.closed_until_us[0]), market.series.first_tick_us,
    )  # fmt: skip


def test_a_newer_schedule_changes_nothing_of_a_bar_that_is_final(market: Market) -> None:
    """Real and synthetic ones keep the date and session they were judged by."""
    market.tick(at(0, 30), 5.0)
    market.tick(at(3), 6.0)
    market.state.use_schedule(hours(number=7, date=DATE + 1))
    market.tick(at(0, 10), 7.0)
    market.tick(at(1), 8.0)
    bars = [market.bar(m) for m in range(3)]
    assert [bar.revision for bar in bars] == [1, 2, 2]
    assert {(bar.trading_date, bar.session) for bar in bars} == {(DATE, 0)}


def test_minutes_that_came_into_session_later_get_bars_up_to_the_next_one(market: Market) -> None:
    """The session was [5, 60) and is [0, 60) now: --- of the new part, and not a second time."""
    market.state.use_schedule(
        ScheduleIndex.build([SessionRow("B", "S", DATE, 0, at(5), at(LENGTH))])
    )
    market.tick(at(5), 5.0)
    market.tick(at(8), 6.0)
    market.state.use_schedule(hours())
    market.tick(at(2), 4.0)
    assert market.picture(minutes=8) == "..r--r--"
    assert [market.bar(m).close for m in range(2, 8)] == [4.0, 4.0, 4.0, 5.0, 5.0, 5.0]


def test_a_tick_older_than_the_bars_kept_is_refused(market: Market) -> None:
    """What stood there is not known any more: a bar of one tick would replace the whole."""
    for minute in range(4):
        market.tick(at(minute), 5.0)
    market.book.kept_from_us = at(2)
    out = market.tick(at(1, 30), 6.0)
    assert [(o.tolist(), why) for o, why in out.rejected] == [([40], Reason.LATE)]
    assert not market.tick(at(2, 30), 6.0).rejected


def test_a_store_filled_from_a_topic_without_its_beginning_keeps_from_its_first_bar_on(
    market: Market,
) -> None:
    """Nothing was deleted here; the bars before were gone from Kafka when the disk was filled."""
    for minute in range(4):
        market.tick(at(minute), 5.0)
    bar = market.bar(2)
    market.book = Book()
    market.book.put(MINUTE, bar)
    assert [why for _, why in market.tick(at(1, 30), 6.0).rejected] == [Reason.LATE]
    assert not market.tick(at(2, 30), 6.0).rejected


def test_the_next_real_bar_is_found_however_far_it_is(market: Market) -> None:
    """Synthetic bars to the end of the day, a night of 23 hours, and synthetic ones again."""
    market.tick(at(0), 5.0)
    market.tick(at(30, day=1), 6.0)
    market.tick(at(31, day=1), 6.0)
    out = market.tick(at(0, 1), 7.0)
    assert len(out.revised) == LENGTH + 30
    assert market.bar(29, 1).close == 7.0
    assert market.bar(30, 1).revision == 0
    assert not out.touched


def test_without_the_policy_late_ticks_are_refused() -> None:
    state = PartitionState(Rules(0))
    state.use_schedule(hours())
    state.add("B", "S")
    times = np.array([at(0), at(2), at(0)], np.int64)
    ticks = Ticks(
        np.zeros(3, np.int32), times, np.ones(3), np.ones(3), np.arange(3),
        np.full(3, FOREVER_US),
    )  # fmt: skip
    out = Partition(state).take(ticks)
    assert [(o.tolist(), why) for o, why in out.rejected] == [([2], Reason.LATE)]
    assert not out.revised
