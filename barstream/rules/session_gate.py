"""Is a tick in session, and where is it placed?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barstream.market.schedule import OFF_SESSION
from barstream.rules.segments import Segments
from barstream.rules.series import PartitionState


def judge_sessions(
    partition: PartitionState, time_us: NDArray[np.int64], runs: Segments
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Session membership of ticks sorted by series, and where those in session are placed.

    In session is ``open <= t < close``, and what a close tolerance lets in after that.  Almost
    always all ticks of a series lie in the session it was in last, which one comparison of columns
    shows; only the others are searched in the schedule.

    Args:
        partition: holds the series; the session looked at last is updated.
        time_us: shape (n,).
        runs: the runs of the ticks' slots.

    Returns:
        In session or not, shape (n,); and ``placed_us`` of `Ticks`, ``time_us`` itself where no
        series has a close tolerance.
    """
    slots = runs.value
    counts = np.diff(runs.stop, prepend=0)
    opens = partition.session_open_us[slots]
    ends = partition.session_end_us[slots]
    inside = (time_us >= np.repeat(opens, counts)) & (time_us < np.repeat(ends, counts))
    placed_us = time_us
    if partition.tolerant:
        placed_us = np.minimum(time_us, np.repeat(partition.session_last_us[slots], counts))
    if inside.all():
        return inside, placed_us
    outside = ~np.logical_and.reduceat(inside, runs.start)
    for run in np.flatnonzero(outside).tolist():
        part = slice(int(runs.start[run]), int(runs.stop[run]))
        slot = int(slots[run])
        schedule = partition.series[slot].schedule
        if schedule is None:  # withdrawn altogether: no time is in session
            inside[part] = False
            continue
        found = schedule.locate(time_us[part])
        inside[part] = found != OFF_SESSION
        if placed_us is not time_us:
            placed_us[part] = schedule.placed(time_us[part], found)
        if (latest := int(found.max())) != OFF_SESSION:
            session = schedule.session(latest)
            partition.session_open_us[slot] = session.open_us
            partition.session_end_us[slot] = session.close_us + session.close_tolerance_us
            partition.session_last_us[slot] = session.close_us - 1
    return inside, placed_us
