"""Slots of made-up ticks, grouped by series, and the kinds they can be of."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.feeds.simulated_market import Int64s


class Kind(IntEnum):
    """What a made-up tick is."""

    ON_TIME = 0
    OUT_OF_ORDER = 1
    DUPLICATE = 2
    LATE = 3
    UNDECODABLE = 4
    INVALID = 5
    FUTURE = 6


REASONS: Final = {
    Kind.LATE: "late",
    Kind.UNDECODABLE: "undecodable",
    Kind.INVALID: "invalid",
    Kind.FUTURE: "future",
}
"""The reason under which a worker with a schedule and policy ``reject`` rejects a kind."""


class Grouped:
    """Slots sorted by series, stable: within a series they stand in delivery order."""

    def __init__(self, series: Int64s, at_us: Int64s, kind: NDArray[np.int8]) -> None:
        self.series = series
        self.at_us = at_us
        self.kind = kind
        starts = np.flatnonzero(np.diff(series, prepend=-1))
        self.runs = starts, series[starts]

    def last_on_time(self) -> Int64s:
        """For each slot the position of the on-time slot of its series before it, or -1."""
        n = len(self.series)
        if not n:
            return np.empty(0, np.int64)
        position = np.where(self.kind == Kind.ON_TIME, np.arange(n), -1)
        newest = np.maximum.accumulate(position)
        before = np.concatenate([[-1], newest[:-1]])
        starts, _ = self.runs
        own = np.repeat(starts, np.diff(starts, append=n))
        return np.where(before >= own, before, -1)
