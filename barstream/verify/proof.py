"""What may have closed a bar: ticks past the watermark, heartbeats at their barrier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.codecs.topics.withdrawal import Withdrawn
from barstream.log.heartbeats import TOMBSTONE, without_withdrawn
from barstream.log.selection import Selection
from barstream.model.time import MINUTE_US, iso_from_us
from barstream.verify.graces import Graces
from barstream.verify.series_number import offset_key
from barstream.verify.tick_class import Judge

Longs = NDArray[np.int64]
_NEVER = -(1 << 60)
_EVER = 1 << 60
_NAME: Final = ["broker", "symbol"]
EVERYTHING: Final = Selection()


@dataclass(frozen=True, slots=True)
class Lost:
    """What the log of heartbeats may have held and holds no more.

    Attributes:
        begin: first offset there is; above 0 retention deleted something.
        first_appended_us: append time of the first record there is; None: not known.
    """

    begin: int
    first_appended_us: int | None


class Heartbeats:
    """The heartbeats of a partition that may close something, searched by series and barrier.

    Args:
        found: as `barstream.log.heartbeats` gives them, tombstones as well.
        graces: a heartbeat appended before the end of its minute and the grace closes nothing;
            by regime.
        begin: first offset the partition has.
        judge: knows the sessions of each regime: the last minute of one with a close tolerance is
            over when that is; heartbeats of series it does not judge close nothing that is asked.
        withdrawn: heartbeats that close nothing any more.
    """

    def __init__(
        self,
        found: pl.DataFrame,
        graces: Sequence[Graces],
        begin: int,
        judge: Judge,
        withdrawn: Withdrawn | None = None,
    ) -> None:
        self._grace_us = min(each.shortest_us for each in graces)
        shortest = np.array([each.shortest_us for each in graces], np.int64)
        numbers_of = judge.regimes.numbers_of_heartbeats(found["offset"].to_numpy())
        found = found.with_columns(grace_us=pl.Series(shortest[numbers_of], dtype=pl.Int64))
        first_us = None if found.is_empty() else found["appended_us"][0]
        self.lost = Lost(begin, first_us)
        found = found.with_columns(
            hole_us=_hole_us(found, begin), regime=pl.Series(numbers_of, dtype=pl.Int64)
        )
        found = found.filter(
            _of(judge.wanted),
            pl.col("source") != TOMBSTONE,
            pl.col("bucket_start") % MINUTE_US == 0,
        )
        if withdrawn is not None:
            found = without_withdrawn(found, withdrawn)
        names = found.select(_NAME).unique(maintain_order=True)
        numbers = pl.Series(judge.series.numbers(names.iter_rows()), dtype=pl.Int64)
        found = found.join(names.with_columns(series=numbers), on=_NAME, how="left")
        due = _over_us(found, judge) + found["grace_us"]
        ordered = (
            found.filter(pl.col("appended_us").is_null() | (pl.col("appended_us") >= due))
            .sort("series", "barrier", "offset")
            .with_columns(highest=pl.col("bucket_start").cum_max().over("series"))
        )
        self._frame = ordered
        self._series = ordered["series"].to_numpy()
        self._minute = ordered["bucket_start"].to_numpy()
        self._highest = ordered["highest"].to_numpy()
        self._barrier, self._offset = ordered["barrier"].to_numpy(), ordered["offset"].to_numpy()
        self._keys = offset_key(self._series, self._barrier)

    def __len__(self) -> int:
        return len(self._keys)

    def highest_minute(self, series: Longs, offset: Longs) -> Longs:
        """The latest minute asked for with a barrier <= ``offset``, shape (n,)."""
        if not len(self._keys):
            return np.full(len(series), _NEVER, np.int64)
        at = np.searchsorted(self._keys, offset_key(series, offset), side="right") - 1
        known = (at >= 0) & (self._series[np.maximum(at, 0)] == series)
        return np.where(known, self._highest[np.maximum(at, 0)], _NEVER)

    def closed_until_us(self, series: int, next_offset: int, first_tick: int) -> int:
        """Up to which minute (exclusive) those below an offset have closed a series.

        Of a series without a tick they close nothing.
        """
        low, high = np.searchsorted(self._series, [series, series + 1]).tolist()
        used = self._offset[low:high] < next_offset
        used &= self._barrier[low:high] > first_tick
        minutes = self._minute[low:high][used]
        return int(minutes.max()) + MINUTE_US if len(minutes) else _NEVER

    def latest_append_us(self) -> dict[int, int]:
        """When the newest heartbeat of each series was appended, where it is known."""
        latest = self._frame.group_by("series").agg(pl.col("appended_us").max()).drop_nulls()
        return dict(latest.iter_rows())

    def describe(self, series: int, minute_us: int, close_offset: int) -> str | None:
        """The heartbeat that closed a minute at ``close_offset``, in words."""
        mine = self._frame.filter(
            (pl.col("series") == series)
            & (pl.col("bucket_start") >= minute_us)
            & (pl.col("barrier") <= close_offset)
        )
        if mine.is_empty():
            return None
        row = mine.row(mine["barrier"].arg_max() or 0, named=True)
        return (
            f"heartbeat for {iso_from_us(row['bucket_start'])} with barrier {row['barrier']} "
            f"(hb offset {row['offset']})"
        )

    def may_be_lost(self, series: int, minute_us: int, close_offset: int) -> bool:
        """Whether a heartbeat that closed this minute then may have been deleted since."""
        lost, due_us = self.lost, minute_us + MINUTE_US + self._grace_us
        if lost.begin > 0 and (lost.first_appended_us is None or due_us <= lost.first_appended_us):
            return True
        # compaction takes a heartbeat when that of the same minute is sent again, and one that
        # was appended before its minute was over closed nothing
        again = self._frame.filter(
            (pl.col("series") == series)
            & (pl.col("bucket_start") >= minute_us)
            & (pl.col("barrier") > close_offset)
            & (pl.col("hole_us") >= pl.col("bucket_start") + MINUTE_US + self._grace_us)
        )
        return not again.is_empty()


def _of(wanted: Selection) -> pl.Expr:
    """Whether a heartbeat is of a series that is asked for."""
    asked = pl.lit(value=True)
    for column, name in zip(_NAME, (wanted.broker, wanted.symbol), strict=True):
        if name is not None:
            asked &= pl.col(column) == name
    return asked


def _over_us(found: pl.DataFrame, judge: Judge) -> pl.Series:
    """When the minute of each heartbeat is over, by the sessions of its regime."""
    minute, over_us = found["bucket_start"].to_numpy(), found["bucket_start"].to_numpy() + MINUTE_US
    for number, regime in found.select("series", "regime").unique().iter_rows():
        hours = judge.hours_in(regime, number)
        if hours is not None and hours.is_tolerant:
            mine = ((found["series"] == number) & (found["regime"] == regime)).to_numpy()
            over_us[mine] = hours.minutes_over_us(minute[mine])
    return pl.Series(over_us, dtype=pl.Int64)


def _hole_us(found: pl.DataFrame, begin: int) -> pl.Series:
    """Of each heartbeat, until when one that is missing before it may have been appended.

    Null where none is missing.
    """
    gaps = np.diff(found["offset"].to_numpy(), prepend=begin - 1) - 1
    # one offset between two transactions is the marker of the first; the loader sends without
    planned = found["source"].is_in(["planner", TOMBSTONE]).to_numpy()
    markers = np.zeros(len(gaps), np.int64)
    markers[1:] = planned[:-1]
    appended_us = found["appended_us"].cast(pl.Int64).fill_null(_EVER).to_numpy()
    holes = pl.Series(np.where(gaps > markers, appended_us, _NEVER), dtype=pl.Int64)
    return holes.replace(_NEVER, None).forward_fill()
