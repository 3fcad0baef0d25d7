"""Is a tick in session, and on which trading date?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barstream.core.segments import Segments
from barstream.core.state import PartitionState

_OFF = -1


def judge_sessions(
    partition: PartitionState, time_us: NDArray[np.int64], runs: Segments
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Session membership (open <= t < close) of ticks sorted by series.

    Almost always all ticks of a series lie in the session it was in last, which one comparison
    of columns shows; only the others are searched in the schedule.

    Args:
        partition: holds the series; the session looked at last is updated.
        time_us: shape (n,).
        runs: the runs of the ticks' slots.

    Returns:
        In session or not, and the ordinal of the trading date (meaningless off session), (n,).
    """
    slots = runs.value
    counts = np.diff(runs.stop, prepend=0)
    opens = partition.session_open_us[slots]
    closes = partition.session_close_us[slots]
    inside = (time_us >= np.repeat(opens, counts)) & (time_us < np.repeat(closes, counts))
    ordinal = np.repeat(partition.session_ordinal[slots], counts)
    if inside.all():
        return inside, ordinal
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
        names, which = np.unique(found, return_inverse=True)
        sessions = [None if name == _OFF else schedule.session(name) for name in names.tolist()]
        ordinals = np.array([s.date_ordinal if s else 0 for s in sessions], np.int64)
        ordinal[part] = ordinals[which]
        if (latest := sessions[-1]) is not None:
            partition.session_open_us[slot] = latest.open_us
            partition.session_close_us[slot] = latest.close_us
            partition.session_ordinal[slot] = latest.date_ordinal
    return inside, ordinal
