"""Times, prices and spans in sentences."""

from __future__ import annotations

from barstream.market.session import Session
from barstream.model.time import (
    DAY_US,
    MINUTE_US,
    SECOND_US,
    iso_date_from_days,
    iso_from_us,
    iso_micros_from_us,
)


def at(ts_us: int) -> str:
    """``2013-01-01T22:00:00Z``, with microseconds where there are any."""
    if ts_us % SECOND_US == 0:
        return iso_from_us(ts_us)
    return f"{iso_micros_from_us(ts_us)[:-1].rstrip('0')}Z"


def span(length_us: int) -> str:
    """``7 s``, ``12 min``, ``3 h``, ``5 d``: about how long."""
    for size, word in ((DAY_US, "d"), (60 * MINUTE_US, "h"), (MINUTE_US, "min")):
        if length_us >= 2 * size:
            return f"{length_us // size} {word}"
    return f"{length_us / SECOND_US:.1f} s"


def session_words(session: Session) -> str:
    """Trading date, number, open and close."""
    end_us = session.close_us + session.close_tolerance_us
    tolerance = f", with ticks until {at(end_us)}" if session.close_tolerance_us else ""
    return (
        f"{iso_date_from_days(session.trading_date)} session {session.number}, "
        f"{at(session.open_us)} to {at(session.close_us)}{tolerance}"
    )


def counted(ticks: int) -> str:
    """``1 tick``, ``2 ticks``."""
    return f"{ticks} tick{'' if ticks == 1 else 's'}"
