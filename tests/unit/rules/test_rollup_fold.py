"""The fold of finals: what becomes of the turnover of children that have none."""

from __future__ import annotations

import pytest

from barstream.model.bar import Bar, synthetic_bar
from barstream.rules.rollup_fold import Fold, fold
from tests.sample_bar import SAMPLE


def child(number: int, turnover: float | None = 3.75) -> Bar:
    return SAMPLE.replace(bucket_start_us=number * 60_000_000, turnover=turnover)


FLAT = synthetic_bar("B", "X", 60_000_000, 0, 0, 1.5, 6)


@pytest.mark.law("L2")
def test_turnover_is_the_exactly_rounded_sum_of_the_children_s() -> None:
    parent = fold([child(at, -0.1) for at in range(10)], 0)
    assert (parent.turnover, parent.volume, parent.vwap) == (-1.0, 30.0, -1.0 / 30.0)
    assert fold([child(0), FLAT], 0).turnover == 3.75


@pytest.mark.parametrize("unknown", [child(1, None), FLAT.replace(turnover=None)])
def test_a_parent_of_a_child_that_has_no_turnover_has_none(unknown: Bar) -> None:
    """A version that did not add it up made the child; a sum of the others would be wrong."""
    whole = Fold()
    whole.add([child(0)])
    before = whole.copy()
    whole.add([unknown])
    both = whole.copy()
    both.add([child(2)])
    assert [each.to_bar(0).turnover for each in (before, whole, both)] == [3.75, None, None]
    assert both.to_bar(0).vwap is None
    assert both.to_bar(0).volume == (6.0 if unknown.synthetic else 9.0)
