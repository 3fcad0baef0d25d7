"""Policy revise: what late ticks write again is bounded in one go, and so is the time it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.model.bar import Bar
from barstream.partition import late_budget, machine
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import Rules
from tests.unit.partition.test_machine import DAY, GRACE, MINUTE, SECOND, provider

QUIET = 5 * 1440


def revising(symbols: Sequence[str] = ("X",)) -> PartitionMachine:
    rules = Rules(GRACE, 5, {}, "revise")
    schedule = provider(symbols=symbols, hours=24)
    return PartitionMachine(0, rules, schedule, lambda _broker, _symbol: None)  # type: ignore[arg-type]


def apply(
    target: PartitionMachine, ticks: Sequence[tuple[str, int]]
) -> tuple[list[Bar], list[int]]:
    """Apply one chunk to its end; the bars written, and how many after each call."""
    names = sorted({symbol for symbol, _ in ticks})
    begin, count = target.position or 0, len(ticks)
    times = np.array([time_us for _, time_us in ticks], np.int64)
    chunk = RecordChunk(
        "ticks", 0, begin, begin + count, [b"k"] * count, [b"v"] * count,
        np.arange(begin, begin + count, dtype=np.int64), times, append_time=True,
    )  # fmt: skip
    series = np.array([names.index(symbol) for symbol, _ in ticks], np.int32)
    columns = TickColumns(
        series, [("B", name) for name in names], times,
        np.arange(1.0, count + 1), np.ones(count), None, [],
    )  # fmt: skip
    bars: list[Bar] = []
    written: list[int] = []
    while True:
        done = target.apply_ticks(chunk, columns, 0, at_end=True)
        pending = target.take()
        bars += pending.finals
        written.append(len(pending.finals))
        if done:
            return bars, written


def newest(bars: Sequence[Bar]) -> dict[tuple[str, int], Bar]:
    return {(bar.symbol, bar.bucket_start_us): bar for bar in bars}


#     ticks   0 |1 ......... quiet ......... | day 5
#     late    alternating in minutes 0 and 1, so that each writes the quiet minutes again
LATE = [("X", (number % 2) * MINUTE + number * 1000) for number in range(8)]


def test_late_ticks_before_a_quiet_stretch_are_taken_a_few_at_a_time() -> None:
    target = revising()
    apply(target, [("X", 30 * SECOND), ("X", 5 * DAY - MINUTE), ("X", 5 * DAY + MINUTE)])
    _, written = apply(target, LATE)
    assert len(written) > 3
    assert max(written) <= late_budget.MOST_BARS + QUIET


def test_late_ticks_behind_a_gap_of_their_own_chunk_are_taken_a_few_at_a_time() -> None:
    target = revising()
    ticks = [("X", 30 * SECOND), ("X", 5 * DAY - MINUTE), ("X", 5 * DAY + MINUTE), *LATE]
    _, written = apply(target, ticks)
    assert len(written) > 3
    # the gap that is filled, and then what late ticks write
    assert max(written[1:]) <= late_budget.MOST_BARS + QUIET


def test_taken_at_once_or_a_few_at_a_time_they_come_to_the_same_bars(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = [("X", 30 * SECOND), ("X", 5 * DAY - MINUTE), ("X", 5 * DAY + MINUTE), *LATE]
    split = newest(apply(revising(), ticks)[0])
    monkeypatch.setattr(machine, "late_cut", lambda _state, _book, _ticks, count: (count, 0))
    whole, written = apply(revising(), ticks)
    assert len(written) == 1
    assert split == newest(whole)
    assert (
        split["X", MINUTE].revision == 5
    )  # one of minute 0 before the first of its own, then four


def test_late_ticks_of_a_busy_series_are_taken_at_once() -> None:
    target = revising()
    minutes = [("X", number * MINUTE) for number in range(1440)]
    apply(target, minutes)
    _, written = apply(target, [("X", number * MINUTE + SECOND) for number in range(1400)])
    assert len(written) == 1


def test_late_ticks_of_one_minute_count_once_however_series_alternate() -> None:
    target = revising(("X", "Y"))
    for symbol in ("X", "Y"):
        apply(target, [(symbol, 0), (symbol, DAY)])
    late = [(("X", "Y")[number % 2], SECOND + number) for number in range(100)]
    _, written = apply(target, late)
    assert len(written) == 1
