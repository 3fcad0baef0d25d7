"""Which minutes of a series must have a final, by the hours that were in force when it closed them.

::

    minutes     |  closed by the hours of regime 0  |  by those of regime 1  | ...
                                                    ^ how far the series was closed at the change
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.model.time import MINUTE_US
from barstream.verify.graces import Graces
from barstream.verify.hours import Hours, Minutes
from barstream.verify.proof import Heartbeats
from barstream.verify.scan import Recomputed
from barstream.verify.tick_class import Judge

Longs = NDArray[np.int64]
_NEVER_US: Final = -(1 << 60)
_EVER_US: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Stretch:
    """Minutes from one on that a series closed by the same hours.

    Attributes:
        from_us: the first of them.
        hours: None: the series had no row in the schedule.
        inactive_after: trading dates without a tick after which it slept.
    """

    from_us: int
    hours: Hours | None
    inactive_after: int


def stretches_of(
    number: int,
    judge: Judge,
    graces: Sequence[Graces],
    heartbeats: Heartbeats,
    ticks: Recomputed,
    bars: pl.DataFrame,
) -> list[Stretch]:
    """The stretches of a series, ascending; the first begins with time.

    Args:
        number: of the series.
        judge: knows the hours of each regime.
        graces: of each regime.
        heartbeats: of the partition.
        ticks: what the scan saw.
        bars: finals of the series.
    """
    regimes = judge.regimes
    found: list[Stretch] = []
    closed_us = _NEVER_US
    if number >= len(ticks.first_tick) or _is_constant(number, judge):
        current = regimes.current.rules
        return [Stretch(_NEVER_US, judge.hours_in(-1, number), current.inactive_after)]
    for at, regime in enumerate(regimes.all):
        if at:
            reached_us = int(ticks.watermark_at[at, number])
            # what passed while the regime before held, by its grace; and what heartbeats closed
            reached_us -= graces[at - 1].shortest_us
            beats_us = heartbeats.closed_until_us(
                number, regime.heartbeat_begin, int(ticks.first_tick[number])
            )
            # late ones are used later than their barrier: what had a bar by then was closed
            made = bars["bucket_us"].filter(bars["first_close"] < regime.begin)
            made_us = int(made.max()) + MINUTE_US if len(made) else _NEVER_US  # type: ignore[arg-type]
            closed_us = max(closed_us, reached_us - reached_us % MINUTE_US, beats_us, made_us)
        stretch = Stretch(
            max(closed_us, _NEVER_US), judge.hours_in(at, number), regime.rules.inactive_after
        )
        if found and found[-1].from_us == stretch.from_us:
            found.pop()  # nothing was closed meanwhile
        if found and (found[-1].hours, found[-1].inactive_after) == (
            stretch.hours, stretch.inactive_after,
        ):  # fmt: skip
            continue
        found.append(stretch)
    return found


def _is_constant(number: int, judge: Judge) -> bool:
    """Whether every regime has the same hours of a series, and puts it to sleep alike."""
    kinds = {
        (id(judge.hours_in(at, number)), regime.rules.inactive_after)
        for at, regime in enumerate(judge.regimes.all)
    }
    return len(kinds) == 1


def expected_minutes(
    stretches: Sequence[Stretch], from_us: int, until_us: int
) -> tuple[Minutes, Longs]:
    """In-session minutes with ``from <= start < until``, and the stretch of each."""
    ends = [*(each.from_us for each in stretches[1:]), _EVER_US]
    parts = [
        each.hours.minutes(max(each.from_us, from_us), max(min(end, until_us), from_us))
        for each, end in zip(stretches, ends, strict=True)
        if each.hours is not None
    ]
    numbers = [at for at, each in enumerate(stretches) if each.hours is not None]
    counts = [len(part.start_us) for part in parts]
    if len(parts) == 1:
        return parts[0], np.full(counts[0], numbers[0], np.int64)
    joined = Minutes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return joined, np.repeat(np.array(numbers, np.int64), counts)
