"""Which bucket of a period a child belongs to, and what of the bucket is still to come."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US
from barstream.verify.buckets import end_us, first_dates, length_us
from barstream.verify.hours import AlwaysOpen, Hours, Minutes

Longs = NDArray[np.int64]
_NEVER_US: Final = -(1 << 60)


def parents_of(period: Period, children: pl.DataFrame, hours: Hours) -> Longs:
    """Start of the bucket of each child of one series, shape (n,).

    Args:
        period: of the parents.
        children: finals of minutes; of days where the period is made of days.
        hours: of the series.
    """
    start_us: Longs = children["bucket_us"].to_numpy()
    if period.is_intraday:
        if period.anchor == "session":
            return _from_opens(period, start_us, hours)
        origin_us = (period.offset or 0) * MINUTE_US
        return start_us - (start_us - origin_us) % length_us(period)
    if period.is_made_of_days:
        dates = start_us // DAY_US
    else:
        dates = children["trading_date"].cast(pl.Int64).to_numpy()
    return first_dates(period, dates) * DAY_US


def _from_opens(period: Period, start_us: Longs, hours: Hours) -> Longs:
    """The grid starts anew with the minute each session opens in."""
    if isinstance(hours, AlwaysOpen):
        opens = start_us // DAY_US * DAY_US
    elif len(hours.open_us):
        floors = hours.open_us // MINUTE_US * MINUTE_US
        row = np.searchsorted(floors, start_us, side="right") - 1
        opens = np.where(row >= 0, floors[np.maximum(row, 0)], start_us)
    else:
        opens = start_us
    return start_us - (start_us - opens) % length_us(period)


def to_come(period: Period, bucket_us: int, closed_us: int, hours: Hours) -> Minutes:
    """In-session minutes of a bucket that start at or after ``closed_us``."""
    until_us = end_us(period, bucket_us)
    if period.is_intraday:
        left = hours.minutes(max(bucket_us, closed_us), until_us)
        if period.anchor == "session":
            # the next session has buckets of its own
            mine = left.open_us // MINUTE_US * MINUTE_US <= bucket_us
            left = Minutes(*(column[mine] for column in left))
        return left
    first, end = bucket_us // DAY_US, until_us // DAY_US
    close_us = hours.close_of(first, end)
    if close_us is None or close_us <= closed_us:
        return hours.minutes(0, 0)
    left = hours.minutes(closed_us, close_us)
    mine = (left.trading_date >= first) & (left.trading_date < end)
    return Minutes(*(column[mine] for column in left))


def first_instant(period: Period, bucket_us: int, hours: Hours) -> int:
    """When the first session that reaches into a bucket opens, its own start otherwise."""
    if period.is_intraday:
        return bucket_us
    open_us = hours.open_of(bucket_us // DAY_US, end_us(period, bucket_us) // DAY_US)
    return bucket_us if open_us is None else open_us
