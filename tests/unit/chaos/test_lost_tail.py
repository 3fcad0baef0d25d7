"""A schedule that is rewritten again and again still holds together."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from barstream.market.schedule import find_conflicts
from barstream.model.time import MINUTE_US
from tests.chaos.faults.schedule import Rewritten
from tests.chaos.runs.sessions import sessions_of

BEGIN_US = 1_709_546_400_000_000
NAMES = [("CHX", f"S{number:02d}") for number in range(16)]


@pytest.mark.parametrize("seed", range(40))
def test_every_rewriting_of_a_rewriting_can_be_loaded(seed: int) -> None:
    fault, rng = Rewritten(random.Random(seed)), random.Random(seed + 1000)
    scene = cast("Any", SimpleNamespace())
    rows, at_us = sessions_of(NAMES, BEGIN_US), BEGIN_US
    for _ in range(4):
        at_us += rng.randrange(20 * MINUTE_US)
        changed = fault._changed(scene, rows, at_us)
        assert all(row.open_us < row.close_us for row in changed)
        by_series: dict[str, list[Any]] = {}
        for row in changed:
            by_series.setdefault(row.symbol, []).append(row)
        for series in by_series.values():
            assert not list(find_conflicts(sorted(series, key=lambda row: row.open_us)))
        rows = changed
    assert rows != sessions_of(NAMES, BEGIN_US)
