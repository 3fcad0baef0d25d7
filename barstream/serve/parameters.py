"""Checking what a request asks for, before anything is read.

Every refusal names the parameter, what is required and what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from barstream.model.bar_request import (
    EARLIEST_US,
    LATEST_US,
    MAX_PAGE,
    BarRequest,
    after_key,
)
from barstream.model.key import FOLDED, NameRule
from barstream.model.period import Period
from barstream.model.time import DAY_US, us_from_iso

DEFAULT_LIMIT: Final = 500
#: Of lists: open bars, series.
DEFAULT_ROWS: Final = 1_000

_A_TIME: Final = (
    "an ISO 8601 date or time such as 2013-01-01 or 2013-01-01T22:00:00Z, UTC unless it has an "
    "offset (a + in a URL is written %2B)"
)
#: ``+`` of an offset arrives as a space when it was not escaped; nothing else ends like this.
_UNESCAPED_OFFSET: Final = re.compile(r"(\d\d:\d\d[\d:.,]*) (\d\d(?::?\d\d)?)$")

#: No value that is understood is longer: a time with its offset, a timeframe, a word; parsing a
#: longer one may hold the event loop.
_LONGEST: Final = 64
#: ... but a mark, which holds two names: four bytes a character, as base64.
_LONGEST_MARK: Final = 2_400
#: Of what was found, in an error.
_SHOWN: Final = 100

Pairs = Iterable[tuple[str, str]]
_Name = TypeVar("_Name", str, str | None)


class BadParameterError(ValueError):
    """A request cannot be answered as written; change ``parameter`` to what is ``required``."""

    def __init__(self, parameter: str, required: str, found: str) -> None:
        super().__init__(f"{parameter} must be {required}, found {found}")
        self.parameter = parameter
        self.required = required
        self.found = found


@dataclass(frozen=True, slots=True)
class RequestedRange:
    """Sessions of one series in [from_us, to_us), at most ``limit`` of them."""

    broker: str
    symbol: str
    from_us: int
    to_us: int
    limit: int


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """Rows of the list of series, at most ``limit`` of them, past the series ``after``."""

    limit: int
    after: tuple[str, str] | None


def series_names(broker: str, symbol: str, name_rule: NameRule = FOLDED) -> tuple[str, str]:
    """The normalised names of a series.

    Raises:
        BadParameterError: a name is empty or contains NUL.
    """
    return _name("broker", broker, name_rule), _name("symbol", symbol, name_rule)


def bars_request(
    broker: str | None,
    symbol: str | None,
    query: Pairs,
    periods: Sequence[Period],
    name_rule: NameRule = FOLDED,
) -> tuple[BarRequest, bool]:
    """What ``GET /bars`` asks for, and whether an answer may be of some partitions only.

    Args:
        broker: None: of all brokers.
        symbol: None: of all symbols.
        query: as it came; ``partial`` is known where there is no symbol.
        periods: of the bars there are.
        name_rule: how names are spelled.

    Raises:
        BadParameterError: a parameter is unknown, given twice, malformed or out of range.
    """
    known = ("timeframe", "from", "to", "limit", "order", "after")
    given = _once(query, known if symbol is not None else (*known, "partial"))
    order = _choice(given, "order", ("asc", "desc"))
    partial = _choice(given, "partial", ("refuse", "allow"))
    from_us, to_us = _interval(given, EARLIEST_US, LATEST_US)
    names = _name("broker", broker, name_rule), _name("symbol", symbol, name_rule)
    request = BarRequest(
        _period(given, periods), *names, from_us, to_us, _limit(given), order == "desc",
        _after(given, *names),
    )  # fmt: skip
    return request, partial == "allow"


def live_request(
    broker: str | None,
    symbol: str | None,
    query: Pairs,
    periods: Sequence[Period],
    name_rule: NameRule = FOLDED,
) -> tuple[BarRequest, bool]:
    """What ``GET /live`` asks for, as `bars_request`.

    Raises:
        BadParameterError: a parameter is unknown, given twice, malformed or out of range.
    """
    of_many = ("timeframe", "limit", "after", "partial")
    given = _once(query, ("timeframe",) if symbol is not None else of_many)
    partial = _choice(given, "partial", ("refuse", "allow"))
    names = _name("broker", broker, name_rule), _name("symbol", symbol, name_rule)
    limit = _limit(given, DEFAULT_ROWS)
    request = BarRequest(_period(given, periods), *names, limit=limit, after=_after(given, *names))
    return request, partial == "allow"


def series_request(query: Pairs) -> tuple[SeriesRequest, bool]:
    """What ``GET /series`` asks for, and whether it may do without what missing workers know.

    Raises:
        BadParameterError: a parameter is unknown, given twice, malformed or out of range.
    """
    given = _once(query, ("limit", "after", "partial"))
    partial = _choice(given, "partial", ("refuse", "allow"))
    after = _after(given, None, None)
    place = None if after is None else after_key(after)[:2]
    return SeriesRequest(_limit(given, DEFAULT_ROWS), place), partial == "allow"


def schedule_span(
    broker: str, symbol: str, query: Pairs, now_us: int, name_rule: NameRule = FOLDED
) -> RequestedRange:
    """What ``GET /schedule`` asks for: by default from yesterday, or eight days from ``from``.

    Raises:
        BadParameterError: a parameter is unknown, given twice, malformed or out of range.
    """
    given = _once(query, ("from", "to", "limit"))
    names = series_names(broker, symbol, name_rule)
    from_us = _time(given, "from", max(EARLIEST_US, now_us - now_us % DAY_US - DAY_US))
    from_us, to_us = _interval(given, from_us, min(from_us + 8 * DAY_US, LATEST_US))
    return RequestedRange(*names, from_us, to_us, _limit(given))


def no_parameters(query: Pairs) -> None:
    """Refuse any parameter, so that a mistaken one is not passed over in silence.

    Raises:
        BadParameterError: there is a parameter.
    """
    _once(query, ())


def _period(given: dict[str, str], periods: Sequence[Period]) -> Period:
    text = given.get("timeframe", "1m")
    for period in periods:
        if period.timeframe == text:
            return period
    # which there could be is a matter of the settings: whoever reads bars is told which there are
    known = (
        f"one of {', '.join(period.timeframe for period in periods)} (bars.timeframes adds others)"
    )
    try:
        # the + of an offset arrives as a space when it was not escaped
        asked = Period.parse(text.strip().replace(" ", "+"))
    except ValueError:
        raise BadParameterError("timeframe", known, _shown(text)) from None
    # the grid is the pipeline's: no two periods of it have the same count and unit
    plain = asked.offset is None and asked.anchor == "utc"
    for period in periods:
        if period == asked or (plain and period.timeframe == asked.timeframe):
            return period
    raise BadParameterError("timeframe", known, _shown(text))


def _after(given: dict[str, str], broker: str | None, symbol: str | None) -> str | None:
    text = given.get("after")
    if text is None:
        return None
    try:
        place = after_key(text)
    except ValueError:
        raise BadParameterError("after", "next_after of an answer", _shown(text)) from None
    if (broker or place[0], symbol or place[1]) != place[:2]:
        raise BadParameterError("after", "next_after of the same request", _shown(text))
    return text


def _choice(given: dict[str, str], parameter: str, choices: tuple[str, str]) -> str:
    """One of two words; the first one unless the other is given."""
    text = given.get(parameter, choices[0])
    if text not in choices:
        raise BadParameterError(parameter, " or ".join(choices), _shown(text))
    return text


def _once(query: Pairs, known: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        if name not in known:
            required = f"one of {', '.join(known)}" if known else "left out, there are none here"
            raise BadParameterError(name[:_SHOWN], required, "an unknown parameter")
        longest = _LONGEST_MARK if name == "after" else _LONGEST
        if len(value) > longest:
            required = f"at most {longest:,} characters"
            raise BadParameterError(name, required, f"{len(value):,} of them")
        if name in given:
            raise BadParameterError(name, "one value", f"{_shown(given[name])} and {_shown(value)}")
        given[name] = value
    return {name: value for name, value in given.items() if value}


def _shown(text: str) -> str:
    """As Python writes it, cut where it is long."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."


def _name(parameter: str, text: _Name, name_rule: NameRule) -> _Name:
    """Normalised; None stays None."""
    if text is None:
        return None
    try:
        return name_rule.normalise(text)
    except ValueError as error:
        found = f"{_shown(text)} ({str(error)[: 2 * _SHOWN]})"
        raise BadParameterError(parameter, "a name that a series can have", found) from None


def _time(given: dict[str, str], parameter: str, default_us: int) -> int:
    text = given.get(parameter)
    if text is None:
        return default_us
    try:
        time_us = us_from_iso(_UNESCAPED_OFFSET.sub(r"\1+\2", text))
    except (ValueError, OverflowError):
        raise BadParameterError(parameter, _A_TIME, _shown(text)) from None
    if not EARLIEST_US <= time_us <= LATEST_US:
        raise BadParameterError(parameter, "a time in the years 1000 to 9999, UTC", _shown(text))
    return time_us


def _interval(given: dict[str, str], from_us: int, to_us: int) -> tuple[int, int]:
    from_us = _time(given, "from", from_us)
    to_us = _time(given, "to", to_us)
    if from_us >= to_us:
        found = f"from={given.get('from', 'its default')} to={given.get('to', 'its default')}"
        raise BadParameterError("from", "a time before to, which is exclusive", found)
    return from_us, to_us


def _limit(given: dict[str, str], default: int = DEFAULT_LIMIT) -> int:
    text = given.get("limit", str(default))
    # isdecimal alone would let other scripts' digits through
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise BadParameterError("limit", f"a whole number 1 to {MAX_PAGE}", _shown(text))
    if not 1 <= int(text) <= MAX_PAGE:
        raise BadParameterError("limit", f"a whole number 1 to {MAX_PAGE}", text)
    return int(text)
