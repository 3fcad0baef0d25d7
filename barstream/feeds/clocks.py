"""The clocks of a load, one per series: which heartbeats are due as its ticks pass.

Ticks are sent in event-time order, so once a tick at ``t`` of a series is sent, its minutes
that end at or before ``t`` are complete::

    ticks      | x   x |   x   | (none) |  x t
    minutes    | closable      | closable  | still open

A heartbeat for ``k`` closes everything through ``k``, so one now and then is enough; the
last one of a series, for the minute of its last tick, closes its range.  A heartbeat is
legal only if ``k + 1m + grace`` has passed on the wall clock.  No clock is read here.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.core.time import MINUTE_US, floor_minute

Int64s = NDArray[np.int64]

NEVER: Final = -(1 << 62)
AS_FAST_EVERY_US: Final = 60 * MINUTE_US
PACED_EVERY_US: Final = MINUTE_US


class SeriesClocks:
    """Where each series of a load stands.

    Args:
        last_us: event time of the last tick of each series in the whole file that a bar will
            take, shape (series,); `NEVER` where there is none.
        every_us: event time between two heartbeats of a series.
        grace_us: the grace of the bars.
    """

    def __init__(self, last_us: Int64s, every_us: int, grace_us: int) -> None:
        self._last_us = last_us
        self._every_us = every_us
        self._grace_us = grace_us
        self._at_us = np.full(len(last_us), NEVER, np.int64)
        self._beaten_us = np.full(len(last_us), NEVER, np.int64)

    def passed(self, series: Int64s, time_us: Int64s) -> None:
        """Ticks were sent, ``time_us[i]`` of series ``series[i]``."""
        np.maximum.at(self._at_us, series, time_us)

    def pace(self, clock_us: int) -> None:
        """The pace has reached ``clock_us``: so has every series that began and has not ended."""
        begun = self._at_us != NEVER
        reached = np.minimum(clock_us, self._last_us)
        self._at_us = np.where(begun, np.maximum(self._at_us, reached), self._at_us)

    def due(self, now_us: int) -> list[tuple[int, int]]:
        """(series, minute) of the heartbeats due and legal at ``now_us``; counted as sent."""
        newest = np.minimum(
            self._at_us - self._at_us % MINUTE_US - MINUTE_US, self.newest_legal(now_us)
        )
        begun = self._at_us != NEVER
        wanted = begun & (newest - np.maximum(self._beaten_us, NEVER // 2) >= self._every_us)
        # The first heartbeat of a series waits for as much of it as the others do.
        first = begun & (self._beaten_us == NEVER)
        self._beaten_us = np.where(first, newest, self._beaten_us)
        chosen = np.flatnonzero(wanted & ~first)
        self._beaten_us[chosen] = newest[chosen]
        return [(i, int(newest[i])) for i in chosen.tolist()]

    def closing(self, now_us: int) -> tuple[list[tuple[int, int]], int]:
        """The last heartbeat of every series.

        Returns:
            (series, minute) of each, the newest legal minute where the last is not over yet,
            and the instant at which all of them are legal in full.
        """
        last = np.flatnonzero(self._last_us != NEVER)
        final = self._last_us[last] - self._last_us[last] % MINUTE_US
        legal = np.minimum(final, self.newest_legal(now_us))
        whole_from = int(final.max(initial=NEVER)) + MINUTE_US + self._grace_us
        return list(zip(last.tolist(), legal.tolist(), strict=True)), whole_from

    def newest_legal(self, now_us: int) -> int:
        """The newest minute for which a heartbeat appended at ``now_us`` counts."""
        return floor_minute(now_us - self._grace_us) - MINUTE_US
