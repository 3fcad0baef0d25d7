"""Ticks in blocks that depend on their offsets alone, and those of them that are in the range.

How a fetch cuts the log is chance, and the order in which an engine writes what one chunk came to
goes by series.  Blocks with fixed bounds make two replays write the same bytes in the same order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import Rejected, TickColumns
from barstream.log.selection import Selection
from barstream.log.snapshot import cut, tail
from barstream.market.schedule import ScheduleIndex, Series
from barstream.model.rejection import Reason
from barstream.model.time import MINUTE_US

#: Offsets a block spans.
BLOCK: Final = 1 << 16

ClosedUntil = Callable[[str, str], int]
"""How far a series is closed."""


async def blocks(chunks: AsyncIterator[RecordChunk]) -> AsyncIterator[RecordChunk]:
    """The chunks of one partition, cut and joined at multiples of `BLOCK`."""
    parts: list[RecordChunk] = []
    async for chunk in chunks:
        rest = chunk
        while rest.next_offset >= (end := _end_of_block(parts[0] if parts else rest)):
            parts.append(cut(rest, end))
            yield _joined(parts)
            parts, rest = [], tail(rest, end)
            if rest.start >= rest.next_offset:
                break
        if rest.start < rest.next_offset:
            parts.append(rest)
    if parts:
        yield _joined(parts)


def _end_of_block(chunk: RecordChunk) -> int:
    return (chunk.start // BLOCK + 1) * BLOCK


def _joined(parts: list[RecordChunk]) -> RecordChunk:
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return first
    return RecordChunk(
        first.topic,
        first.partition,
        first.start,
        last.next_offset,
        [key for part in parts for key in part.keys],
        [value for part in parts for value in part.values],
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.timestamps_us for part in parts]),
        all(part.append_time for part in parts),
        too_large={at: said for part in parts for at, said in part.too_large.items()},
    )


def placed(columns: TickColumns, index: ScheduleIndex) -> NDArray[np.int64]:
    """The time that decides the minute of each tick, by the sessions of ``index``.

    Its event time, unless it comes within the close tolerance of a session.
    """
    placed_us = columns.time_us
    for number, name in enumerate(columns.names):
        schedule = index.for_series(*name)
        if schedule is not None and schedule.has_tolerance:
            mine = columns.series == number
            time_us = columns.time_us[mine]
            placed_us = placed_us.copy() if placed_us is columns.time_us else placed_us
            placed_us[mine] = schedule.placed(time_us, schedule.locate(time_us))
    return placed_us


def without_rejected(
    columns: TickColumns, block: RecordChunk, rejected: pl.DataFrame
) -> TickColumns:
    """Ticks of a block, those rejected that stand among ``rejected``.

    Args:
        columns: of the block.
        block: its records.
        rejected: of the partition, each once, columns of `barstream.log.rejections.SCHEMA`.
    """
    known = rejected.filter(
        pl.col("tick_offset").is_between(block.start, block.next_offset, closed="left")
    )
    if known.is_empty():
        return columns
    places = np.arange(len(block.offsets)) if columns.index is None else columns.index
    said = dict(known.select("tick_offset", "reason").iter_rows())
    offsets = block.offsets[places]
    out = np.isin(offsets, known["tick_offset"].to_numpy())
    refused = [
        Rejected(int(places[at]), Reason(said[int(offsets[at])]), "rejected before")
        for at in np.flatnonzero(out).tolist()
    ]
    return replace(columns.where(~out), rejected=[*columns.rejected, *refused])


class TicksInRange:
    """Leaves out what a replay has not to judge.

    Args:
        wanted: the series.
        starts_us: the first minute of each series that was published before.
        from_us: the first minute of the others.
        fold_to_us: ticks from here on enter no bar that is asked for, nor a child of one.
        whole: nothing is left out by series or time, so records that are no ticks are kept too.
    """

    def __init__(
        self,
        wanted: Selection,
        starts_us: Mapping[Series, int],
        from_us: int,
        fold_to_us: int | None,
        *,
        whole: bool,
    ) -> None:
        self._wanted = wanted
        self._starts_us = starts_us
        self._from_us = from_us
        self._fold_to_us = fold_to_us
        self._whole = whole

    def of(
        self, columns: TickColumns, placed_us: NDArray[np.int64], closed_us: ClosedUntil
    ) -> TickColumns:
        """The ticks in range; see `TickColumns`.

        Args:
            columns: of a block.
            placed_us: the time that decides the minute of each, see `placed`.
            closed_us: how far series are closed: one that is over needs no more ticks that only
                move it on.
        """
        rejected = columns.rejected if self._whole else []
        minute = placed_us - placed_us % MINUTE_US
        keep = minute >= self._from(columns.names)[columns.series]
        if self._fold_to_us is not None:
            over = self._over(columns.names, closed_us)[columns.series]
            keep &= ~over | (minute < self._fold_to_us)
        return replace(columns.where(keep), rejected=rejected)

    def _from(self, names: list[Series]) -> NDArray[np.int64]:
        never = np.iinfo(np.int64).max
        return np.array(
            [
                self._starts_us.get(name, self._from_us)
                if self._wanted.has_series(*name)
                else never
                for name in names
            ],
            np.int64,
        )

    def _over(self, names: list[Series], closed_us: ClosedUntil) -> NDArray[np.bool_]:
        end_us = self._fold_to_us
        if end_us is None:
            return np.zeros(len(names), np.bool_)
        return np.array([closed_us(*name) >= end_us for name in names], np.bool_)
