"""Rows of the market schedule from calendars: exchanges, the FX week, always open.

``exchange_calendars`` knows the holidays, half days, lunch breaks and clock changes of the
exchanges; a lunch break makes two sessions of a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from typing import Any, Final
from zoneinfo import ZoneInfo

from barstream.core.keys import normalise
from barstream.core.schedule import SessionRow
from barstream.core.time import DAY_US, days_from_iso_date, us_from_datetime
from barstream.errors import BarstreamError

FX: Final = "FX"
ALWAYS_OPEN: Final = "24x7"

_NEW_YORK: Final = ZoneInfo("America/New_York")
_FX_ROLL: Final = time(17)
_SATURDAY: Final = 5

Hours = tuple[int, int, int, int]
"""trading_date, session, open_us, close_us: a row without its series."""


class CalendarError(BarstreamError):
    """No calendar of that name, or it does not reach the dates: choose another, or fewer dates."""


def calendar_rows(
    name: str, broker: str, symbols: Sequence[str], first: date, last: date
) -> list[SessionRow]:
    """Rows of every symbol for the trading dates ``first`` to ``last``, both included.

    Args:
        name: a code of ``exchange_calendars`` (``XNYS``, ``XHKG``), ``FX`` or ``24x7``.
        broker: in any spelling; rows carry the normalised one.
        symbols: as for ``broker``.
        first: first trading date.
        last: last trading date.

    Raises:
        CalendarError: unknown name, dates the calendar does not reach, or no trading date.
        ValueError: a broker or symbol without a name.
    """
    if last < first:
        raise CalendarError(
            f"the last date must not be before the first, found {first} to {last}: swap them"
        )
    hours = list(_hours(name, first, last))
    if not hours:
        raise CalendarError(
            f"calendar {name} has no session from {first} to {last}: ask for other dates"
        )
    owner = normalise(broker)
    return [SessionRow(owner, symbol, *row) for symbol in map(normalise, symbols) for row in hours]


def _hours(name: str, first: date, last: date) -> Iterator[Hours]:
    if name.upper() == FX:
        return fx_week(first, last)
    if name.lower() == ALWAYS_OPEN:
        return always_open(first, last)
    return exchange_hours(name, first, last)


def _each_day(first: date, last: date) -> Iterator[date]:
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield date.fromordinal(ordinal)


def fx_week(first: date, last: date) -> Iterator[Hours]:
    """The FX week: Sunday to Friday 17:00 New York, a trading date from 17:00 to 17:00.

    The market has no common holidays; a day on which nothing trades has no ticks.
    """
    for day in _each_day(first, last):
        if day.weekday() >= _SATURDAY:
            continue
        opens = datetime.combine(day - timedelta(days=1), _FX_ROLL, _NEW_YORK)
        closes = datetime.combine(day, _FX_ROLL, _NEW_YORK)
        yield _days(day), 0, us_from_datetime(opens), us_from_datetime(closes)


def always_open(first: date, last: date) -> Iterator[Hours]:
    """Each UTC day is one session."""
    for day in _each_day(first, last):
        days = _days(day)
        yield days, 0, days * DAY_US, (days + 1) * DAY_US


def exchange_hours(name: str, first: date, last: date) -> Iterator[Hours]:
    """Sessions of an exchange; a break makes two, numbered 0 and 1.

    Raises:
        CalendarError: unknown name, or dates the calendar does not reach.
    """
    schedule = _schedule_of(name, first, last)
    columns = (schedule[column] for column in ("open", "break_start", "break_end", "close"))
    for day, opens, break_start, break_end, closes in zip(schedule.index, *columns, strict=True):
        days = _days(day.date())
        # A comparison with not-a-time, which stands where a day has no break, is false.
        if break_start < break_end:
            yield days, 0, _us(opens), _us(break_start)
            yield days, 1, _us(break_end), _us(closes)
        else:
            yield days, 0, _us(opens), _us(closes)


def _schedule_of(name: str, first: date, last: date) -> Any:
    # Brings pandas with it: only who asks for an exchange waits for that.
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    code = _spelling(name, exchange_calendars.get_calendar_names())
    try:
        # A calendar cannot begin or end between two sessions: ask for more, keep what fits.
        calendar = exchange_calendars.get_calendar(
            code, start=first - timedelta(days=14), end=last + timedelta(days=14)
        )
    except InvalidCalendarName as error:
        near = get_close_matches(name.upper(), exchange_calendars.get_calendar_names(), n=3)
        raise CalendarError(
            f"a calendar is required: FX, 24x7 or a code such as XNYS, XLON, XHKG; found {name!r}"
            + (f"; did you mean {', '.join(near)}?" if near else "")
        ) from error
    except ValueError as error:
        raise CalendarError(
            f"calendar {code} does not reach {first} to {last}: {error}; ask for other dates"
        ) from error
    return calendar.schedule.loc[first.isoformat() : last.isoformat()]


def _spelling(name: str, known: Sequence[str]) -> str:
    by_upper = {each.upper(): each for each in known}
    return by_upper.get(name.upper(), name)


def _days(day: date) -> int:
    return days_from_iso_date(day.isoformat())


def _us(stamp: Any) -> int:
    return us_from_datetime(stamp.to_pydatetime())
