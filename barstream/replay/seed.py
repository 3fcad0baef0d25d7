"""An engine put where a series starts: what it would remember there, from published finals."""

from __future__ import annotations

from collections.abc import Mapping

from barstream.market.schedule import Series
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.partition.machine import PartitionMachine
from barstream.replay.finals_store import ReplayFinals
from barstream.replay.start_points import StartPoint
from barstream.rules.series import SeriesState


def seed(
    engine: PartitionMachine,
    book: ReplayFinals,
    starts: Mapping[Series, StartPoint],
    before: Mapping[Period, Mapping[Series, list[Bar]]],
) -> dict[Series, dict[Period, int]]:
    """Make the series known that were published before they start.

    Args:
        engine: new, with the schedule to judge by.
        book: the finals of the engine.
        starts: where series start.
        before: published finals before each start, ascending.

    Returns:
        By series and period the first bucket that the replay has to make; a bar that is open at
        the start begins before it.
    """
    firsts: dict[Series, dict[Period, int]] = {}
    for name, start in sorted(starts.items()):
        if not start.is_known:
            continue
        series = _restored(engine, name, start)
        minutes = before.get(MINUTE, {}).get(name, [])
        book.keep(MINUTE, minutes)
        for period in engine.rollups.periods:
            bars = before.get(period, {}).get(name, [])
            if minutes and not period.is_made_of_days:
                # the bar of the last minute may be open still
                latest_us = engine.rollups.children.bucket(series, period, minutes[-1])
                bars = [bar for bar in bars if bar.bucket_start_us < latest_us]
            elif period.is_made_of_days and bars:
                bars = bars[:-1]
            book.keep(period, bars)
        firsts[name] = _first_buckets(engine, series)
    return firsts


def _restored(engine: PartitionMachine, name: Series, start: StartPoint) -> SeriesState:
    series = engine.state.add(*name)
    engine.state.closed_until_us[series.slot] = start.start_us
    engine.state.watermark_us[series.slot] = start.watermark_us
    series.previous_close = start.previous_close
    series.first_tick_us = start.first_tick_us
    engine.state.saw_trading_date(series, start.last_trading_date)
    engine.state.saw_final(series, start.last_trading_date)
    return series


def _first_buckets(engine: PartitionMachine, series: SeriesState) -> dict[Period, int]:
    """Bars that are complete at the start are published as they are, and not made again."""
    rollups = engine.rollups
    rollups.restore(series)
    rollups.judge(series)
    firsts: dict[Period, int] = {}
    for period in rollups.periods:
        latest_us = rollups.latest_bucket_us(series, period)
        if latest_us is None:
            # nothing of it is left from before the start
            firsts[period] = int(engine.state.closed_until_us[series.slot])
            continue
        is_made = rollups.is_latest_final(series, period) or rollups.is_lost(
            series, period, latest_us
        )
        firsts[period] = latest_us + 1 if is_made else latest_us
    return firsts
