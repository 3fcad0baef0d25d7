"""Upper bars that the finals allow for and that are not there: of a period that was added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from barstream.model.bar import Bar
from barstream.model.period import DAY, MINUTE, Period
from barstream.partition.finals_view import FinalsView
from barstream.rules.rollup import RollUps
from barstream.rules.rollup_fold import fold
from barstream.rules.series import FOREVER_US, SeriesState


def missing(
    book: FinalsView, rollups: RollUps, series: SeriesState, periods: Sequence[Period]
) -> list[tuple[Period, Bar]]:
    """Bars of ``periods`` before the latest one of each, put into the book.

    A bucket of which retention has taken a part is left out.
    """
    name = series.broker, series.symbol
    found: list[tuple[Period, Bar]] = []
    for below in (MINUTE, DAY):
        some = [period for period in periods if period.is_made_of_days == (below == DAY)]
        # days come first: the latest week is found by them
        rollups.restore(series)
        children = book.between(below, *name, 0, FOREVER_US) if some else []
        for period in some:
            for bar in _missing(book, rollups, series, period, children):
                book.put(period, bar)
                found.append((period, bar))
    if found:
        rollups.forget_folds(series)
    return found


def _missing(
    book: FinalsView, rollups: RollUps, series: SeriesState, period: Period, children: list[Bar]
) -> Iterator[Bar]:
    latest_us = rollups.latest_bucket_us(series, period)
    if latest_us is None:
        return
    name = series.broker, series.symbol
    there = {bar.bucket_start_us for bar in book.between(period, *name, 0, FOREVER_US)}
    tree = rollups.children
    buckets = [tree.bucket(series, period, child) for child in children]
    for bucket_us, run in groupby(zip(buckets, children, strict=True), itemgetter(0)):
        if bucket_us >= latest_us or bucket_us in there:
            continue
        if not rollups.is_lost(series, period, bucket_us):
            yield fold([child for _, child in run], bucket_us)
