"""How many series a partition takes: decided by its log alone.

A series is *taken* from its first accepted tick on, and for good until it is dropped.  Once a
partition has taken as many as it may, it is *full*: from the next offset on ticks of other series
are rejected::

    offset   0   1   2   3   4   5          at most two series
    series   A   A   B   C   A   C
                     |---------------       full from offset 3 on: C is rejected, A goes on
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barstream.market.schedule import OFF_SESSION
from barstream.model.tick import Ticks
from barstream.rules.series import NEVER_US, PartitionState

Flags = NDArray[np.bool_]


def taken(partition: PartitionState) -> int:
    """How many series have an accepted tick."""
    return int(np.count_nonzero(partition.watermark_us[: len(partition)] > NEVER_US))


def are_new(partition: PartitionState, ticks: Ticks) -> Flags:
    """Which ticks are in session and of a series that was not taken before them all; shape (n,)."""
    found: Flags = ticks.slot >= 0
    if found.any():
        found &= partition.watermark_us[np.maximum(ticks.slot, 0)] <= NEVER_US
    for slot in np.unique(ticks.slot[found]).tolist():
        schedule = partition.series[slot].schedule
        mine = np.flatnonzero(found & (ticks.slot == slot))
        if schedule is None:
            found[mine] = False
        else:
            found[mine] = schedule.locate(ticks.time_us[mine]) != OFF_SESSION
    return found


def fills(partition: PartitionState, ticks: Ticks, limit: int) -> int | None:
    """Which of ``ticks``, in offset order, takes the last place; None: they leave some.

    Args:
        partition: as it is before them; it has taken fewer than ``limit``.  One that knows fewer
            need not be asked, as those of the batch are among them.
        ticks: the batch.
        limit: how many series may be taken.
    """
    room = limit - taken(partition)
    at = np.flatnonzero(are_new(partition, ticks))
    _, first = np.unique(ticks.slot[at], return_index=True)
    return None if len(first) < room else int(at[np.sort(first)[room - 1]])
