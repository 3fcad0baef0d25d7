"""When late ticks say that a setting is too small."""

from __future__ import annotations

import pytest

from barstream.rules.late_share import AGAIN_S, INTERVAL_S, Arrivals, LatenessJudge


def told(judge: LatenessJudge, at_s: float, **arrivals: Arrivals) -> list[str]:
    judge.add(arrivals)
    return [found.broker for found in judge.judge(at_s)]


@pytest.mark.parametrize(
    ("ticks", "late", "is_told"),
    [
        (10_000, 100, False),  # exactly 1 %
        (10_000, 101, True),
        (20, 9, False),  # a thin series: a few late ticks are no evidence
        (20, 10, True),
        (0, 0, False),
    ],
)
def test_a_lasting_share_of_late_ticks_is_told_and_a_few_are_not(
    ticks: int, late: int, is_told: bool
) -> None:
    judge = LatenessJudge()
    told(judge, 0.0)
    assert told(judge, INTERVAL_S, X=Arrivals(ticks, late)) == (["X"] if is_told else [])


def test_the_share_is_that_of_one_interval_and_of_one_broker() -> None:
    #  0 s                60 s               120 s
    #  | SLOW: 50 of 100  | SLOW: 0 of 100   |
    #  | FAST:  0 of 100  | FAST: 50 of 100  |
    judge = LatenessJudge()
    assert told(judge, 0.0, SLOW=Arrivals(60, 30), FAST=Arrivals(60)) == []
    assert told(judge, 30.0, SLOW=Arrivals(40, 20), FAST=Arrivals(40)) == []
    assert told(judge, 60.0) == ["SLOW"]
    assert told(judge, 120.0, SLOW=Arrivals(100), FAST=Arrivals(100, 50)) == ["FAST"]


def test_a_broker_is_told_of_once_in_five_minutes() -> None:
    judge = LatenessJudge()
    told(judge, 0.0)
    times = [n * INTERVAL_S for n in range(1, 13)]
    heard = [at for at in times if told(judge, at, X=Arrivals(100, 100))]
    assert heard == [INTERVAL_S, INTERVAL_S + AGAIN_S, INTERVAL_S + 2 * AGAIN_S]


def test_the_longest_delay_is_kept_and_unknown_ones_do_not_hide_it() -> None:
    arrivals = Arrivals(1, 1, None)
    arrivals.add(Arrivals(1, 1, 5))
    arrivals.add(Arrivals(1, 1, 3))
    arrivals.add(Arrivals(1, 1, None))
    assert arrivals == Arrivals(4, 4, 5)
