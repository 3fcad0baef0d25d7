"""Time as integers: microseconds since the epoch, UTC.

Inside barstream a time is an ``int`` whose name ends in ``_us``, a trading date is an
``int`` of days since 1970-01-01.  Text and datetimes exist only at the edges, and the
functions here are that edge.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
DAY_US: Final = 24 * 60 * MINUTE_US

#: The last minute a key can name, 9999-12-31T23:59.
LAST_MINUTE_US: Final = 253_402_300_740_000_000
#: Event times lie in [1970-01-01, 10000-01-01): what a key can spell.
END_OF_TIME_US: Final = 253_402_300_800_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
#: A time whose second is 60: date, hour and minute before it, fraction and zone behind.
_SIXTY: Final = re.compile(r"([^T ]+[T ]\d\d:?\d\d:?)60((?:[.,]\d+)?(?:Z|[+-].*)?)", re.ASCII)
#: Midnight as the end of a day, which Python reads from 3.14 on only, and files of ticks never.
_HOUR_24: Final = re.compile(r"(?:\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(?:-?\d)?)\D24", re.ASCII)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def floor_minute(ts_us: int) -> int:
    """Start of the minute that contains ``ts_us``."""
    return ts_us - ts_us % MINUTE_US


def ceil_minute(ts_us: int) -> int:
    """The first minute start at or after ``ts_us``."""
    return -(-ts_us // MINUTE_US) * MINUTE_US


def datetime_from_us(ts_us: int) -> datetime:
    """Aware UTC datetime of ``ts_us``, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=ts_us)


def us_from_datetime(when: datetime) -> int:
    """Microseconds since the epoch; a naive datetime is taken as UTC."""
    # apart, as the difference to an aware datetime does not know the ends of the calendar
    since = when.replace(tzinfo=None) - _NAIVE_EPOCH - (when.utcoffset() or timedelta())
    return since // timedelta(microseconds=1)


def us_from_iso(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 text; without a zone it is UTC.

    A second of 60 is the first of the next minute: so POSIX counts a leap second, which is what
    a time since the epoch says of the same instant, and so is meant what C prints of 59.9996
    with three places.  Files of ticks are read alike.

    Raises:
        ValueError: the text is not an ISO 8601 date or time.
    """
    when, late = _iso(text)
    return us_from_datetime(when) + late * SECOND_US


def datetime_from_iso(text: str) -> datetime:
    """The datetime of an ISO 8601 text, as `us_from_iso` reads it; naive without a zone.

    Raises:
        ValueError: the text is not an ISO 8601 date or time.
        OverflowError: it is the leap second after the last datetime.
    """
    when, late = _iso(text)
    return when + timedelta(seconds=late)


def _iso(text: str) -> tuple[datetime, int]:
    """A datetime, and the seconds it is too early."""
    text = text.strip()
    sixty = None
    try:
        if not _HOUR_24.match(text):
            return datetime.fromisoformat(text), 0
    except ValueError:
        sixty = _SIXTY.fullmatch(text)
    try:
        if sixty is not None:
            return datetime.fromisoformat(f"{sixty[1]}59{sixty[2]}"), 1
    except ValueError:
        pass
    raise ValueError(f"a time such as 2024-01-02T09:30:00Z is required, but found {text!r}")


def iso_from_us(ts_us: int) -> str:
    """``2013-01-01T22:00:00Z``: fixed width, whole seconds, so that text sorts as time does."""
    # in every key that is written: half the cost of strftime, which leaves years unpadded too
    return f"{(_NAIVE_EPOCH + timedelta(seconds=ts_us // SECOND_US)).isoformat()}Z"


def iso_micros_from_us(ts_us: int) -> str:
    """``2013-01-01T22:00:00.250000Z``: fixed width, microseconds."""
    return f"{datetime_from_us(ts_us):%Y-%m-%dT%H:%M:%S.%f}Z"


def date_from_days(days: int) -> date:
    """The date so many days after 1970-01-01."""
    return date.fromordinal(_EPOCH_ORDINAL + days)


def iso_date_from_days(days: int) -> str:
    """``2013-01-01`` from days since 1970-01-01."""
    return date_from_days(days).isoformat()


def days_from_iso_date(text: str) -> int:
    """Days since 1970-01-01 of ``2013-01-01``.

    Raises:
        ValueError: the text is not an ISO 8601 date.
    """
    try:
        return date.fromisoformat(text.strip()).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise ValueError(f"a date such as 2024-01-02 is required, but found {text!r}") from None
