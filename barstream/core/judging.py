"""Is a tick in session, and on which trading date?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barstream.core.segments import Segments
from barstream.core.state import PartitionState

_OFF = -1


def judge_sessions(
    partition: PartitionState, time_us: NDArray[np.int64], runs: Segments
) -> NDArray[np.bool_]:
    """Session membership (open <= t < close) of ticks sorted by series.

    Almost always all ticks of a series lie in the session it was in last, which one comparison
    of columns shows; only the others are searched in the schedule.

    Args:
        partition: holds the series; the session looked at last is updated.
        time_us: shape (n,).
        runs: the runs of the ticks' slots.

    Returns:
        In session or not, shape (n,).
    """
    slots = runs.value
    counts = np.diff(runs.stop, prepend=0)
    opens = partition.session_open_us[slots]
    closes = partition.session_close_us[slots]
    inside = (time_us >= np.repeat(opens, counts)) & (time_us < np.repeat(closes, counts))
    if inside.all():
        return inside
    outside = ~np.logical_and.reduceat(inside, runs.start)
    for run in np.flatnonzero(outside).tolist():
        part = slice(int(runs.start[run]), int(runs.stop[run]))
        slot = int(slots[run])
        schedule = partition.series[slot].schedule
        if schedule is None:  # withdrawn altogether: no time is in session
            inside[part] = False
            continue
        found = schedule.locate(time_us[part])
        inside[part] = found != _OFF
        if (latest := int(found.max())) != _OFF:
            session = schedule.session(latest)
            partition.session_open_us[slot] = session.open_us
            partition.session_close_us[slot] = session.close_us
    return inside
