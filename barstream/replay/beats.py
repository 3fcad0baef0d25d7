"""The heartbeats a replay closes by, in the order in which they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from barstream.core.state import NEVER_US
from barstream.engine.partition import PartitionEngine
from barstream.engine.waiting import Waiting
from barstream.replay.recorded import SERIES

_COLUMNS: Final = ["offset", *SERIES, "bucket_start", "barrier", "appended_us"]


def from_log(heartbeats: pl.DataFrame) -> pl.DataFrame:
    """Heartbeats as a worker takes them that never lags: in log order, each at its barrier."""
    return heartbeats.sort("offset").select(_COLUMNS)


def from_finals(closes: pl.DataFrame, heartbeats: pl.DataFrame) -> pl.DataFrame:
    """One heartbeat for each recorded close, and those of the log where they can have been taken.

    Those of the log still matter: for minutes that got no bar, and as evidence that an instant
    has passed.  None of them was taken before the last close of a minute up to its own.
    """
    recorded = closes.select(
        "offset",
        *SERIES,
        "bucket_start",
        pl.col("close_offset").alias("barrier"),
        pl.lit(None, pl.Int64).alias("appended_us"),
        pl.lit(1).alias("kind"),
    )
    sent = heartbeats.sort("bucket_start").join_asof(
        closes.select(*SERIES, "bucket_start", "close_offset").sort("bucket_start"),
        on="bucket_start",
        by=SERIES,
        strategy="backward",
        check_sortedness=False,
    )
    sent = sent.with_columns(pl.max_horizontal("barrier", "close_offset").alias("barrier"))
    sent = sent.select(*_COLUMNS, pl.lit(0).alias("kind"))
    both = pl.concat([recorded.select(*_COLUMNS, "kind"), sent])
    return both.sort("barrier", "kind", "offset").select(_COLUMNS)


class Beats:
    """Gives an engine heartbeats just ahead of the ticks, so that few of them are objects.

    Args:
        frame: as `from_log` or `from_finals` give it.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self._rows: Iterator[tuple[int, str, str, int, int, int | None]] = frame.iter_rows()
        self._newest: Waiting | None = None

    def give(self, engine: PartitionEngine, next_offset: int) -> None:
        """All that may close something while ticks below ``next_offset`` are applied.

        They are taken strictly in order, so one that waits for longer holds back the rest.
        """
        while (
            not len(engine.waiting) or self._newest is None or (self._newest.barrier <= next_offset)
        ):
            row = next(self._rows, None)
            if row is None:
                break
            offset, broker, symbol, minute_us, barrier, appended_us = row
            beat = Waiting(
                offset,
                broker,
                symbol,
                minute_us,
                barrier,
                NEVER_US if appended_us is None else appended_us,
            )
            before = len(engine.waiting)
            engine.add_heartbeat(beat)
            if len(engine.waiting) > before:
                self._newest = beat
