"""Array operations on runs of equal values: the ticks of each series in a sorted batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barstream.rules.series import NEVER_US

Ints = NDArray[np.int64]
_SAFE: int = 1 << 62


@dataclass(frozen=True, slots=True)
class Segments:
    """Consecutive runs: run i is ``[start[i], start[i + 1])`` and all of it is ``value[i]``."""

    value: NDArray[np.int32]
    start: NDArray[np.intp]
    length: int

    @classmethod
    def of(cls, values: NDArray[np.int32]) -> Segments:
        """The runs of ``values``, which must not be empty."""
        first = np.empty(len(values), np.bool_)
        first[0] = True
        np.not_equal(values[1:], values[:-1], out=first[1:])
        start = np.flatnonzero(first)
        return cls(values[start], start, len(values))

    def __len__(self) -> int:
        return len(self.start)

    @property
    def stop(self) -> NDArray[np.intp]:
        """End (exclusive) of each run."""
        return np.append(self.start[1:], self.length)

    @property
    def index(self) -> Ints:
        """Number of the run of each element, shape (length,)."""
        return np.repeat(np.arange(len(self.start), dtype=np.int64), np.diff(self.stop, prepend=0))

    def shifted(self, values: Ints, first: Ints) -> Ints:
        """The value before each element in its run; ``first[i]`` before the first of run i."""
        before = np.empty_like(values)
        before[1:] = values[:-1]
        before[self.start] = first
        return before


def running_max(time_us: Ints, counted: NDArray[np.bool_], runs: Segments) -> Ints:
    """Largest counted time so far within each run, inclusive; `NEVER_US` while there is none."""
    lowest = int(time_us.min()) - 1
    height = np.where(counted, time_us - lowest, 0)
    span = int(height.max()) + 1
    if span * len(runs) < _SAFE:
        # one pass: lift every run above the one before it
        lift = runs.index * span
        highest = np.maximum.accumulate(height + lift) - lift
    else:
        highest = np.empty_like(height)
        for start, stop in zip(runs.start.tolist(), runs.stop.tolist(), strict=True):
            np.maximum.accumulate(height[start:stop], out=highest[start:stop])
    return np.where(highest == 0, NEVER_US, highest + lowest)
