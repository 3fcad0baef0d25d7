"""Where a series is at home: the partition that was named first, for every reader."""

from __future__ import annotations

import pytest

from barstream.market.universe import SeriesSeen, Universe


def row(partition: int, *, closed_until_us: int = -1) -> SeriesSeen:
    return SeriesSeen("B", "X", partition, 0, 0, True, closed_until_us)


@pytest.mark.law("L17")
def test_a_second_partition_does_not_take_a_series_from_its_home() -> None:
    universe = Universe()
    conflicts: list[SeriesSeen] = []
    universe.on_conflict(conflicts.append)
    universe.put(row(1))
    universe.put(row(5))
    assert universe.get("B", "X") == row(1)
    assert conflicts == [row(1)]


def test_a_newer_row_of_the_home_replaces_the_older_one() -> None:
    universe = Universe()
    universe.put(row(1))
    universe.put(row(1, closed_until_us=60))
    assert universe.get("B", "X") == row(1, closed_until_us=60)


def test_after_a_tombstone_the_series_may_settle_elsewhere() -> None:
    universe = Universe()
    universe.put(row(1))
    universe.remove("B", "X")
    universe.put(row(5))
    assert universe.get("B", "X") == row(5)
