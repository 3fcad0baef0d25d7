"""Late ticks under the policy ``revise``: they are merged into bars that are final.

A late tick is one whose minute is closed.  What one of them does, the close of its minute being
followed by what was filled with it::

    minute    b     b+1    b+2    b+3
    before    real  flat   flat   real      a final: revised, and the flat ones after it
    before    -     -      -      real      none: made, and the gap after it is filled
    before    -     -      |closed until    likewise, and later filling goes on from it

It never moves watermark, liveness or the date by which a series falls asleep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np

from barstream.market.schedule import minutes_between
from barstream.model.bar import Bar, PartialBar
from barstream.model.exact_sum import units_of
from barstream.model.finals import Change, Finals
from barstream.model.period import MINUTE
from barstream.model.tick import Ticks
from barstream.model.time import DAY_US, MINUTE_US, floor_minute
from barstream.rules.close import flat_bars
from barstream.rules.series import PartitionState, SeriesState

#: Finals are read ahead in stretches from this on, up to a day: mostly the next one is real.
_FIRST_STRETCH_US: Final = 16 * MINUTE_US


@dataclass(slots=True)
class Revised:
    """What late ticks came to."""

    #: By slot and bucket: the final as it was before all of them (None: there was none) and as it
    #: is now, however many of them it took.
    changes: dict[int, dict[int, Change]] = field(default_factory=dict)
    #: Offsets of ticks that are in bars now.
    merged: list[int] = field(default_factory=list)
    #: Offsets of ticks older than the bars that are kept.
    rejected: list[int] = field(default_factory=list)
    #: Slots of series whose state changed.
    touched: set[int] = field(default_factory=set)

    def of(self, slot: int) -> list[Change]:
        """Changes of one series, ascending by bucket."""
        changes = self.changes[slot]
        return [changes[bucket_us] for bucket_us in sorted(changes)]

    def note(self, slot: int, old: Bar | None, new: Bar, tick_offset: int) -> None:
        """``new`` stands where ``old`` stood, because of the tick at ``tick_offset``."""
        changes = self.changes.setdefault(slot, {})
        earlier = changes.get(new.bucket_start_us)
        if earlier is not None:
            changes[new.bucket_start_us] = replace(earlier, new=new)
        else:
            changes[new.bucket_start_us] = Change(old, new, tick_offset if old is None else -1)


def revise(partition: PartitionState, late: Ticks, finals: Finals) -> Revised:
    """Merge late ticks into the finals, one after the other.

    Args:
        partition: holds the series; everything the log closed before these ticks is closed.
        late: in session and late; sorted by series, in offset order within one.
        finals: all finals of the partition; takes what is revised or made.
    """
    out = Revised()
    if not len(late):
        return out
    minute = late.placed_us - late.placed_us % MINUTE_US
    begins = (late.slot[1:] != late.slot[:-1]) | (minute[1:] != minute[:-1])
    # ticks of one minute that follow each other are merged in one go: nothing comes in between
    cuts = [0, *(np.flatnonzero(begins) + 1).tolist(), len(late)]
    for start, stop in pairwise(cuts):
        series = partition.series[int(late.slot[start])]
        _Minute(partition, series, int(minute[start]), finals, out).merge(
            late.take(slice(start, stop))
        )
    return out


class _Minute:
    """One closed minute of one series and what follows it."""

    def __init__(
        self,
        partition: PartitionState,
        series: SeriesState,
        minute_us: int,
        finals: Finals,
        out: Revised,
    ) -> None:
        self._partition = partition
        self._series = series
        self._name = series.broker, series.symbol
        self._minute_us = minute_us
        self._closed_us = int(partition.closed_until_us[series.slot])
        self._finals = finals
        self._out = out

    def merge(self, ticks: Ticks) -> None:
        """Merge ticks of this minute, in offset order."""
        offsets: list[int] = ticks.offset.tolist()
        old = self._finals.get(MINUTE, *self._name, self._minute_us)
        if self._is_before_kept(old):
            self._out.rejected.extend(offsets)
            return
        self._out.merged.extend(offsets)
        session = self._partition.session_at(self._series, int(ticks.placed_us[0]))
        date, number = session.trading_date, session.number
        if old is not None:  # a newer schedule changes nothing that is final
            date, number = old.trading_date, old.session
        parts = [
            PartialBar.of_tick(self._minute_us, date, number, time_us, price, size, offset)
            for time_us, price, size, offset in zip(
                ticks.time_us.tolist(), ticks.price.tolist(), ticks.size.tolist(), offsets,
                strict=True,
            )
        ]  # fmt: skip
        whole = (None if old is None else _taken_apart(old)) or parts.pop(0)
        for part in parts:
            whole.merge(part)
        # the tick that makes a bar does not revise it
        revision = len(offsets) - 1 if old is None else old.revision + len(offsets)
        new = whole.to_bar(*self._name, offsets[-1] + 1, revision=revision, revisable=True)
        self._put(old, new, offsets[0])
        self._follow(new, len(offsets), offsets[0], is_new=old is None)

    def _is_before_kept(self, old: Bar | None) -> bool:
        """Whether there may have been a bar that is deleted."""
        kept_us = self._finals.retained_from_us(MINUTE, *self._name)
        if kept_us is not None and self._minute_us < kept_us:
            return True
        # From the first tick on there is a bar at or before every minute; where there is none,
        # the store was filled from a topic that had lost its beginning.
        return (
            old is None
            and floor_minute(self._series.first_tick_us) <= self._minute_us
            and self._finals.before(MINUTE, *self._name, self._minute_us) is None
        )

    def _follow(self, new: Bar, count: int, offset: int, *, is_new: bool) -> None:
        """The flat minutes after ``new`` take its close; after one just made, a gap is filled.

        Args:
            new: the bar as it is now.
            count: late ticks that were merged.
            offset: that of the first of them.
            is_new: whether there was no bar before.
        """
        gap_until_us: int | None = None
        for bar in self._later():
            if gap_until_us is None:
                gap_until_us = bar.bucket_start_us
            if not bar.synthetic:
                break
            flat = bar.replace(
                open=new.close, high=new.close, low=new.close, close=new.close,
                turnover=0.0, revision=bar.revision + count, close_offset=new.close_offset,
            )  # fmt: skip
            self._put(bar, flat, offset)
        else:
            self._series.previous_close = new.close
            self._out.touched.add(self._series.slot)
            self._partition.saw_final(self._series, new.trading_date)
        if is_new:
            until_us = self._closed_us if gap_until_us is None else gap_until_us
            asleep_us = self._partition.asleep_from(self._series, new.trading_date)
            self._fill_gap(new, min(until_us, asleep_us), offset)

    def _fill_gap(self, new: Bar, until_us: int, offset: int) -> None:
        """Flat minutes, as many times revised as the bar they follow, in [after it, until_us)."""
        start_us = self._minute_us + MINUTE_US
        if self._series.schedule is None or start_us >= until_us:
            return
        for session, minutes in minutes_between(self._series.schedule, start_us, until_us):
            for flat in flat_bars(
                self._series, session, minutes, new.close, new.close_offset or 0, new.revision
            ):
                self._put(None, flat, offset)

    def _later(self) -> Iterator[Bar]:
        """The finals after this minute, ascending, read as far as they are asked for."""
        start_us, stretch_us = self._minute_us + MINUTE_US, _FIRST_STRETCH_US
        while start_us < self._closed_us:
            end_us = min(start_us + stretch_us, self._closed_us)
            yield from self._finals.between(MINUTE, *self._name, start_us, end_us)
            start_us, stretch_us = end_us, min(2 * stretch_us, DAY_US)

    def _put(self, old: Bar | None, new: Bar, tick_offset: int) -> None:
        self._finals.put(MINUTE, new)
        self._out.note(self._series.slot, old, new, tick_offset)


def _taken_apart(bar: Bar) -> PartialBar | None:
    """What the ticks of a final amount to; None when it has none.

    Every late tick has a higher offset than all of its ticks, so it need not be known which of
    them gave the open and which the close.
    """
    if (
        bar.open_time_us is None
        or bar.close_time_us is None
        or bar.first_offset is None
        or bar.last_offset is None
    ):
        return None
    volume, turnover = bar.volume_units, bar.turnover_units
    if turnover is None and bar.turnover is not None:
        turnover = units_of(bar.turnover)
    return PartialBar(
        bucket_us=bar.bucket_start_us,
        trading_date=bar.trading_date,
        session=bar.session,
        open=bar.open,
        open_time_us=bar.open_time_us,
        open_offset=bar.first_offset,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        close_time_us=bar.close_time_us,
        close_offset=bar.last_offset,
        volume_units=units_of(bar.volume) if volume is None else volume,
        turnover_units=turnover,
        tick_count=bar.tick_count,
        first_offset=bar.first_offset,
        last_offset=bar.last_offset,
    )
