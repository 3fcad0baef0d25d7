"""The watermark of each series at given offsets, gathered while ticks go by once."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.verify.series_number import offset_key
from barstream.verify.tick_class import Block

Longs = NDArray[np.int64]
NEVER_US: Final = -(1 << 60)


class Watermarks:
    """Latest time of a series' ticks below an offset, for the offsets asked beforehand.

    Times are those at which ticks are placed: one after a close does not pass its own minute.

    Only ticks in session count.  That some of them are late makes no difference to what is asked:
    a late tick's minute, and so every one before it, was closed already.

    Args:
        series: of each question, shape (n,).
        offset: likewise, exclusive.
    """

    def __init__(self, series: Longs, offset: Longs) -> None:
        order = np.argsort(offset, kind="stable")
        self._order = order
        self._series = series[order]
        self._offset = offset[order]
        self._next = 0
        self._latest = np.empty(0, np.int64)
        #: Answers in the order of the questions.
        self.answers = np.full(len(series), NEVER_US, np.int64)

    def latest(self, series: Longs) -> Longs:
        """The watermark of each series after all that was taken."""
        self._grow(int(series.max()) + 1 if len(series) else 0)
        found: Longs = self._latest[series]
        return found

    def _grow(self, count: int) -> None:
        if count > len(self._latest):
            more = np.full(count - len(self._latest), NEVER_US, np.int64)
            self._latest = np.concatenate([self._latest, more])

    def take(self, block: Block, end: int) -> Longs:
        """Take the next ticks, all of them in session, and all there are below ``end``.

        Returns:
            The watermark before each of them, shape (n,).
        """
        self._grow(int(block.series.max()) + 1 if len(block) else 0)
        order = np.argsort(block.series, kind="stable")
        series, offset, time_us = block.series[order], block.offset[order], block.placed_us[order]
        frame = pl.DataFrame({"series": series, "time_us": time_us})
        running = frame.select(pl.col("time_us").cum_max().over("series"))["time_us"].to_numpy()
        running = np.maximum(running, self._latest[series])
        stop = int(np.searchsorted(self._offset, end, side="right"))
        if stop > self._next:
            self._answer(slice(self._next, stop), series, offset, running)
            self._next = stop
        last = np.flatnonzero(np.diff(series, append=-1))
        firsts = np.append(0, last[:-1] + 1) if len(last) else last
        shifted = np.empty_like(running)
        shifted[1:] = running[:-1]
        shifted[firsts] = self._latest[series[firsts]]
        before: Longs = np.empty(len(running), np.int64)
        before[order] = shifted
        self._latest[series[last]] = running[last]
        return before

    def _answer(self, asked: slice, series: Longs, offset: Longs, running: Longs) -> None:
        who = self._series[asked]
        self._grow(int(who.max()) + 1)
        found = self._latest[who]
        if len(series):
            keys = offset_key(series, offset)
            at = np.searchsorted(keys, offset_key(who, self._offset[asked])) - 1
            here = (at >= 0) & (series[np.maximum(at, 0)] == who)
            found = np.where(here, running[np.maximum(at, 0)], found)
        self.answers[self._order[asked]] = found
