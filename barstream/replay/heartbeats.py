"""The heartbeats a replay closes by, in the order in which they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from barstream.log.rules import Regimes
from barstream.market.schedule import ScheduleIndex
from barstream.model.time import MINUTE_US
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.partition.machine import PartitionMachine
from barstream.replay.close_record import SERIES
from barstream.rules.series import NEVER_US

#: Of what `Beats` gives, as rows.
COLUMNS: Final = ["offset", *SERIES, "bucket_start", "barrier", "appended_us", "regime"]


def from_log(heartbeats: pl.DataFrame) -> pl.DataFrame:
    """Heartbeats as a worker takes them that never lags: in log order, each at its barrier."""
    return heartbeats.sort("offset").with_columns(regime=pl.lit(0)).select(COLUMNS)


def from_finals(
    closes: pl.DataFrame, heartbeats: pl.DataFrame, regimes: Regimes[ScheduleIndex]
) -> pl.DataFrame:
    """One heartbeat for each recorded close, and those of the log where they can have been taken.

    Those of the log still matter: for minutes that got no bar, and as evidence that an instant
    has passed.  None of them was taken before the last close of a minute up to its own, but for
    those that came before the series had a tick: they closed nothing.

    Where rules changed, ``regime`` says by which each was taken.
    """
    numbers = regimes.numbers_of_heartbeats(heartbeats["offset"].to_numpy())
    heartbeats = heartbeats.with_columns(regime=pl.Series(numbers, dtype=pl.Int64))
    closes = closes.with_columns(regime=_regimes_of(closes, heartbeats, regimes))
    recorded = closes.select(
        "offset",
        *SERIES,
        "bucket_start",
        pl.col("close_offset").alias("barrier"),
        pl.lit(None, pl.Int64).alias("appended_us"),
        "regime",
        pl.lit(1).alias("kind"),
    )
    sent = heartbeats.sort("bucket_start").join_asof(
        closes.select(*SERIES, "bucket_start", "close_offset", "first_tick").sort("bucket_start"),
        on="bucket_start",
        by=SERIES,
        strategy="backward",
        check_sortedness=False,
    )
    # one that closed something all the same has its recorded closes
    sent = sent.filter(pl.col("first_tick").is_null() | (pl.col("barrier") > pl.col("first_tick")))
    sent = sent.with_columns(pl.max_horizontal("barrier", "close_offset").alias("barrier"))
    sent = sent.select(*COLUMNS, pl.lit(0).alias("kind"))
    both = pl.concat([recorded.select(*COLUMNS, "kind"), sent])
    return both.sort("regime", "barrier", "kind", "offset").select(COLUMNS)


def _regimes_of(
    closes: pl.DataFrame, heartbeats: pl.DataFrame, regimes: Regimes[ScheduleIndex]
) -> pl.Series:
    """The regime each recorded close was made in.

    Of those that begin at its very offset its heartbeat tells, if it is there.  Else a tick closed
    it, which needs no heartbeat to do so again, or the last of them did.
    """
    offsets = closes["close_offset"].to_numpy()
    first = np.searchsorted(regimes.begin, offsets, side="left") - 1
    last = regimes.numbers(offsets)
    grace_us = np.array([each.rules.grace_us for each in regimes.all], np.int64)
    due_us = _ends_us(heartbeats, regimes)
    due_us = due_us + pl.Series(grace_us[heartbeats["regime"].to_numpy()], dtype=pl.Int64)
    may_close = pl.col("appended_us").is_null() | (pl.col("appended_us") >= due_us)
    told = closes.join(
        heartbeats.filter(may_close).unique([*SERIES, "bucket_start"], keep="last").select(
            *SERIES, "bucket_start", beat_regime="regime"
        ),
        on=[*SERIES, "bucket_start"], how="left", maintain_order="left",
    )["beat_regime"].fill_null(len(regimes)).to_numpy()  # fmt: skip
    return pl.Series(np.clip(told, np.maximum(first, 0), last), dtype=pl.Int64)


def _ends_us(heartbeats: pl.DataFrame, regimes: Regimes[ScheduleIndex]) -> pl.Series:
    """When the minute of each heartbeat ends, by the sessions of its regime."""
    ends_us = heartbeats["bucket_start"] + MINUTE_US
    for broker, symbol, number in heartbeats.select(*SERIES, "regime").unique().iter_rows():
        schedule = regimes.all[number].index.for_series(broker, symbol)
        if schedule is None or not schedule.has_tolerance:
            continue
        mine = (heartbeats["broker"] == broker) & (heartbeats["symbol"] == symbol)
        mine &= heartbeats["regime"] == number
        minutes = heartbeats["bucket_start"].filter(mine)
        ends = pl.Series(map(schedule.minute_end, minutes), dtype=pl.Int64)
        ends_us = ends_us.scatter(mine.arg_true(), ends)
    return ends_us


class Beats:
    """Gives an engine heartbeats just ahead of the ticks, so that few of them are objects.

    Args:
        frame: as `from_log` or `from_finals` give it.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self._rows: Iterator[tuple[int, str, str, int, int, int | None, int]] = frame.iter_rows()
        self._next = next(self._rows, None)
        self._newest: QueuedHeartbeat | None = None

    def give(self, engine: PartitionMachine, next_offset: int, regime: int = 0) -> None:
        """All that may close something while ticks below ``next_offset`` are applied.

        None of a later regime: they are taken by its rules.

        They are taken strictly in order, so one that waits for longer holds back the rest.
        """
        while (
            not len(engine.waiting) or self._newest is None or (self._newest.barrier <= next_offset)
        ):
            if self._next is None or self._next[-1] > regime:
                break
            offset, broker, symbol, minute_us, barrier, appended_us, _ = self._next
            self._next = next(self._rows, None)
            beat = QueuedHeartbeat(
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
