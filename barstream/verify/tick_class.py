"""What each tick of a partition is by itself: a series asked for, at home here, in session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.ticks.decoder import TickColumns
from barstream.log.rules import Regimes
from barstream.log.selection import Selection
from barstream.model.time import DAY_US, MINUTE_US
from barstream.verify.hours import Hours, HoursIndex
from barstream.verify.series_number import Name, SeriesNumbers

Longs = NDArray[np.int64]

#: Codes of `Block.verdict`, in the order in which a worker asks.
IN_SESSION: Final = 0
PARTITION: Final = 1
UNSCHEDULED: Final = 2
OFF_SESSION: Final = 3


@dataclass(frozen=True, slots=True)
class Block:
    """Ticks in offset order, all of shape (n,).

    Attributes:
        placed_us: the time of each in its session: its own, or of a tick that a close tolerance
            lets in the last instant before the close.  Minute and watermark go by it.
    """

    series: Longs
    time_us: Longs
    placed_us: Longs
    offset: Longs
    price: NDArray[np.float64]
    size: NDArray[np.float64]
    verdict: NDArray[np.int8]

    @classmethod
    def joined(cls, parts: Sequence[Block]) -> Block:
        """Several that follow each other; at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.series for part in parts]),
            np.concatenate([part.time_us for part in parts]),
            np.concatenate([part.placed_us for part in parts]),
            np.concatenate([part.offset for part in parts]),
            np.concatenate([part.price for part in parts]),
            np.concatenate([part.size for part in parts]),
            np.concatenate([part.verdict for part in parts]),
        )

    @property
    def bucket_us(self) -> Longs:
        """Start of the minute of each."""
        return self.placed_us - self.placed_us % MINUTE_US

    def take(self, which: NDArray[np.bool_] | slice) -> Block:
        """Some of them."""
        return Block(
            self.series[which],
            self.time_us[which],
            self.placed_us[which],
            self.offset[which],
            self.price[which],
            self.size[which],
            self.verdict[which],
        )

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(slots=True)
class Rejudged:
    """Ticks of a minute that the schedule of now judges otherwise than the one in force then.

    Attributes:
        taken: accepted then, and off session now.
        left_out: off session or without a schedule then, and in session now.
    """

    taken: int = 0
    left_out: int = 0


class Judge:
    """Judges ticks by the schedule that was in force when a worker did.

    Args:
        partition: the one the ticks are in.
        series: numbers the series.
        wanted: ticks of other series are left out.
        regimes: the schedules, and from where on they held.
        homes: the partition each series is seen in, where it is known.

    Attributes:
        rejudged: by number of the series and minute.
    """

    def __init__(
        self,
        partition: int,
        series: SeriesNumbers,
        wanted: Selection,
        regimes: Regimes[HoursIndex],
        homes: Mapping[Name, int],
    ) -> None:
        self.series = series
        self.wanted = wanted
        self.regimes = regimes
        self.rejudged: dict[tuple[int, int], Rejudged] = {}

        def of(index: HoursIndex) -> _Sessions:
            return _Sessions(partition, series, wanted, index, homes)

        by_index = {id(each.index): each.index for each in regimes.all}
        made = {identity: of(index) for identity, index in by_index.items()}
        self._now = made.get(id(regimes.now)) or of(regimes.now)
        self._then = [made[id(each.index)] for each in regimes.all]
        self._changes = any(sessions is not self._now for sessions in self._then)

    def hours(self, number: int) -> Hours | None:
        """The sessions of a series now; None: it has no row in the schedule."""
        return self._now.hours(number)

    def hours_in(self, regime: int, number: int) -> Hours | None:
        """The sessions of a series in a regime."""
        return self._then[regime].hours(number)

    def has_changed(self, number: int, start_us: int, end_us: int) -> bool:
        """Whether sessions of a series near [start, end) were others in a regime than now."""
        now, near = self.hours(number), (start_us - DAY_US, end_us + DAY_US)
        return any(
            hours is not now and (hours is None or now is None or not hours.is_like(now, *near))
            for hours in self.every_hours(number)
        )

    def every_hours(self, number: int) -> list[Hours | None]:
        """The sessions of a series in each regime, each object once."""
        return list({id(hours): hours for hours in (t.hours(number) for t in self._then)}.values())

    def judge(self, columns: TickColumns, offsets: Longs) -> Block:
        """The ticks of a decoded chunk whose series are asked for.

        Args:
            columns: what the decoder made of the chunk.
            offsets: of its records, shape (n,).
        """
        numbers = self.series.numbers(columns.names)
        series = numbers[columns.series] if len(numbers) else np.empty(0, np.int64)
        offset = offsets if columns.index is None else offsets[columns.index]
        # -0.0 equals 0.0 but is not the same bytes: bars have 0.0
        price = columns.price + 0.0
        verdict = np.empty(len(offset), np.int8)
        time_us = columns.time_us
        block = Block(series, time_us, time_us, offset, price, columns.size, verdict)
        ends = np.searchsorted(offset, self.regimes.begin[1:]).tolist()
        parts = [
            self._then[at].judged(block.take(slice(start, stop)))
            for at, (start, stop) in enumerate(pairwise([0, *ends, len(block)]))
            if start < stop
        ]
        if self._changes and parts:
            for part in parts:
                self._compare(part)
        return Block.joined(parts) if parts else block

    def _compare(self, block: Block) -> None:
        """Note what is judged otherwise now; all of one regime."""
        if not len(block):
            return
        number = int(self.regimes.numbers(block.offset[:1])[0])
        then = self._then[number]
        if then is self._now:
            return
        names = np.unique(block.series).tolist()
        other = [each for each in names if then.hours(each) is not self._now.hours(each)]
        if not other:
            return
        block = block.take(np.isin(block.series, other))
        now = self._now.judged(block).verdict
        was_in, is_in = block.verdict == IN_SESSION, now == IN_SESSION
        for at in np.flatnonzero((was_in != is_in) & (now != PARTITION)).tolist():
            minute = int(block.series[at]), int(block.bucket_us[at])
            found = self.rejudged.setdefault(minute, Rejudged())
            if was_in[at]:
                found.taken += 1
            else:
                found.left_out += 1


class _Sessions:
    """Judges ticks by one index."""

    def __init__(
        self,
        partition: int,
        series: SeriesNumbers,
        wanted: Selection,
        index: HoursIndex,
        homes: Mapping[Name, int],
    ) -> None:
        self._partition = partition
        self._series = series
        self._wanted = wanted
        self._index = index
        self._homes = homes
        self._hours: list[Hours | None] = []
        self._wrong = np.empty(0, np.int8)
        self._asked = np.empty(0, np.bool_)
        #: The session looked at last, an empty one before the first.
        self._open_us = np.empty(0, np.int64)
        self._close_us = np.empty(0, np.int64)
        self._end_us = np.empty(0, np.int64)
        self._has_tolerance = False

    def hours(self, number: int) -> Hours | None:
        """The sessions of a series; None: it has no row in the index."""
        self._know()
        return self._hours[number]

    def judged(self, block: Block) -> Block:
        """Those of ``block`` whose series are asked for, with the verdict of this index."""
        self._know()
        block = replace(block, verdict=self._wrong[block.series])
        if not self._wanted.is_all_series:
            block = block.take(self._asked[block.series])
        placed_us = self._judge_sessions(block)
        return block if placed_us is None else replace(block, placed_us=placed_us)

    def _know(self) -> None:
        first, names = len(self._hours), self._series.names
        if first == len(names):
            return
        wrong, asked = [], []
        for name in names[first:]:
            hours = self._index.of_series(name)
            self._hours.append(hours)
            self._has_tolerance |= hours is not None and hours.is_tolerant
            asked.append(self._wanted.has_series(*name))
            if self._homes.get(name, self._partition) != self._partition:
                wrong.append(PARTITION)
            else:
                wrong.append(UNSCHEDULED if hours is None else IN_SESSION)
        count = len(wrong)
        self._wrong = np.concatenate([self._wrong, np.array(wrong, np.int8)])
        self._asked = np.concatenate([self._asked, np.array(asked, np.bool_)])
        self._open_us = np.concatenate([self._open_us, np.zeros(count, np.int64)])
        self._close_us = np.concatenate([self._close_us, np.zeros(count, np.int64)])
        self._end_us = np.concatenate([self._end_us, np.zeros(count, np.int64)])

    def _judge_sessions(self, block: Block) -> Longs | None:
        """Set the verdict of those outside every session.

        Returns:
            Where ticks are placed; None: at their own times.
        """
        inside = (block.time_us >= self._open_us[block.series]) & (
            block.time_us < self._end_us[block.series]
        )
        placed_us: Longs | None = None
        if self._has_tolerance:
            last_us = self._close_us[block.series] - 1
            placed_us = np.where(inside, np.minimum(block.time_us, last_us), block.time_us)
        searched = np.flatnonzero(~inside & (block.verdict == IN_SESSION))
        if not len(searched):
            return placed_us
        series = block.series[searched]
        order = np.argsort(series, kind="stable")
        searched, series = searched[order], series[order]
        starts = np.flatnonzero(np.diff(series, prepend=-1))
        stops = np.append(starts[1:], len(series))
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            at, number = searched[start:stop], int(series[start])
            hours = self._hours[number]
            if hours is None:
                continue
            rows = hours.at(block.time_us[at])
            block.verdict[at[rows < 0]] = OFF_SESSION
            if placed_us is not None and hours.is_tolerant:
                there = rows >= 0
                last_us = hours.close_us[rows[there]] - 1
                placed_us[at[there]] = np.minimum(block.time_us[at[there]], last_us)
            if rows[-1] >= 0:
                found = hours.bounds(int(rows[-1]))
                self._open_us[number], self._close_us[number], self._end_us[number] = found
        return placed_us
