"""Checking what a request asks for, before anything is read.

Every refusal names the parameter, what is required and what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from barstream.core.keys import normalise
from barstream.core.time import DAY_US, floor_minute, us_from_iso

DEFAULT_LIMIT: Final = 500
MAX_LIMIT: Final = 10_000
#: Times that have a fixed-width key and can be floored: the years 1000 to 9999.
EARLIEST_US: Final = us_from_iso("1000-01-01T00:00:00Z")
LATEST_US: Final = us_from_iso("9999-12-31T23:59:00Z")

_A_TIME: Final = (
    "an ISO 8601 time such as 2013-01-01T22:00:00Z, UTC unless it has an offset "
    "(a + in a URL is written %2B)"
)
#: ``+`` of an offset arrives as a space when it was not escaped; nothing else ends like this.
_UNESCAPED_OFFSET: Final = re.compile(r"(\d\d:\d\d[\d:.,]*) (\d\d(?::?\d\d)?)$")

Pairs = Iterable[tuple[str, str]]


class BadParameterError(ValueError):
    """A request cannot be answered as written; change ``parameter`` to what is ``required``."""

    def __init__(self, parameter: str, required: str, found: str) -> None:
        super().__init__(f"{parameter}: required is {required}, found {found}")
        self.parameter = parameter
        self.required = required
        self.found = found


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets or sessions of one series in [from_us, to_us), at most ``limit`` of them."""

    broker: str
    symbol: str
    from_us: int
    to_us: int
    limit: int
    descending: bool


def series_names(broker: str, symbol: str) -> tuple[str, str]:
    """The normalised names of a series.

    Raises:
        BadParameterError: a name is empty or contains NUL.
    """
    return _name("broker", broker), _name("symbol", symbol)


def bars_span(broker: str, symbol: str, query: Pairs) -> Span:
    """What ``GET /bars`` asks for.  ``from`` is floored to its minute, ``to`` is exclusive.

    Raises:
        BadParameterError: a parameter is unknown, given twice, malformed or out of range.
    """
    given = _once(query, ("timeframe", "from", "to", "limit", "order"))
    timeframe = given.get("timeframe", "1m")
    if timeframe != "1m":
        raise BadParameterError(
            "timeframe", "1m (5m, 15m, 1h and others come with roll-ups)", repr(timeframe)
        )
    order = given.get("order", "asc")
    if order not in ("asc", "desc"):
        raise BadParameterError("order", "asc or desc", repr(order))
    names = series_names(broker, symbol)
    from_us, to_us = _interval(given, EARLIEST_US, LATEST_US)
    return Span(*names, floor_minute(from_us), to_us, _limit(given), descending=order == "desc")


def schedule_span(broker: str, symbol: str, query: Pairs, now_us: int) -> Span:
    """What ``GET /schedule`` asks for: by default from yesterday, or eight days from ``from``.

    Raises:
        BadParameterError: a parameter is unknown, given twice, malformed or out of range.
    """
    given = _once(query, ("from", "to", "limit"))
    names = series_names(broker, symbol)
    from_us = _time(given, "from", now_us - now_us % DAY_US - DAY_US)
    from_us, to_us = _interval(given, from_us, min(from_us + 8 * DAY_US, LATEST_US))
    return Span(*names, from_us, to_us, _limit(given), descending=False)


def no_parameters(query: Pairs) -> None:
    """Refuse any parameter, so that a mistaken one is not passed over in silence.

    Raises:
        BadParameterError: there is a parameter.
    """
    _once(query, ())


def _once(query: Pairs, known: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        if name not in known:
            required = f"one of {', '.join(known)}" if known else "no parameter here"
            raise BadParameterError(name, required, "an unknown parameter")
        if name in given:
            raise BadParameterError(name, "one value", f"{given[name]!r} and {value!r}")
        given[name] = value
    return {name: value for name, value in given.items() if value}


def _name(parameter: str, text: str) -> str:
    try:
        return normalise(text)
    except ValueError as error:
        raise BadParameterError(parameter, str(error), repr(text)) from None


def _time(given: dict[str, str], parameter: str, default_us: int) -> int:
    text = given.get(parameter)
    if text is None:
        return default_us
    try:
        time_us = us_from_iso(_UNESCAPED_OFFSET.sub(r"\1+\2", text))
    except (ValueError, OverflowError):
        raise BadParameterError(parameter, _A_TIME, repr(text)) from None
    if not EARLIEST_US <= time_us <= LATEST_US:
        raise BadParameterError(parameter, "a time in the years 1000 to 9999, UTC", repr(text))
    return time_us


def _interval(given: dict[str, str], from_us: int, to_us: int) -> tuple[int, int]:
    from_us = _time(given, "from", from_us)
    to_us = _time(given, "to", to_us)
    if from_us >= to_us:
        found = f"from={given.get('from', 'its default')} to={given.get('to', 'its default')}"
        raise BadParameterError("from", "a time before to, which is exclusive", found)
    return from_us, to_us


def _limit(given: dict[str, str]) -> int:
    text = given.get("limit", str(DEFAULT_LIMIT))
    # isdecimal alone would let other scripts' digits through
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise BadParameterError("limit", f"a whole number 1 to {MAX_LIMIT}", repr(text))
    if not 1 <= int(text) <= MAX_LIMIT:
        raise BadParameterError("limit", f"a whole number 1 to {MAX_LIMIT}", text)
    return int(text)
