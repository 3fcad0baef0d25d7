"""Closing: the one function through which a bar becomes final.

Watermark and heartbeat both end here.  It is idempotent (what is closed stays closed), goes in
ascending order, and fills every in-session minute between the last final and its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from barstream.market.schedule import Session, minutes_between
from barstream.model.bar import Bar, synthetic_bar
from barstream.model.time import MINUTE_US
from barstream.rules.series import NEVER_US, PartitionState, SeriesState


class Gap(NamedTuple):
    """Minutes in session that are closed without a bar.

    Attributes:
        minutes: starts, of one session.
        why: no price came before them, or the series was asleep.
        after: of a sleep the trading date of the last bar with ticks.
    """

    minutes: range
    why: Literal["no_price", "asleep"]
    after: int | None = None


def close_series(
    partition: PartitionState,
    series: SeriesState,
    until_us: int,
    close_offset: int,
    gaps: list[Gap] | None = None,
) -> list[Bar]:
    """Close every minute of ``series`` that starts before ``until_us``.

    What is filled follows from the finals with ticks and the schedule alone: after one of them
    nothing is filled once its series is asleep, up to the next one.

    Args:
        partition: the partition that holds the series.
        series: the series.
        until_us: a minute start, exclusive.
        close_offset: offset (exclusive) up to which ticks could enter the bars closed here.
        gaps: takes the minutes that are passed over; None: nobody asks.

    Returns:
        The finals, ascending; none of what was closed before, nor of what has no price yet.
    """
    finals: list[Bar] = []
    start_us = int(partition.closed_until_us[series.slot])
    if until_us <= start_us:
        return finals
    partition.closed_until_us[series.slot] = until_us
    open_bars = series.open_bars
    revisable = partition.rules.late_policy == "revise"
    due = [bucket for bucket in open_bars if bucket < until_us]
    if len(due) > 1:
        due.sort()
    for bucket in due:
        if bucket > start_us:
            _fill(partition, series, start_us, bucket, close_offset, finals, gaps)
        bar = open_bars.pop(bucket).to_bar(
            series.broker, series.symbol, close_offset, revisable=revisable
        )
        series.previous_close = bar.close
        if bar.trading_date != series.filled_date:
            partition.saw_final(series, bar.trading_date)
        finals.append(bar)
        start_us = bucket + MINUTE_US
    if start_us < until_us:
        _fill(partition, series, start_us, until_us, close_offset, finals, gaps)
    return finals


def _fill(
    partition: PartitionState,
    series: SeriesState,
    start_us: int,
    until_us: int,
    close_offset: int,
    finals: list[Bar],
    gaps: list[Gap] | None,
) -> None:
    """Synthetic finals for the in-session minutes in [start_us, until_us), none with ticks."""
    schedule = series.schedule
    price = series.previous_close
    # before the first tick nothing is known of the series, not even since when it is open
    if schedule is None or start_us == NEVER_US:
        return
    asleep_us = max(start_us, series.filled_until_us)
    if gaps is not None and asleep_us < until_us:
        slept = minutes_between(schedule, asleep_us, until_us)
        gaps.extend(Gap(minutes, "asleep", series.filled_date) for _, minutes in slept)
    until_us = min(until_us, asleep_us)
    if start_us >= until_us:
        return
    for session, minutes in minutes_between(schedule, start_us, until_us):
        if price is None:
            partition.unpriced_minutes += len(minutes)
            if gaps is not None:
                gaps.append(Gap(minutes, "no_price"))
            continue
        finals.extend(flat_bars(series, session, minutes, price, close_offset))


def flat_bars(
    series: SeriesState,
    session: Session,
    minutes: range,
    price: float,
    close_offset: int,
    revision: int = 0,
) -> Iterator[Bar]:
    """Synthetic finals of some minutes of a session."""
    for minute_us in minutes:
        yield synthetic_bar(
            series.broker,
            series.symbol,
            minute_us,
            session.trading_date,
            session.number,
            price,
            close_offset,
            revision,
        )
