"""Which ticks of a load will be in bars, by the worker's own schedule and what is closed.

Rows that no worker takes at all never get here (``files.py``).  What is left is sent, as a feed
sends it; but only ticks that will be accepted move the clocks of a load, so that nothing is
closed by a tick that is in no bar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from barstream.feeds.files import FileTicks
from barstream.feeds.refusals import NoSessionError
from barstream.market.schedule import OFF_SESSION, ScheduleIndex, SeriesSchedule
from barstream.model.rejection import Reason
from barstream.model.time import DAY_US, MINUTE_US, iso_date_from_days, iso_from_us


@dataclass(frozen=True, slots=True)
class Admission:
    """What a worker will say of the ticks of a load.

    Attributes:
        accepted: which of them will be in bars, shape (n,).
        placed_us: the times that decide their minutes, see `barstream.model.tick.Ticks`.
        tolerant: by index of series, the schedules with a close tolerance.
        no_bar: how many of the others there are, by reason.
        first: the first of each reason, in words.
    """

    accepted: NDArray[np.bool_]
    placed_us: NDArray[np.int64]
    tolerant: Mapping[int, SeriesSchedule] = field(default_factory=dict)
    no_bar: Counter[str] = field(default_factory=Counter)
    first: Mapping[str, str] = field(default_factory=dict)


def admit(
    ticks: FileTicks, schedule: ScheduleIndex, closed_until: Mapping[int, int], *, revise: bool
) -> Admission:
    """Judge ``ticks``, which are in time order.

    Args:
        ticks: what is to be sent.
        schedule: the sessions in force.
        closed_until: by index of series, the instant before which its minutes are closed.
        revise: whether late ticks are merged into bars (``bars.late_policy``).
    """
    count = len(ticks)
    accepted = np.ones(count, np.bool_)
    late = np.zeros(count, np.bool_)
    unscheduled = np.zeros(count, np.bool_)
    placed_us = ticks.time_us
    tolerant: dict[int, SeriesSchedule] = {}
    if not schedule.always_open:
        order = np.argsort(ticks.series, kind="stable")
        ends = np.cumsum(np.bincount(ticks.series, minlength=len(ticks.names)))
        for i, (name, end) in enumerate(zip(ticks.names, ends.tolist(), strict=True)):
            rows = order[int(ends[i - 1]) if i else 0 : end]
            sessions = schedule.for_series(*name)
            if sessions is None:
                unscheduled[rows] = True
                accepted[rows] = False
            else:
                found = sessions.locate(ticks.time_us[rows])
                accepted[rows] = found != OFF_SESSION
                if sessions.has_tolerance:
                    placed_us = placed_us if tolerant else placed_us.copy()
                    tolerant[i] = sessions
                    placed_us[rows] = sessions.placed(ticks.time_us[rows], found)
    if closed_until and not revise:
        closed = np.full(len(ticks.names), np.iinfo(np.int64).min, np.int64)
        for i, until_us in closed_until.items():
            closed[i] = until_us
        late = accepted & (placed_us - placed_us % MINUTE_US < closed[ticks.series])
    off = ~accepted & ~unscheduled
    no_bar: Counter[str] = Counter()
    first: dict[str, str] = {}
    for reason, which in (
        (Reason.UNSCHEDULED, unscheduled),
        (Reason.OFF_SESSION, off),
        (Reason.LATE, late),
    ):
        if number := int(which.sum()):
            no_bar[reason] = number
            at = int(which.argmax())
            broker, symbol = ticks.names[int(ticks.series[at])]
            first[reason] = f"{broker} {symbol} at {iso_from_us(int(ticks.time_us[at]))}"
    return Admission(accepted & ~late, placed_us, tolerant, no_bar, first)


def refuse_without_session(ticks: FileTicks, schedule: ScheduleIndex) -> None:
    """Raise when a series has no session at all between its first and its last tick.

    Raises:
        NoSessionError: says how to load them.
    """
    if schedule.always_open:
        return
    first_us = np.full(len(ticks.names), np.iinfo(np.int64).max, np.int64)
    last_us = np.full(len(ticks.names), np.iinfo(np.int64).min, np.int64)
    np.minimum.at(first_us, ticks.series, ticks.time_us)
    np.maximum.at(last_us, ticks.series, ticks.time_us)
    lacking = []
    for i, name in enumerate(ticks.names):
        if last_us[i] < first_us[i]:
            continue  # all its rows were left out
        sessions = schedule.for_series(*name)
        if sessions is None or not _has_session(sessions, int(first_us[i]), int(last_us[i])):
            lacking.append(i)
    if not lacking:
        return
    broker, symbol = ticks.names[lacking[0]]
    more = f" (and {len(lacking) - 1:,} more series)" if len(lacking) > 1 else ""
    begin, end = (
        iso_date_from_days(int(us) // DAY_US)
        for us in (first_us[lacking].min(), last_us[lacking].max() + DAY_US)
    )
    symbols = " ".join(f"--symbol '{ticks.names[i][1]}'" for i in lacking[:3])
    raise NoSessionError(
        f"{broker} {symbol}{more} must have sessions at the time of its ticks, "
        f"{iso_from_us(int(first_us[lacking[0]]))} to {iso_from_us(int(last_us[lacking[0]]))}, and "
        "has none, so no bar would be made: load them with `barstream schedule load --calendar "
        f"NAME --broker '{broker}' {symbols} --from {begin} --to {end}` (NAME is FX, 24x7 or an "
        "exchange such as XNYS); where bars follow no schedule set bars.schedule = false, and with "
        "--without-sessions such ticks are sent all the same"
    )


def _has_session(sessions: SeriesSchedule, first_us: int, last_us: int) -> bool:
    """Whether there is one between two ticks, or one that still takes the first."""
    start_us = first_us - first_us % MINUTE_US
    if next(sessions.sessions_between(start_us, last_us + 1), None) is not None:
        return True
    return bool(sessions.locate(np.array([first_us], np.int64))[0] != OFF_SESSION)
