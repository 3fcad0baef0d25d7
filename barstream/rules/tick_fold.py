"""Folding accepted ticks into the open bars of their series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barstream.model.bar import PartialBar
from barstream.model.exact_sum import group_units, products
from barstream.model.tick import Ticks
from barstream.model.time import MINUTE_US
from barstream.rules.series import NEVER_US, PartitionState


def merge_bars(partition: PartitionState, ticks: Ticks) -> None:
    """Merge accepted ticks, sorted by series and in offset order within it, into open bars."""
    ticks = _by_time(ticks)
    slot, time_us, placed_us, offset = ticks.slot, ticks.time_us, ticks.placed_us, ticks.offset
    bucket = placed_us - placed_us % MINUTE_US
    first = np.empty(len(ticks), np.bool_)
    first[0] = True
    np.not_equal(slot[1:], slot[:-1], out=first[1:])
    first[1:] |= bucket[1:] != bucket[:-1]
    start = np.flatnonzero(first)
    stop = np.append(start[1:], len(ticks))
    last = stop - 1
    columns = zip(
        slot[start].tolist(),
        bucket[start].tolist(),
        placed_us[start].tolist(),
        ticks.price[start].tolist(),
        time_us[start].tolist(),
        offset[start].tolist(),
        np.maximum.reduceat(ticks.price, start).tolist(),
        np.minimum.reduceat(ticks.price, start).tolist(),
        ticks.price[last].tolist(),
        time_us[last].tolist(),
        offset[last].tolist(),
        group_units(ticks.size, start),
        group_units(products(ticks.price, ticks.size), start),
        (stop - start).tolist(),
        np.minimum.reduceat(offset, start).tolist(),
        np.maximum.reduceat(offset, start).tolist(),
        strict=True,
    )
    for (
        at,
        bucket_us,
        first_us,
        open_,
        open_us,
        open_at,
        high,
        low,
        close,
        close_us,
        close_at,
        *rest,
    ) in columns:
        series = partition.series[at]
        session = partition.session_at(series, first_us)
        part = PartialBar(
            bucket_us, session.trading_date, session.number,
            open_, open_us, open_at, high, low, close, close_us, close_at, *rest,
        )  # fmt: skip
        if (begun := series.open_bars.get(bucket_us)) is None:
            series.open_bars[bucket_us] = part
        else:
            begun.merge(part)
        if series.first_tick_us == NEVER_US or first_us < series.first_tick_us:
            series.first_tick_us = first_us


def _by_time(ticks: Ticks) -> Ticks:
    """Ticks of each series by (event time, offset); most feeds are in that order already."""
    later = (ticks.time_us[1:] >= ticks.time_us[:-1]) | (ticks.slot[1:] != ticks.slot[:-1])
    if later.all():
        return ticks
    lowest = ticks.time_us.min()
    span = int(ticks.time_us.max() - lowest) + 1
    if span * (int(ticks.slot[-1]) + 1) < 1 << 62:
        # stable, so that equal times keep offset order; nearly sorted input sorts in linear time
        order: NDArray[np.intp] = np.argsort(
            ticks.slot.astype(np.int64) * span + (ticks.time_us - lowest), kind="stable"
        )
    else:
        order = np.lexsort((ticks.time_us, ticks.slot))
    return ticks.take(order)
