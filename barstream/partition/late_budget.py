"""How many late ticks may be merged at once, under the policy ``revise``.

A late tick gives its close to the synthetic bars after it, up to the next bar with ticks::

    minute   b      b+1   b+2   ...  b+n   b+n+1
             real   flat  flat  ...  flat  real
    late in b: n + 1 bars are written again

In a busy series that is one bar, before a quiet week thousands, for each such tick.  A piece of a
chunk therefore ends where the bars its late ticks write again come to `MOST_BARS`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.model.period import MINUTE
from barstream.model.tick import Ticks
from barstream.model.time import DAY_US, MINUTE_US
from barstream.partition.finals_view import FinalsView
from barstream.rules.segments import Segments, running_max
from barstream.rules.series import PartitionState

Ints = NDArray[np.int64]

#: Bars that are written again in one go; a quarter of a second of work.
MOST_BARS: Final = 10_000
#: So little is not worth reading bars for.
_NEAR: Final = 4
_FIRST_STRETCH_US: Final = 16 * MINUTE_US


def late_cut(state: PartitionState, book: FinalsView, ticks: Ticks, count: int) -> tuple[int, int]:
    """How many of the first ``count`` ticks to apply, and about how many bars they write again.

    At least one; fewer than ``count`` when late ticks among them write more than `MOST_BARS`, or
    when one is late by what comes before it in the batch: its bars are in the book only then.
    """
    ticks = ticks.take(slice(0, count))
    minute = ticks.time_us - ticks.time_us % MINUTE_US
    behind = _behind(state, ticks, minute)
    late = np.flatnonzero(behind > 0)
    if not len(late):
        return count, 0
    bars = 0
    for at in late[_begins(ticks.slot[late], minute[late])].tolist():
        slot, minute_us = int(ticks.slot[at]), int(minute[at])
        number = int(behind[at])
        if number > _NEAR:
            if minute_us >= int(state.closed_until_us[slot]) and at:
                return at, bars
            number = min(number, _stretch(state, book, slot, minute_us))
        if bars and bars + number > MOST_BARS:
            return at, bars
        bars += number
    return count, bars


def _begins(slot: NDArray[np.int32], minute: Ints) -> NDArray[np.bool_]:
    """Where another minute of a series begins: ticks of one that follow are merged in one go."""
    order = np.argsort(slot, kind="stable")
    slot, minute = slot[order], minute[order]
    first = np.ones(len(slot), np.bool_)
    first[1:] = (slot[1:] != slot[:-1]) | (minute[1:] != minute[:-1])
    found = np.empty(len(slot), np.bool_)
    found[order] = first
    return found


def _behind(state: PartitionState, ticks: Ticks, minute: Ints) -> Ints:
    """By how many minutes each tick lies before what is closed when it comes; at most 0: none."""
    place = np.flatnonzero(ticks.slot >= 0)
    found = np.zeros(len(ticks), np.int64)
    if not len(place):
        return found
    place = place[np.argsort(ticks.slot[place], kind="stable")]
    slot, time_us = ticks.slot[place], ticks.time_us[place]
    runs = Segments.of(slot)
    highest = running_max(time_us, np.ones(len(time_us), np.bool_), runs)
    until = np.maximum(highest - state.rules.grace_us, state.closed_until_us[slot])
    found[place] = (until - minute[place]) // MINUTE_US
    return found


def _stretch(state: PartitionState, book: FinalsView, slot: int, minute_us: int) -> int:
    """Minutes from this one to the next final with ticks, or to where the series is closed."""
    series = state.series[slot]
    most_us = (state.rules.inactive_after + 1) * DAY_US
    closed_us = min(int(state.closed_until_us[slot]), minute_us + most_us)
    start_us, stretch_us = minute_us + MINUTE_US, _FIRST_STRETCH_US
    while start_us < closed_us:
        end_us = min(start_us + stretch_us, closed_us)
        for bar in book.between(MINUTE, series.broker, series.symbol, start_us, end_us):
            if not bar.synthetic:
                return (bar.bucket_start_us - minute_us) // MINUTE_US
        start_us, stretch_us = end_us, min(2 * stretch_us, DAY_US)
    return max(1, (closed_us - minute_us) // MINUTE_US)
