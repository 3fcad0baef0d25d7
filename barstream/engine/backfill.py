"""Upper bars of a timeframe that was added later, made from the finals that are there.

One line adds a timeframe; its bars begin where the retained minutes begin, and not on the day
the line was written.  All bars of a series go out in one flush: where the first of them is
there, all are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from itertools import groupby

from barstream.core.bars import Bar
from barstream.core.close import Closed
from barstream.core.fold import fold
from barstream.core.period import DAY, MINUTE, Period
from barstream.core.state import SeriesState
from barstream.core.time import DAY_US
from barstream.engine.owned import OwnedPartition
from barstream.engine.partition import PartitionEngine

log = logging.getLogger(__name__)


async def backfill(owned: OwnedPartition) -> None:
    """Add what is missing, a series at a time; what is live goes on in between."""
    made = 0
    for series in list(owned.engine.state):
        found = missing(owned.engine, series)
        await asyncio.sleep(0)
        if not found:
            continue
        made += len(found)
        owned.engine.add_rollups(found)
        owned.wake()
        await owned.room()
        if owned.fenced:
            return
    if made:
        log.info(
            "bars of timeframes added since were made from finals: partition=%d bars=%d",
            owned.partition, made,
        )  # fmt: skip


def missing(engine: PartitionEngine, series: SeriesState) -> list[tuple[Period, Bar]]:
    """Parents of one series that its finals allow for and that are not there, put in the book."""
    found: list[tuple[Period, Bar]] = []
    for period in engine.rollups.periods:  # days come before what is made of them
        if found and period.is_made_of_days:
            engine.rollups.restore(series)  # there were no days to find the latest week by
        for bar in _missing(engine, series, period):
            engine.book.put(period, bar)
            found.append((period, bar))
    if found:
        out = Closed()
        engine.rollups.judge(series, out)
        found.extend(out.rollups)
    return found


def _missing(engine: PartitionEngine, series: SeriesState, period: Period) -> Iterator[Bar]:
    book, name = engine.book, (series.broker, series.symbol)
    below = DAY if period.is_made_of_days else MINUTE
    latest_us = engine.rollups.latest_bucket_us(series, period)
    first = book.first(below, *name)
    if latest_us is None or first is None:
        return
    start_us = engine.rollups.children.bucket(series, period, first)
    retained_us = max(book.retained_from_us(each, *name) or 0 for each in (below, period))
    if start_us >= latest_us or book.get(period, *name, start_us) is not None:
        return
    there = book.first(period, *name)
    end_us = latest_us if there is None else min(latest_us, there.bucket_start_us)
    if not period.is_intraday:
        # a session of the last date may begin the day before it, and none of a later date does
        end_us += DAY_US
    for bucket_us, run in groupby(
        book.between(below, *name, first.bucket_start_us, end_us),
        lambda child: engine.rollups.children.bucket(series, period, child),
    ):
        children = list(run)
        # of the first bucket retention may have taken the beginning away
        whole = children[0].bucket_start_us > retained_us or not retained_us
        in_gap = bucket_us < latest_us and (there is None or bucket_us < there.bucket_start_us)
        if whole and in_gap and bucket_us >= retained_us:
            yield fold(children, bucket_us)
