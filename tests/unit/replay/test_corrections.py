"""What a switch-over writes: minutes of the replay, and upper bars of what then stands."""

from __future__ import annotations

from typing import Any

from barstream.market.schedule import AlwaysOpenIndex
from barstream.model.bar import Bar
from barstream.model.key import bar_key
from barstream.model.period import DAY, MINUTE, Period
from barstream.replay.compare import BarDifference
from barstream.replay.corrections import Mend, Mending
from barstream.replay.finals_after_cutover import Merged
from barstream.rules.rollup_fold import fold
from tests.sample_bar import SAMPLE

MINUTE_US = 60_000_000
FIVE = Period.minutes(5)
WEEK = Period.weeks()
NAME = ("B", "X")
#: A Monday: its day and week begin with minute 0 here.
START_US = 19_786 * 1440 * MINUTE_US


def minute(number: int, **more: Any) -> Bar:
    at = START_US + number * MINUTE_US
    made = SAMPLE.replace(
        bucket_start_us=at,
        trading_date=19_786,
        tick_count=4,
        open_time_us=at,
        close_time_us=at + 9,
        first_offset=0,
        last_offset=3,
        close_offset=7,
    )
    return made.replace(**more)


def flat(number: int, price: float) -> Bar:
    return minute(
        number, open=price, high=price, low=price, close=price, volume=0.0, tick_count=0,
        open_time_us=None, close_time_us=None, synthetic=True, first_offset=None, last_offset=None,
    )  # fmt: skip


def upper(number: int, children: list[Bar]) -> Bar:
    return fold(children, START_US + number * MINUTE_US)


def difference(old: Bar | None, new: Bar | None, period: Period = MINUTE) -> BarDifference:
    bar = old or new
    assert bar is not None
    return BarDifference(period, 0, bar_key(*NAME, bar.bucket_start_us), old, new)


def mend(
    published: dict[Period, list[Bar]],
    differences: list[BarDifference],
    closed: int = 10_000,
    cut_us: int | None = None,
    unseen: range = range(0),
) -> Mend:
    finals = Merged({} if cut_us is None else {NAME: cut_us})
    for period, bars in published.items():
        finals.load(period, bars)
    closed_us = START_US + closed * MINUTE_US
    made = Mending(
        finals, {NAME: closed_us}, {NAME: START_US}, AlwaysOpenIndex(), published, unseen
    )
    return made.of(differences)


TEN = [minute(number) for number in range(10)]
PUBLISHED: dict[Period, list[Bar]] = {
    MINUTE: TEN, FIVE: [upper(0, TEN[:5]), upper(5, TEN[5:])],
    DAY: [upper(0, TEN)], WEEK: [upper(0, [upper(0, TEN)])],
}  # fmt: skip


def written(found: Mend) -> dict[str, list[tuple[int, float, int]]]:
    """By period: minute of the bucket, high and revision."""
    return {
        str(period): [
            ((bar.bucket_start_us - START_US) // MINUTE_US, bar.high, bar.revision) for bar in bars
        ]
        for period, bars in found.bars.items()
    }


def test_a_changed_minute_comes_with_a_higher_revision_and_so_do_all_above_it() -> None:
    found = mend(PUBLISHED, [difference(TEN[6], TEN[6].replace(high=9.0))])
    assert written(found) == {
        "1m": [(6, 9.0, 1)], "5m": [(5, 9.0, 1)], "1d": [(0, 9.0, 1)], "1wk": [(0, 9.0, 1)],
    }  # fmt: skip
    assert not found.withdrawn


def test_upper_bars_are_made_of_what_stands_and_not_of_what_was_replayed() -> None:
    # minutes    0 1 2 3 4 5 6 7 8 9
    # replayed             |==|            its day knows minutes 7 to 9 with other values
    elsewhere = upper(0, [*TEN[:7], *(bar.replace(high=50.0) for bar in TEN[7:])])
    found = mend(
        PUBLISHED,
        [
            difference(TEN[6], TEN[6].replace(high=9.0)),
            difference(PUBLISHED[DAY][0], elsewhere, DAY),
        ],
    )
    assert written(found)["1d"] == [(0, 9.0, 1)]


def test_a_higher_revision_of_the_replay_is_kept() -> None:
    found = mend(PUBLISHED, [difference(TEN[6], TEN[6].replace(revision=5))])
    assert written(found)["1m"] == [(6, 2.0, 5)]


def test_an_upper_bar_that_was_wrong_by_itself_is_folded_anew() -> None:
    wrong = PUBLISHED[FIVE][0].replace(volume=1.0)
    published = PUBLISHED | {FIVE: [wrong, PUBLISHED[FIVE][1]]}
    found = mend(published, [difference(wrong, PUBLISHED[FIVE][0], FIVE)])
    assert written(found) == {"5m": [(0, 2.0, 1)]}
    assert found.bars[FIVE][0].volume == PUBLISHED[FIVE][0].volume


def test_what_the_replay_does_not_have_is_withdrawn_with_parents_that_are_left_empty() -> None:
    lone = minute(20).replace(trading_date=TEN[9].trading_date + 1)
    published = {MINUTE: [*TEN, lone], FIVE: [*PUBLISHED[FIVE], upper(20, [lone])]}
    found = mend(published, [difference(lone, None)])
    assert found.withdrawn == {
        MINUTE: [(NAME, lone.bucket_start_us)], FIVE: [(NAME, lone.bucket_start_us)],
    }  # fmt: skip
    assert found.closes == {NAME: 1.5}
    assert found.filled_dates == {NAME: TEN[9].trading_date}
    assert len(found) == 2


def test_what_production_has_not_closed_is_left_to_it() -> None:
    # closed until |  replayed: minute 12, and the bar of five that ends after
    found = mend(
        PUBLISHED,
        [
            difference(None, minute(12)),
            difference(None, upper(10, [minute(12)]), FIVE),
        ],
        closed=12,
    )
    assert (len(found), found.left) == (0, 2)


def test_a_bar_of_ticks_that_the_replay_has_not_seen_is_left_as_it_is() -> None:
    # ticks   0 ... 99 | 100 ... 119       replay ends at 100, production stands at 120
    newer = TEN[6].replace(close_offset=110)
    published = PUBLISHED | {MINUTE: [*TEN[:6], newer, *TEN[7:]]}
    found = mend(published, [difference(newer, TEN[6])], unseen=range(101, 121))
    assert (len(found), found.left) == (0, 1)
    # nothing has been applied so far: that offset is wrong
    broken = TEN[6].replace(close_offset=500)
    published = PUBLISHED | {MINUTE: [*TEN[:6], broken, *TEN[7:]]}
    found = mend(published, [difference(broken, TEN[6])], unseen=range(101, 121))
    assert written(found)["1m"] == [(6, 2.0, 1)]


def test_an_upper_bar_cut_by_retention_stays_as_it_is() -> None:
    changed = TEN[6].replace(high=9.0)
    kept_us = START_US + 6 * MINUTE_US
    found = mend(PUBLISHED, [difference(TEN[6], changed)], cut_us=kept_us)
    assert set(written(found)) == {"1m"}


def test_the_series_goes_on_with_the_close_of_its_last_bar() -> None:
    assert mend(PUBLISHED, [difference(TEN[9], TEN[9].replace(close=1.75))]).closes == {NAME: 1.75}
    assert mend(PUBLISHED, [difference(TEN[3], TEN[3].replace(close=1.75))]).closes == {NAME: 1.5}


def test_a_flat_bar_behind_the_range_that_would_keep_an_old_price_is_told() -> None:
    published = {MINUTE: [*TEN, flat(10, 1.5)]}
    new = TEN[9].replace(close=1.75)
    found = mend(published, [difference(TEN[9], new)])
    assert found.stale == [(NAME, START_US + 10 * MINUTE_US)]
    # within the range it is replayed as well
    both = [difference(TEN[9], new), difference(flat(10, 1.5), flat(10, 1.75))]
    assert mend(published, both).stale == []
