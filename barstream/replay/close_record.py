"""When each bar was closed, as the published finals say.

A worker that lags takes a heartbeat later than its barrier, and closes at the position it has
reached.  Only the bar knows that offset, so a replay with unchanged rules closes each minute at
its recorded ``close_offset``::

    offset     ... b ............ c ...        b: barrier of the heartbeat for k
                   |  ticks of k  |            c: where it was taken: close_offset of k

Minutes of a series close in ascending order, so their close offsets do not descend; one that
stands out of that order was tampered with, or the bar was made by a late tick, and says nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.log.compaction import compacted, since_tombstones

SERIES: Final = ["broker", "symbol"]


def in_order(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of ``values`` to keep so that they never descend and the fewest are left out."""
    length = len(values)
    if length < 2 or bool((np.diff(values) >= 0).all()):
        return np.ones(length, np.bool_)
    lowest_last: list[int] = []  # of the run of each length that is kept: its least last value
    place: list[int] = []
    before = np.full(length, -1, np.int64)
    for at, value in enumerate(values.tolist()):
        run = bisect_right(lowest_last, value)
        before[at] = place[run - 1] if run else -1
        if run == len(lowest_last):
            lowest_last.append(value)
            place.append(at)
        else:
            lowest_last[run], place[run] = value, at
    kept = np.zeros(length, np.bool_)
    at = place[-1]
    while at >= 0:
        kept[at] = True
        at = int(before[at])
    return kept


def recorded_closes(versions: pl.DataFrame, *, revises: bool) -> tuple[pl.DataFrame, int]:
    """The close offset of each minute that can be relied on.

    Args:
        versions: of minutes, in log order: ``offset, key, kind, broker, symbol, bucket_start,
            revision, first_offset, close_offset``.
        revises: late ticks revised bars, and raised their close offset: the first version says
            when a bar was closed, and where the log has lost it nothing does.

    Returns:
        Columns ``broker, symbol, bucket_start, close_offset, offset, first_tick``, by series and
        ascending (``first_tick`` is the lowest offset of a tick in any bar of the series); and
        how many were left out because they stand out of order.
    """
    if revises:
        alive = since_tombstones(versions.sort("offset"))
        told = alive.unique("key", keep="first", maintain_order=True)
        told = told.filter(pl.col("revision") == 0)
    else:
        told = compacted(versions.sort("offset"))
    told = told.filter((pl.col("kind") == "bar") & pl.col("close_offset").is_not_null())
    first = pl.col("first_offset").min().over(SERIES).alias("first_tick")
    told = told.select(*SERIES, "bucket_start", "close_offset", "offset", first)
    told = told.sort(*SERIES, "bucket_start")
    runs = [
        in_order(part["close_offset"].to_numpy())
        for part in told.partition_by(SERIES, maintain_order=True)
    ]
    kept = np.concatenate(runs) if runs else np.empty(0, np.bool_)
    return told.filter(pl.Series(kept, dtype=pl.Boolean)), int(len(kept) - kept.sum())
