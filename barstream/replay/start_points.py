"""Where each series of a replay starts: at a whole minute, after the published final before it.

::

    finals     |--F--|--F--|--F--|.....|          F: published, before the start
    start                        ^ start_us       the first minute that is derived anew
    ticks             x     x      x  x  x        x before it: in no bar, and not rejected

From an offset on, a minute can be derived when all its ticks lie there and it was closed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from barstream.log.series import SeriesRow
from barstream.market.schedule import Series
from barstream.model.time import MINUTE_US, ceil_minute
from barstream.replay.close_record import SERIES
from barstream.rules.series import NEVER_US

_FIELDS: Final = ["bucket_start", "trading_date", "close", "close_time"]


@dataclass(frozen=True, slots=True)
class StartPoint:
    """How a series stands when its first minute begins; `NEVER_US` where there is no such time.

    Attributes:
        start_us: the first minute that is derived; ticks before it are left out.
        later: records were missing, so it is later than what was asked for.
        previous_close: of the final before it; None: there is none, it starts with its first tick.
    """

    start_us: int
    later: bool = False
    previous_close: float | None = None
    last_trading_date: int | None = None
    watermark_us: int = NEVER_US
    first_tick_us: int = NEVER_US

    @property
    def is_known(self) -> bool:
        """Whether anything of the series was published before."""
        return self.previous_close is not None


def starts_of(
    minutes: pl.DataFrame,
    closes: pl.DataFrame,
    rows: Mapping[Series, SeriesRow],
    from_us: int | None,
    begin: int,
) -> dict[Series, StartPoint]:
    """Where the series that have published finals start.

    Args:
        minutes: newest finals: ``broker, symbol, bucket_start, trading_date, close, tick_count,
            close_time, first_offset``.
        closes: see `barstream.replay.close_record.recorded_closes`.
        rows: of the series, for the time of their first tick.
        from_us: the time asked for; None: none.
        begin: the first tick offset that is read.
    """
    asked_us = NEVER_US if from_us is None else ceil_minute(from_us)
    gone = _gone_until(minutes, closes, begin)
    found: dict[Series, StartPoint] = {}
    for (broker, symbol), part in minutes.sort("bucket_start").group_by(SERIES):
        name = str(broker), str(symbol)
        start_us = max(asked_us, gone.get(name, NEVER_US))
        row = rows.get(name)
        first_us = None if row is None else row.first_tick_us
        earliest: int = part["bucket_start"].item(0)
        if earliest >= start_us and first_us is not None and first_us < min(start_us, earliest):
            # what was published before is deleted: it starts after the first bar that is left
            start_us = earliest + MINUTE_US
        if start_us > NEVER_US:
            found[name] = _start(part, start_us, first_us, later=start_us > asked_us)
    return found


def _gone_until(minutes: pl.DataFrame, closes: pl.DataFrame, begin: int) -> dict[Series, int]:
    """By series the end of the last minute with a tick, or a close, before ``begin``."""
    if begin <= 0:
        return {}
    before = pl.concat(
        [
            minutes.filter(pl.col("first_offset") < begin).select(*SERIES, "bucket_start"),
            closes.filter(pl.col("close_offset") <= begin).select(*SERIES, "bucket_start"),
        ]
    )
    last = before.group_by(SERIES).agg(pl.col("bucket_start").max())
    return {(b, s): bucket_us + MINUTE_US for b, s, bucket_us in last.iter_rows()}


def _start(part: pl.DataFrame, start_us: int, first_us: int | None, *, later: bool) -> StartPoint:
    before = part.filter(pl.col("bucket_start") < start_us)
    if not len(before):
        return StartPoint(start_us, later)
    last = before.row(-1, named=True)
    ticked = before.filter(pl.col("tick_count") > 0)
    # of a series that was quiet for longer than finals are kept only flat bars are left
    real: dict[str, Any] = (ticked if len(ticked) else before.head(1)).row(-1, named=True)
    real_us: int = real["bucket_start"]
    return StartPoint(
        start_us,
        later,
        last["close"],
        real["trading_date"],
        # a tick after the close of its session is placed in its minute
        real_us if real["close_time"] is None else min(real["close_time"], real_us + MINUTE_US - 1),
        before["bucket_start"].item(0) if first_us is None else first_us,
    )
