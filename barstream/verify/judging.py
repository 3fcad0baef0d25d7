"""What each tick of a partition is by itself: a series asked for, at home here, in session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.ticks import TickColumns
from barstream.core.schedule import ScheduleIndex
from barstream.core.time import MINUTE_US
from barstream.history.selection import Selection
from barstream.verify.hours import Hours
from barstream.verify.names import Name, SeriesNumbers

Longs = NDArray[np.int64]

#: Codes of `Block.verdict`, in the order in which a worker asks.
IN_SESSION: Final = 0
PARTITION: Final = 1
UNSCHEDULED: Final = 2
OFF_SESSION: Final = 3


@dataclass(frozen=True, slots=True)
class Block:
    """Ticks in offset order, all of shape (n,)."""

    series: Longs
    time_us: Longs
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
            np.concatenate([part.offset for part in parts]),
            np.concatenate([part.price for part in parts]),
            np.concatenate([part.size for part in parts]),
            np.concatenate([part.verdict for part in parts]),
        )

    @property
    def bucket_us(self) -> Longs:
        """Start of the minute of each."""
        return self.time_us - self.time_us % MINUTE_US

    def take(self, which: NDArray[np.bool_] | slice) -> Block:
        """Some of them."""
        return Block(
            self.series[which],
            self.time_us[which],
            self.offset[which],
            self.price[which],
            self.size[which],
            self.verdict[which],
        )

    def __len__(self) -> int:
        return len(self.offset)


class Judge:
    """Judges ticks by what was read beforehand.

    Args:
        partition: the one the ticks are in.
        series: numbers the series.
        wanted: ticks of other series are left out.
        index: the schedule.
        homes: the partition each series is seen in, where it is known.
    """

    def __init__(
        self,
        partition: int,
        series: SeriesNumbers,
        wanted: Selection,
        index: ScheduleIndex,
        homes: Mapping[Name, int],
    ) -> None:
        self._partition = partition
        self._series = series
        self._wanted = wanted
        self._index = index
        self._homes = homes
        self._hours: list[Hours | None] = []
        self._shared: dict[int, Hours] = {}
        self._wrong = np.empty(0, np.int8)
        self._asked = np.empty(0, np.bool_)
        #: The session looked at last, an empty one before the first.
        self._open_us = np.empty(0, np.int64)
        self._close_us = np.empty(0, np.int64)

    def hours(self, number: int) -> Hours | None:
        """The sessions of a series; None: it has no row in the schedule."""
        self._know()
        return self._hours[number]

    def _know(self) -> None:
        first, names = len(self._hours), self._series.names
        if first == len(names):
            return
        wrong, asked = [], []
        for name in names[first:]:
            schedule = self._index.for_series(*name)
            hours = None
            if schedule is not None:
                hours = self._shared.get(id(schedule))
                if hours is None:
                    hours = self._shared[id(schedule)] = Hours.of(schedule)
            self._hours.append(hours)
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

    def judge(self, columns: TickColumns, offsets: Longs) -> Block:
        """The ticks of a decoded chunk whose series are asked for.

        Args:
            columns: what the decoder made of the chunk.
            offsets: of its records, shape (n,).
        """
        numbers = self._series.numbers(columns.names)
        self._know()
        series = numbers[columns.series] if len(numbers) else np.empty(0, np.int64)
        offset = offsets if columns.index is None else offsets[columns.index]
        verdict = self._wrong[series]
        # -0.0 equals 0.0 but is not the same bytes: bars have 0.0
        price = columns.price + 0.0
        block = Block(series, columns.time_us, offset, price, columns.size, verdict)
        if not self._wanted.is_all_series:
            block = block.take(self._asked[series])
        self._judge_sessions(block)
        return block

    def _judge_sessions(self, block: Block) -> None:
        """Set the verdict of those outside every session (open <= t < close)."""
        inside = (block.time_us >= self._open_us[block.series]) & (
            block.time_us < self._close_us[block.series]
        )
        searched = np.flatnonzero(~inside & (block.verdict == IN_SESSION))
        if not len(searched):
            return
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
            if rows[-1] >= 0:
                self._open_us[number], self._close_us[number] = hours.bounds(int(rows[-1]))
