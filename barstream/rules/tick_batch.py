"""Applying a batch of ticks to a partition, vectorised and exact.

The result is that of taking the ticks one at a time in offset order, however the input is cut
into batches: a tick is refused when it is off session or when its bar is closed, otherwise it
enters its bar, may raise the watermark of its series, and the watermark closes every minute
``k`` with ``k + 1 minute + grace <= watermark``.  Bar and watermark go by the time at which a tick
is placed, so that one within the close tolerance never closes the minute it is in.

Series are independent of each other, so a batch is sorted by series (stable) and each step is one
array operation over all of them; Python touches bars, never ticks.

A late tick is refused or, under the policy ``revise``, handed on between the closings it came
between: a batch is then applied in several parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from barstream.model.rejection import Reason
from barstream.model.tick import Ticks
from barstream.model.time import MINUTE_US
from barstream.rules.segments import Segments, running_max
from barstream.rules.series import LIVENESS_TICKS, PartitionState
from barstream.rules.session_gate import judge_sessions
from barstream.rules.tick_fold import merge_bars

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
_NOTHING = slice(0, 0)


@dataclass(slots=True)
class Applied:
    """What a batch of ticks, or a part of one, comes to.

    What it closes is to be closed, then its late ticks to be merged, before the next part is
    asked for.
    """

    #: Those that entered open bars, sorted by series and in offset order within one.
    accepted: Ticks | None = None
    #: Offsets of refused ticks, ascending within a part, and why.
    rejected: list[tuple[Ints, Reason]] = field(default_factory=list)
    #: Slots of series whose state changed, ascending.
    touched: list[int] = field(default_factory=list)
    #: What is to be closed: slot, minute (exclusive) and close offset; by slot, ascending in each.
    closings: list[tuple[int, int, int]] = field(default_factory=list)
    #: Late ticks to be merged into finals, sorted by series and in offset order within one.
    late: Ticks | None = None

    def closings_by_slot(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Of each series that closes anything: minutes (exclusive) and close offsets."""
        for slot, some in groupby(self.closings, itemgetter(0)):
            yield slot, [(until_us, offset) for _, until_us, offset in some]


def apply_ticks(partition: PartitionState, ticks: Ticks) -> Iterator[Applied]:
    """Apply ``ticks``, in offset order and after everything applied before, to ``partition``.

    Args:
        partition: the series.
        ticks: the batch.

    Yields:
        What it comes to, in one part or, where late ticks are merged, in several.
    """
    unscheduled = ticks.slot < 0
    if unscheduled.any():
        yield Applied(rejected=[(ticks.offset[unscheduled], Reason.UNSCHEDULED)])
        ticks = ticks.take(~unscheduled)
    # numpy sorts 16-bit integers by radix, ten times as fast as others
    slot = ticks.slot.astype(np.int16) if len(partition) < 1 << 15 else ticks.slot
    ticks = ticks.take(np.argsort(slot, kind="stable"))
    while len(ticks):
        applied, ticks = _apply_sorted(partition, ticks)
        yield applied


def _apply_sorted(partition: PartitionState, ticks: Ticks) -> tuple[Applied, Ticks]:
    """Apply ticks sorted by series.

    Returns what they come to, and the ticks not applied: where late ticks are merged, those of a
    series from the first tick after a late one that closes a bar or wakes it, because it needs
    what the late one leaves.
    """
    out = Applied()
    merges_late = partition.rules.late_policy == "revise"
    runs = Segments.of(ticks.slot)
    inside, placed_us = judge_sessions(partition, ticks.time_us, runs)
    ticks = ticks.placed(placed_us)
    if not inside.all():
        out.rejected.append((ticks.offset[~inside], Reason.OFF_SESSION))
        ticks = ticks.take(inside)
        if not len(ticks):
            return out, ticks
        runs = Segments.of(ticks.slot)

    # Late: the bar was closed before this batch, or by the running maximum before the tick.
    # A late tick never raises the running maximum, so that needs no second pass.
    bucket = ticks.placed_us - ticks.placed_us % MINUTE_US
    in_time = bucket >= partition.closed_until_us[ticks.slot]
    watermark = running_max(ticks.placed_us, in_time, runs)
    np.maximum(watermark, partition.watermark_us[ticks.slot], out=watermark)
    before = runs.shifted(watermark, partition.watermark_us[runs.value])
    accepted = in_time & (bucket >= _closed_by(before, partition))

    held: Flags | None = None
    if merges_late and not accepted.all():
        closes = _closes(partition, ticks, _closed_by(watermark, partition), before)
        held = _after_late(partition, ticks.placed_us, accepted, closes, runs)
    rest = ticks.take(_NOTHING) if held is None else ticks.take(held)
    is_late = ~accepted if held is None else ~accepted & ~held
    if is_late.any():
        if merges_late:
            out.late = ticks.take(is_late)
        else:
            out.rejected.append((ticks.offset[is_late], Reason.LATE))
    kept = accepted if held is None else accepted & ~held
    if not kept.all():
        ticks, watermark, before = ticks.take(kept), watermark[kept], before[kept]
        if len(ticks):
            runs = Segments.of(ticks.slot)
    if len(ticks):
        out.accepted = ticks
        out.touched = runs.value.tolist()
        merge_bars(partition, ticks)
        # each tick's watermark closes what it has passed; the close offset is one past that tick
        until = _closed_by(watermark, partition)
        at = np.flatnonzero(_closes(partition, ticks, until, before))
        out.closings = list(
            zip(
                ticks.slot[at].tolist(), until[at].tolist(), (ticks.offset[at] + 1).tolist(),
                strict=True,
            )
        )  # fmt: skip
        _note_latest(partition, ticks, watermark, runs)
    return out, rest


def _closed_by(watermark: Ints, partition: PartitionState) -> Ints:
    """The minute up to which (exclusive) a watermark closes."""
    until = watermark - partition.rules.grace_us
    until -= until % MINUTE_US
    return until


def _closes(partition: PartitionState, ticks: Ticks, until: Ints, before: Ints) -> Flags:
    """Which ticks close a minute, if all that is before them has."""
    closes: Flags = until > _closed_by(before, partition)
    closes &= until > partition.closed_until_us[ticks.slot]
    return closes


def _after_late(
    partition: PartitionState, placed_us: Ints, accepted: Flags, closes: Flags, runs: Segments
) -> Flags:
    """The ticks of each series from the first one after a late tick that needs what it leaves.

    That is one that closes a minute or wakes its series, of which upper bars are final while it
    is asleep; for the others a late tick changes nothing, nor they for it.
    """
    length = len(accepted)
    counts = np.diff(runs.stop, prepend=0)
    place = np.arange(length)
    first_late = np.minimum.reduceat(np.where(accepted, length, place), runs.start)
    asleep_us = np.array([partition.series[slot].asleep_us for slot in runs.value.tolist()])
    wakes = placed_us >= np.repeat(asleep_us, counts)
    needs = accepted & (closes | wakes) & (place > np.repeat(first_late, counts))
    first = np.minimum.reduceat(np.where(needs, place, length), runs.start)
    held: Flags = place >= np.repeat(first, counts)
    return held


def _note_latest(partition: PartitionState, ticks: Ticks, watermark: Ints, runs: Segments) -> None:
    """Watermark, liveness and trading date after the batch."""
    slots, last = runs.value, runs.stop - 1
    latest = watermark[last]
    timely = ticks.seen_us - ticks.time_us <= partition.timely_within_us[ticks.slot]
    place = np.where(timely, np.arange(len(ticks)), -1)
    last_timely = np.maximum.reduceat(place, runs.start)
    since = np.where(
        last_timely >= 0,
        last - last_timely,
        partition.since_timely[slots] + (runs.stop - runs.start),
    )
    partition.since_timely[slots] = np.minimum(since, LIVENESS_TICKS)
    raised = latest > partition.watermark_us[slots]
    partition.watermark_us[slots] = latest
    # the trading date follows the latest tick by event time
    for slot, latest_us in zip(slots[raised].tolist(), latest[raised].tolist(), strict=True):
        series = partition.series[slot]
        trading_date = partition.session_at(series, latest_us).trading_date
        if trading_date != series.last_trading_date:
            partition.saw_trading_date(series, trading_date)
