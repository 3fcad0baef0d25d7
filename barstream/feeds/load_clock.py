"""The clocks of a load, one per series: which heartbeats are due as its ticks pass.

Ticks are sent in event-time order, so once a tick at ``t`` of a series is sent, its minutes
that end at or before ``t`` are complete::

    ticks      | x   x |   x   | (none) |  x t
    minutes    | closable      | closable  | still open

A heartbeat for ``k`` closes everything through ``k``, so one now and then is enough; the
last one of a series, for the minute of its last tick, closes its range.  A heartbeat is
legal only if ``k + 1m + grace`` has passed on the wall clock.  The last minute of a session with
a close tolerance is complete, and its heartbeat legal, only once that has passed as well.  No
clock is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.model.time import MINUTE_US
from barstream.rules.heartbeat_due import MinuteEnds, minute_end_us

Int64s = NDArray[np.int64]

NEVER: Final = -(1 << 62)
AS_FAST_EVERY_US: Final = 60 * MINUTE_US
PACED_EVERY_US: Final = MINUTE_US


class SeriesClocks:
    """Where each series of a load stands.

    Args:
        last_us: time of the last tick of each series in the whole file that a bar will take, as
            it is placed in its session, shape (series,); `NEVER` where there is none.
        every_us: event time between two heartbeats of a series.
        grace_us: the grace of the bars.
        tolerant: by index of series, what says when minutes end where that is not with themselves.
    """

    def __init__(
        self,
        last_us: Int64s,
        every_us: int,
        grace_us: int,
        tolerant: Mapping[int, MinuteEnds] = MappingProxyType({}),
    ) -> None:
        self._last_us = last_us
        self._every_us = every_us
        self._grace_us = grace_us
        self._tolerant = tolerant
        self._at_us = np.full(len(last_us), NEVER, np.int64)
        self._beaten_us = np.full(len(last_us), NEVER, np.int64)

    def passed(self, series: Int64s, time_us: Int64s) -> None:
        """Ticks were sent, placed at ``time_us[i]`` in series ``series[i]``."""
        np.maximum.at(self._at_us, series, time_us)

    def pace(self, clock_us: int) -> None:
        """The pace has reached ``clock_us``: so has every series that began and has not ended."""
        begun = self._at_us != NEVER
        reached = np.minimum(clock_us, self._last_us)
        self._at_us = np.where(begun, np.maximum(self._at_us, reached), self._at_us)

    def due(self, now_us: int) -> list[tuple[int, int]]:
        """(series, minute) of the heartbeats due and legal at ``now_us``; counted as sent."""
        newest = np.minimum(self._ended_until(self._at_us) - MINUTE_US, self._newest_legal(now_us))
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
        legal = np.minimum(final, self._newest_legal(now_us)[last])
        ends = [
            minute_end_us(minute, self._tolerant.get(i))
            for i, minute in zip(last.tolist(), final.tolist(), strict=True)
        ]
        whole_from = max(ends, default=NEVER) + self._grace_us
        return list(zip(last.tolist(), legal.tolist(), strict=True)), whole_from

    def _newest_legal(self, now_us: int) -> Int64s:
        """The newest minute of each series for which a heartbeat appended at ``now_us`` counts."""
        over_us = np.full(len(self._last_us), now_us - self._grace_us, np.int64)
        return self._ended_until(over_us) - MINUTE_US

    def _ended_until(self, time_us: Int64s) -> Int64s:
        """The first minute of each series that has not ended at a time of its own."""
        until = time_us - time_us % MINUTE_US
        for i, schedule in self._tolerant.items():
            until[i] = schedule.ended_until(int(time_us[i]))
        return until
