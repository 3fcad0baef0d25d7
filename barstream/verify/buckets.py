"""Where buckets begin and end.

The core floors a day number by arithmetic (`barstream.model.period`).  Here polars makes a table of
all beginnings, and a date is looked up in it::

    starts   |1 Jan      |1 Feb     |1 Mar      ...        one row a bucket
    date             ^ 20 Jan: in the bucket of the last start that is not after it
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US

Longs = NDArray[np.int64]

#: What polars calls a unit, from which day on it counts (weeks from a Monday), and at most how
#: many days one has.
_UNITS: Final = {"d": ("d", 0, 1), "wk": ("w", 4, 7), "mo": ("mo", 0, 31)}
_MINUTES: Final = {"m": 1, "h": 60}
#: So many units before the first of them the table begins: a trading date may lie before 1970.
_BEFORE: Final = 400


class DateTable:
    """The first dates of the buckets of days, weeks or months; dates as days since 1970-01-01.

    Args:
        period: none of minutes or hours.
    """

    def __init__(self, period: Period) -> None:
        self._period = period
        self._starts = np.empty(0, np.int64)

    def floor(self, dates: Longs) -> Longs:
        """First date of the bucket of each date, shape (n,)."""
        if not len(dates):
            return np.empty(0, np.int64)
        starts = self._until(int(dates.max()))
        return starts[np.searchsorted(starts, dates, side="right") - 1]

    def next(self, first_date: int) -> int:
        """First date of the bucket after the one that begins with ``first_date``."""
        starts = self._until(first_date)
        return int(starts[np.searchsorted(starts, first_date, side="right")])

    def _until(self, date: int) -> Longs:
        """The table, at least to the bucket after the one of ``date``."""
        if not len(self._starts) or self._starts[-1] <= date:
            count = self._period.count
            unit, origin, days = _UNITS[self._period.unit]
            shift = (self._period.offset or 0) - count * (_BEFORE // count + 1)
            first = pl.lit(origin, pl.Int32).cast(pl.Date).dt.offset_by(f"{shift}{unit}")
            last = pl.lit(date + 2 * count * days, pl.Int32).cast(pl.Date)
            table = pl.select(starts=pl.date_range(first, last, f"{count}{unit}"))
            self._starts = table["starts"].cast(pl.Int32).cast(pl.Int64).to_numpy()
        return self._starts


#: One table for all series of a partition.
_table: Final = lru_cache(DateTable)


def length_us(period: Period) -> int:
    """How long a bucket of minutes or hours is."""
    return period.count * _MINUTES[period.unit] * MINUTE_US


def first_dates(period: Period, dates: Longs) -> Longs:
    """First date of the bucket of each trading date, shape (n,), days since 1970-01-01."""
    return _table(period).floor(dates)


def end_us(period: Period, bucket_us: int) -> int:
    """When the bucket is over that starts at ``bucket_us``, exclusive.

    Of days, weeks and months, whose starts stand for trading dates, the start of the next one.
    """
    if period.unit in _MINUTES:
        return bucket_us + length_us(period)
    return _table(period).next(bucket_us // DAY_US) * DAY_US
