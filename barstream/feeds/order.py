"""The order in which a file is sent: by event time, ties as in the file.

A file sorted by symbol is normal; what makes a file unsorted is a series whose own ticks go
back in time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from barstream.feeds.files import FileTicks
from barstream.feeds.refusals import UnsortedError
from barstream.model.time import SECOND_US


class Disorder(NamedTuple):
    """A series whose ticks go back in time."""

    broker: str
    symbol: str
    ticks: int
    """How many are older than one before them."""
    by_us: int
    """How far back at most."""

    def __str__(self) -> str:
        return (
            f"{self.broker} {self.symbol}: {self.ticks:,} ticks are out of order, by up to "
            f"{self.by_us / SECOND_US:g} s"
        )


def disorders(ticks: FileTicks) -> list[Disorder]:
    """The series that are out of order."""
    rows = np.argsort(ticks.series, kind="stable")
    series, time_us = ticks.series[rows], ticks.time_us[rows]
    starts = np.flatnonzero(np.diff(series, prepend=-1))
    found = []
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(series)], strict=True):
        own = time_us[start:end]
        behind = np.maximum.accumulate(own) - own
        if behind.any():
            broker, symbol = ticks.names[int(series[start])]
            found.append(Disorder(broker, symbol, int((behind > 0).sum()), int(behind.max())))
    return found


def in_time_order(ticks: FileTicks) -> FileTicks:
    """``ticks`` by event time; the order of the file among equal times."""
    if len(ticks) < 2 or (np.diff(ticks.time_us) >= 0).all():
        return ticks
    return ticks.take(np.argsort(ticks.time_us, kind="stable").astype(np.int64))


def refuse_unsorted(found: list[Disorder]) -> None:
    """Raise when there is any disorder.

    Raises:
        UnsortedError: names the first series.
    """
    if found:
        raise UnsortedError(
            f"every series must be in time order with --refuse-unsorted; {found[0]}"
            + (f" (and {len(found) - 1} more series)" if len(found) > 1 else "")
        )
