"""Rows of the market schedule from calendars: exchanges, CME Globex, the FX week, always open.

``exchange_calendars`` knows the holidays, half days, lunch breaks and clock changes of the
exchanges; a lunch break makes two sessions of a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from functools import cache
from importlib.metadata import version
from typing import Any, Final
from zoneinfo import ZoneInfo

from barstream.errors import BarstreamError
from barstream.market.cme_calendar import FAMILIES, KNOWN_FROM, family_hours
from barstream.market.schedule import SessionRow
from barstream.model.key import FOLDED, NameRule
from barstream.model.time import DAY_US, days_from_iso_date, us_from_datetime

FX: Final = "FX"
ALWAYS_OPEN: Final = "24x7"

EARLIEST: Final = date(1970, 1, 2)
"""A trading date before it may open before 1970, where the time of bars begins."""
LATEST: Final = date(2100, 12, 31)

DAYS_BACK: Final = 400
DAYS_AHEAD: Final = 370

_MARGIN: Final = timedelta(days=14)
#: A range in which every exchange of the library had sessions.
_KNOWN_TO_ALL: Final = date(2024, 1, 1), date(2024, 3, 1)
_AROUND_THE_CLOCK: Final = ("CMES", "us_futures")
_NEW_YORK: Final = ZoneInfo("America/New_York")
_FX_ROLL: Final = time(17)
_SATURDAY: Final = 5

Hours = tuple[int, int, int, int]
"""trading_date, session, open_us, close_us: a row without its series."""


class CalendarError(BarstreamError):
    """No calendar of that name, or it does not reach the dates: choose another, or fewer dates."""


def calendar_rows(
    name: str,
    broker: str,
    symbols: Sequence[str],
    first: date,
    last: date,
    name_rule: NameRule = FOLDED,
) -> list[SessionRow]:
    """Rows of every symbol for the trading dates ``first`` to ``last``, both included.

    Args:
        name: a code of ``exchange_calendars`` (``XNYS``, ``XHKG``), a family of
            `barstream.market.cme_calendar` (``CME_EQUITY``), ``FX`` or ``24x7``; case does not
            matter.
        broker: as given; rows carry it as ``name_rule`` spells it.
        symbols: as for ``broker``.
        first: first trading date.
        last: last trading date.
        name_rule: how names are spelled.

    Raises:
        CalendarError: unknown name, dates the calendar does not reach, or no trading date.
        ValueError: a broker or symbol without a name.
    """
    begin, end = reach_of(name)
    if first < begin or last > end or first > end:
        raise CalendarError(
            f"calendar {name} is known from {begin} to {end}, found {first} to {last}: ask for "
            "dates within, or load the others from a file"
        )
    if last < first:
        raise CalendarError(
            f"the last date must not be before the first, found {first} to {last}: swap them"
        )
    hours = list(_hours(name, first, last))
    if not hours:
        raise CalendarError(
            f"calendar {name} has no session from {first} to {last}: ask for other dates"
        )
    owner, spelled = name_rule.normalise(broker), map(name_rule.normalise, symbols)
    return [SessionRow(owner, symbol, *row) for symbol in spelled for row in hours]


def reach_of(name: str) -> tuple[date, date]:
    """First and last trading date that calendar ``name`` knows.

    Exchanges whose holidays follow rules reach to `LATEST`; where they are announced year by
    year (XSHG, XBOM, XSES), to the last that ``exchange_calendars`` has recorded.

    Raises:
        CalendarError: there is no calendar of that name.
    """
    if name.upper() in FAMILIES:
        return KNOWN_FROM, LATEST
    if name.upper() == FX or name.lower() == ALWAYS_OPEN:
        return EARLIEST, LATEST
    begin, end = _bounds(_code_of(name))
    return max(begin or EARLIEST, EARLIEST), min(end or LATEST, LATEST)


def dates_within(
    name: str, today: date, first: date | None = None, last: date | None = None
) -> tuple[date, date, list[str]]:
    """The trading dates to load, and what to say of them.

    Args:
        name: of a calendar.
        today: what the default counts from.
        first: asked for; by default `DAYS_BACK` days ago, as far as the calendar reaches.
        last: asked for; by default in `DAYS_AHEAD` days, as far as the calendar reaches.

    Raises:
        CalendarError: there is no calendar of that name.
    """
    begin, end = reach_of(name)
    notes = []
    if first is None:
        first = today - timedelta(days=DAYS_BACK)
        if first < begin:
            notes.append(f"calendar {name} is known from {begin}: nothing is loaded before it")
            first = begin
    if last is None:
        last = today + timedelta(days=DAYS_AHEAD)
        if last > end:
            notes.append(
                f"calendar {name} is known until {end}: nothing is loaded after it; upgrade "
                "exchange_calendars and load again before that day"
            )
            last = end
    return first, last, notes


def warning_of(name: str) -> str | None:
    """What the user of calendar ``name`` should know before its sessions are loaded."""
    if name.upper() in FAMILIES or _code_of(name) not in _AROUND_THE_CLOCK:
        return None
    families = ", ".join(f"{each.name} for {each.products}" for each in FAMILIES.values())
    return (
        f"calendar {name} has no daily maintenance hour, so its 60 minutes become synthetic bars "
        f"every day; calendars that have it: {families}"
    )


def _hours(name: str, first: date, last: date) -> Iterator[Hours]:
    if (family := FAMILIES.get(name.upper())) is not None:
        return family_hours(family, first, last)
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
    code = _code_of(name)
    begin, end = _bounds(code)
    # A calendar of a single day, or one without a session, cannot be made: ask for more, as far
    # as it reaches, and keep what fits.
    calendar = _calendar(
        code,
        max(first - _MARGIN, begin or date.min),
        min(last + _MARGIN, end or date.max),
    )
    return calendar.schedule.loc[first.isoformat() : last.isoformat()]


@cache
def _bounds(code: str) -> tuple[date | None, date | None]:
    calendar = _calendar(code, *_KNOWN_TO_ALL)
    begin, end = calendar.bound_min(), calendar.bound_max()
    return None if begin is None else begin.date(), None if end is None else end.date()


def _calendar(code: str, start: date, end: date) -> Any:
    # Brings pandas with it: only who asks for an exchange waits for that.
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(code, start=start, end=end)
    except Exception as error:
        # What it raises is not to be known: with a pandas it does not fit, calendars failed with
        # NotImplementedError and others from deep within.
        raise CalendarError(
            f"calendar {code} cannot be worked out from {start} to {end}: exchange_calendars "
            f"{version('exchange_calendars')} failed on pandas {version('pandas')} "
            f"({type(error).__name__}); pip install the versions that barstream asks for, or load "
            "the sessions from a file"
        ) from error


def _code_of(name: str) -> str:
    """The name of a calendar of the library, whatever alias and case it was given in."""
    if name.upper() == FX or name.lower() == ALWAYS_OPEN:
        return name
    import exchange_calendars

    known = {each.upper(): each for each in exchange_calendars.get_calendar_names()}
    if (found := known.get(name.upper())) is not None:
        return str(exchange_calendars.resolve_alias(found))
    near = get_close_matches(name.upper(), [FX, ALWAYS_OPEN, *FAMILIES, *known], n=3)
    raise CalendarError(
        "the calendar must be FX, 24x7, CME_EQUITY or a code such as XNYS, XLON or XHKG, found "
        f"{name!r}" + (f"; did you mean {', '.join(near)}?" if near else "")
    )


def _days(day: date) -> int:
    return days_from_iso_date(day.isoformat())


def _us(stamp: Any) -> int:
    return us_from_datetime(stamp.to_pydatetime())
