"""Rows of a schedule that not every worker may have yet are not planned by."""

from __future__ import annotations

from barstream.heartbeat.quiet_period import SETTLE_S, Settling
from barstream.market.universe import SeriesSeen


def row(symbol: str) -> SeriesSeen:
    return SeriesSeen("B", symbol, 0, 0, 0, True, -1)


def test_a_series_waits_until_its_new_rows_have_reached_everyone() -> None:
    settling, rows = Settling(), (row("OLD"), row("NEW"))
    assert settling.settled(rows, 0.0) == rows
    settling.changed([("B", "NEW")], 10.0)
    assert settling.settled(rows, 10.0 + SETTLE_S - 0.1) == (row("OLD"),)
    assert settling.settled(rows, 10.0 + SETTLE_S) == rows


def test_a_second_change_starts_the_wait_again() -> None:
    settling, rows = Settling(), (row("NEW"),)
    settling.changed([("B", "NEW")], 10.0)
    settling.changed([("B", "NEW")], 11.0)
    assert settling.settled(rows, 10.0 + SETTLE_S) == ()
    assert settling.settled(rows, 11.0 + SETTLE_S) == rows
