"""Facts as they would be gathered, for tests of what follows from them.

One series, sessions 06:00 to 06:10 on ten trading dates from Monday 2024-01-01, one tick in 06:01
and one in 06:03, closed until 06:03 by the second one::

    06:00  06:01  06:02  06:03          06:10
    |      | x    |      |  x           ]
                         ^ closed until
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from barstream.explain.facts import (
    Beat,
    Facts,
    Neighbours,
    RuleFacts,
    Scheduled,
    SeriesFact,
    Stand,
    Tick,
    Version,
)
from barstream.explain.sessions import session_of
from barstream.market.schedule import RowsSchedule, SessionRow
from barstream.market.universe import SeriesSeen
from barstream.model.bar import Bar, PartialBar
from barstream.model.period import MINUTE
from barstream.model.time import DAY_US, MINUTE_US, us_from_iso
from tests.sample_bar import SAMPLE

MONDAY_US = us_from_iso("2024-01-01T06:00:00Z")
DATE = MONDAY_US // DAY_US
NOW_US = us_from_iso("2024-02-01T00:00:00Z")
SECOND_US = 1_000_000

ROWS = [
    SessionRow(
        "B", "S", DATE + n, 0, MONDAY_US + n * DAY_US, MONDAY_US + n * DAY_US + 10 * MINUTE_US
    )
    for n in range(10)
]
SCHEDULE = RowsSchedule(ROWS)


def minute(number: int, day: int = 0) -> int:
    """Start of a minute of a session."""
    return MONDAY_US + day * DAY_US + number * MINUTE_US


def tick(offset: int, time_us: int, price: float = 1.0) -> Tick:
    """Appended as it happened."""
    return Tick(offset, time_us, price, 1.0, time_us + 1000, 0)


def beat(offset: int, minute_us: int, barrier: int, appended_us: int | None = None) -> Beat:
    """Appended when it was due, unless said otherwise."""
    due_us = minute_us + MINUTE_US + 5 * SECOND_US
    sent_us = due_us if appended_us is None else appended_us
    return Beat(offset, sent_us, minute_us, barrier, sent_us, "planner")


def bar(minute_us: int, close_offset: int, price: float = 1.0, **changes: Any) -> Bar:
    """A bar of one tick."""
    made = SAMPLE.replace(
        symbol="S",
        bucket_start_us=minute_us,
        trading_date=minute_us // DAY_US,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=1.0,
        tick_count=1,
        open_time_us=minute_us + SECOND_US,
        close_time_us=minute_us + SECOND_US,
        first_offset=0,
        last_offset=0,
        close_offset=close_offset,
    )
    return made.replace(**changes)


def version(made: Bar | None, offset: int = 0, appended_us: int = NOW_US) -> Version:
    """Its record."""
    return Version(offset, appended_us, made)


ROW = SeriesFact(
    closed_until_us=minute(3),
    watermark_us=minute(3) + 10 * SECOND_US,
    previous_close=1.0,
    first_tick_us=minute(1) + SECOND_US,
    last_trading_date=DATE,
    live=False,
)


def open_bar(minute_us: int, trading_date: int) -> PartialBar:
    """A bar with one tick that is not final yet."""
    return PartialBar.of_tick(minute_us, trading_date, 0, minute_us, 1.0, 0.0, 0)


def facts(minute_us: int, **changes: Any) -> Facts:
    """Of a minute, after the two ticks."""
    scheduled = changes.pop("scheduled", None) or Scheduled(
        SCHEDULE, session_of(SCHEDULE, MINUTE, minute_us), row_appended_us=MONDAY_US - DAY_US
    )
    made = Facts(
        "B",
        "S",
        MINUTE,
        minute_us,
        NOW_US,
        RuleFacts(5 * SECOND_US, inactive_after=2),
        scheduled,
        seen=SeriesSeen("B", "S", 0, ROW.first_tick_us, DATE, False, ROW.closed_until_us),
        stand=Stand(0, 2, 0, 2, 0, 0),
        row=ROW,
        neighbours=Neighbours(earliest_us=minute(1)),
    )
    return replace(made, **changes)
