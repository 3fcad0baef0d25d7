"""Event times as they stand in files: text, numbers or timestamps, in whatever zone.

Each value is read for itself: a file may hold milliseconds in its first half and microseconds
in its second, or seconds with and without a fraction.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.codecs.ticks.scale import NO_TIME, TimeUnit, times_of_floats, times_of_longs
from barstream.errors import BarstreamError
from barstream.feeds.strptime import python_format
from barstream.model.time import END_OF_TIME_US, MINUTE_US, us_from_iso

EPOCH_UNITS: Final[dict[str, TimeUnit]] = {"s": "s", "ms": "ms", "us": "us", "ns": "ns"}

_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)
_AS_WRITTEN: Final = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%d %H:%M:%S%.f%:z")
"""Tried first, and the second means UTC: most files need no more."""
_ZONE: Final = r"(?:\s?(?:Z|z|UTC|GMT|(?:UTC|GMT)?[+-]\d{2}:?\d{2}))?"
_SPELLED: Final = (
    (r"^(\d{4})[./](\d{1,2})[./](\d{1,2})", "${1}-${2}-${3}"),
    (r"^(\d{1,2})\.(\d{1,2})\.(\d{4})", "${3}-${2}-${1}"),
    # a run of digits: 12 to the minute, 14 to the second, 17, 20 or 23 with the decimals behind
    (r"^((?:19|20)\d{6})(\d{2})(\d{2})$", "${1} ${2}:${3}"),
    (
        rf"^((?:19|20)\d{{6}})(\d{{2}})(\d{{2}})(\d{{2}})((?:\d{{3}}){{0,3}})({_ZONE})$",
        "${1} ${2}:${3}:${4}.${5}${6}",
    ),
    (
        rf"^(\d{{8}})[ _Tt-](\d{{2}})(\d{{2}})(\d{{2}})[ .,]?(\d{{0,9}})({_ZONE})$",
        "${1} ${2}:${3}:${4}.${5}${6}",
    ),
    (r"^(\d{4})(\d{2})(\d{2})[ _Tt-]", "${1}-${2}-${3} "),
    (r"^(\d+-\d+-\d+)[ _Tt]+", "${1} "),
    (r"(:\d{2}),(\d+)", "${1}.${2}"),
    (rf"\.({_ZONE})$", "${1}"),
    (r"\s?(?:Z|z|UTC|GMT)$", "+00:00"),
    (r"\s?(?:UTC|GMT)?([+-]\d{2}):?(\d{2})$", "${1}:${2}"),
    (r"(:\d{2}(?:\.\d+)?)\s?([+-]\d{2})$", "${1}${2}:00"),
)
"""Other ways to write a time, and how they become the first or the last of `_AS_WRITTEN`."""
_TEXT_FORMATS: Final = (
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M%:z",
    "%Y-%m-%d %H:%M",
)
_EPOCH: Final = r"^\d{9,13}(?:\.\d*)?$|^\d{15,16}(?:\.\d*)?$|^\d{18,19}$"
"""Since 1970, the unit by the number of digits; 14 and 17 digits are dates written together."""
_DECIMALS: Final = {"s": 6, "ms": 3, "us": 0, "ns": 0}
_FINER_TEXT: Final = r"[.,]\d{6}0*[1-9]|^\d{8}(?:\d{6}|[ _Tt-]\d{6}) ?\d{6}0*[1-9]"
_NANOS: Final = r"(?:[1-9]\d\d|\d[1-9]\d|\d\d[1-9])"
_FINER: Final = {
    "s": r"\.\d{6}0*[1-9]",
    "ms": r"\.\d{3}0*[1-9]",
    "us": r"\.0*[1-9]",
    "ns": rf"{_NANOS}(?:\.|$)|\.0*[1-9]",
    "auto": (
        rf"{_FINER_TEXT}|^(?:\d{{12,13}}\.\d{{3}}|\d{{15,16}}\.)0*[1-9]|^\d{{15,16}}{_NANOS}$"
    ),
}
"""Text with digits beyond the microsecond that are not 0."""
_SAMPLE: Final = 10_000
_EARLIEST_US: Final = us_from_iso("1990-01-01T00:00:00Z")
"""Before this, a number whose unit only its size tells is no time since 1970: it is a day
(20240102), a time of day (103000123), a date with a year of two digits (240102170000), the day
of a spreadsheet (45293.7)."""
_YEAR: Final = re.compile(r"%[-_0]?[YyGCDFcxsv+]")
_LARGEST_OFFSET_US: Final = 14 * 60 * MINUTE_US


class TimeFormatError(BarstreamError):
    """The event times of a file cannot be understood: name ``--time-format`` or ``--timezone``."""


class Times(NamedTuple):
    """Event times of a column.

    Attributes:
        us: microseconds since the epoch, UTC; null where a value is no time of 1970 or later.
        assumed: whether some value carries no zone, so that one was assumed.
        cut: which values were written finer than a microsecond; null where there is none.
        outside: which values are times, but before 1970 or after 9999.
    """

    us: pl.Series
    assumed: bool
    cut: pl.Series | None = None
    outside: pl.Series | None = None


def parse_times(column: pl.Series, time_format: str | None, timezone: str | None) -> Times:
    """The times of ``column``.

    Args:
        column: text, integers, floats, dates or datetimes, with or without zone.
        time_format: as Python's or polars' ``strptime`` takes it, or ``s``, ``ms``, ``us``,
            ``ns`` for numbers since the epoch; None finds out, value by value.
        timezone: the zone of times that do not carry one: an IANA name, or a fixed offset
            such as ``-05:00``; None is UTC.

    Raises:
        TimeFormatError: the zone is not known, or the format fits no value or names no year.
    """
    if timezone is not None:
        _check_zone(timezone)
    if time_format and time_format not in EPOCH_UNITS and not _YEAR.search(time_format):
        raise TimeFormatError(
            f"--time-format {time_format!r} must name the year (%Y, or %y where it has two "
            "digits); where times are times of day, give the day with --date YYYYMMDD"
        )
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        found = _from_text(column, time_format, timezone)
    elif column.dtype.is_numeric():
        found = _from_integers(column, EPOCH_UNITS.get(time_format or "", "auto"), timezone)
    elif column.dtype in (pl.Datetime, pl.Date):
        zone = getattr(column.dtype, "time_zone", None)
        found = Times(_to_us(column.cast(pl.Datetime("us", zone)), timezone), zone is None)
    elif column.dtype == pl.Null:
        found = Times(column.cast(pl.Int64), False)
    else:
        raise TimeFormatError(
            f"column {column.name!r} must hold text, numbers or timestamps, found {column.dtype}"
        )
    us, cut = found.us, _finer(column, time_format)
    possible = us.is_between(0, END_OF_TIME_US, closed="left").fill_null(value=False)
    if possible.all():
        return found._replace(cut=cut)
    outside = us.is_not_null() & ~possible
    if column.dtype.is_numeric():
        outside |= (column < 0).fill_null(value=False)
    possible_us = pl.select(pl.when(possible).then(us)).to_series()
    return Times(possible_us, found.assumed, cut, outside)


def _finer(column: pl.Series, time_format: str | None) -> pl.Series:
    """Which values are written finer than a microsecond."""
    if column.dtype == pl.String:
        return column.str.contains(_FINER.get(time_format or "auto", _FINER_TEXT))
    if column.dtype == pl.Datetime:
        return column.dt.timestamp("ns") % 1_000 != 0
    if not column.dtype.is_integer() or time_format not in (None, "ns"):
        return pl.repeat(False, len(column), eager=True)
    nanoseconds = column >= 10**17 if time_format is None else column.is_not_null()
    return nanoseconds & (column % 1_000 != 0)


def _from_numbers(column: pl.Series, unit: TimeUnit) -> pl.Series:
    """Microseconds of numbers since the epoch; null where one is none, or spells a date."""
    absent = column.is_null()
    values: NDArray[np.float64] | NDArray[np.int64]
    if column.dtype.is_float():
        values = column.fill_null(np.nan).to_numpy().astype(np.float64)
    else:
        values = column.cast(pl.Int64, strict=False).fill_null(NO_TIME).to_numpy()
    us = _in_unit(values, unit)
    if unit == "auto":
        us = np.where(_spell_dates(values) | (us < _EARLIEST_US), NO_TIME, us)
    else:
        # by its size the time of another unit: seconds where milliseconds were said
        with_its_own = _in_unit(values, "auto")
        us = np.where((us < _EARLIEST_US) & (with_its_own >= _EARLIEST_US), NO_TIME, us)
    times = pl.Series(column.name, us)
    absent |= times == NO_TIME
    return pl.select(pl.when(~absent).then(times)).to_series() if absent.any() else times


def _in_unit(values: NDArray[np.float64] | NDArray[np.int64], unit: TimeUnit) -> NDArray[np.int64]:
    if values.dtype == np.float64:
        return times_of_floats(values.astype(np.float64), unit)
    return times_of_longs(values.astype(np.int64), unit)


def _spell_dates(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.bool_]:
    """Numbers of 14 or 17 digits: 20240102170000 is no time since 1970 before 2286."""
    spelled = (values >= 10**13) & (values < 10**14)
    spelled |= (values >= 10**16) & (values < 10**17)
    return spelled


def _from_integers(column: pl.Series, unit: TimeUnit, timezone: str | None) -> Times:
    us = _from_numbers(column, unit)
    if unit != "auto" or not us.null_count():
        return Times(us, False)
    whole = column
    if column.dtype.is_float():  # what held a null once holds 20240102170000.0
        exact = (column == column.floor()) & (column < 2.0**53)
        whole = pl.select(pl.when(exact).then(column)).to_series().cast(pl.Int64, strict=False)
    spelled, assumed = _from_spelling(whole.cast(pl.String), timezone)
    return Times(us.fill_null(spelled), assumed)


def _from_digits(column: pl.Series, unit: TimeUnit) -> pl.Series:
    """Microseconds of numbers written in text, exactly; null where one is none."""
    whole = column.cast(pl.Int64, strict=False)
    us = _from_numbers(whole, unit)
    fractions = whole.is_null() & column.str.contains(r"^\d{1,19}\.\d*$")
    if not fractions.any():
        return us
    parts = column.filter(fractions)
    seconds = parts.str.extract(r"^(\d+)").cast(pl.Int64, strict=False)
    behind = parts.str.extract(r"\.(\d*)$")
    found = _from_numbers(seconds, unit)
    for name, decimals in _DECIMALS.items():
        of_unit = _unit_of(seconds, name) if unit == "auto" else pl.repeat(
            unit == name, len(seconds), eager=True
        )  # fmt: skip
        if decimals and of_unit.any():
            more = behind.str.pad_end(decimals, "0").str.slice(0, decimals).cast(pl.Int64)
            found = pl.select(pl.when(of_unit).then(found + more).otherwise(found)).to_series()
    return us.scatter(fractions.arg_true(), found) if len(found) else us


def _unit_of(values: pl.Series, unit: str) -> pl.Series:
    lowest = {"s": 0, "ms": 10**11, "us": 10**14, "ns": 10**17}
    above = {"s": 10**11, "ms": 10**14, "us": 10**17, "ns": 2**63 - 1}
    return values.is_between(lowest[unit], above[unit], closed="left").fill_null(value=False)


def _from_text(column: pl.Series, time_format: str | None, timezone: str | None) -> Times:
    if time_format in EPOCH_UNITS:
        return Times(_from_digits(column, EPOCH_UNITS[time_format]), False)
    if time_format is not None:
        return _by_format(column, time_format, timezone)
    present = column.drop_nulls()
    if len(present) and _sample(present).str.contains(_EPOCH).all():
        numbers = _from_digits(column, "auto")
        if numbers.null_count() == column.null_count():
            return Times(numbers, False)
    us, assumed = _in_formats(column, _AS_WRITTEN, timezone)
    if missing := us.null_count() - column.null_count():
        rest = us.is_null() & column.is_not_null()
        others = column.filter(rest)
        more, spelled_naive = _from_spelling(others, timezone)
        digits = others.str.contains(_EPOCH)
        if digits.any():
            more = more.fill_null(
                _from_digits(pl.select(pl.when(digits).then(others)).to_series(), "auto")
            )
        if more.null_count() == len(present) == missing and not _is_known(others, timezone):
            raise TimeFormatError(
                f"the times of column {column.name!r} must be in a form that is known, the first "
                f"is {present[0]!r}: describe it with --time-format, {_example(present[0])}"
            )
        us = us.scatter(rest.arg_true(), more)
        assumed |= spelled_naive
    return Times(us.alias(column.name), assumed)


def _example(text: str) -> str:
    """A format for a time like ``text``."""
    if re.match(r"\d{1,2}/\d{1,2}/\d{4}", text):
        return (
            "'%m/%d/%Y %H:%M:%S' where the month stands first, '%d/%m/%Y %H:%M:%S' where the day "
            "does (with .%f for decimals)"
        )
    return (
        "for example '%d.%m.%Y %H:%M:%S.%f', or '%y-%m-%d %H:%M:%S' where the year has two digits"
    )


def _from_spelling(column: pl.Series, timezone: str | None) -> tuple[pl.Series, bool]:
    """Times spelled in one of the other usual ways."""
    plain = column
    for pattern, instead in _SPELLED:
        plain = plain.str.replace(pattern, instead)
    return _in_formats(plain, _TEXT_FORMATS, timezone)


def _is_known(column: pl.Series, timezone: str | None) -> bool:
    """Whether some time is in a known form, but in no hour of its zone, or no number's unit."""
    if column.str.contains(_EPOCH).any():
        return True
    if timezone is None:
        return False
    plain, _ = _in_formats(column, _AS_WRITTEN, None)
    spelled, _ = _from_spelling(column, None)
    return not plain.fill_null(spelled).is_null().all()


def _sample(column: pl.Series) -> pl.Series:
    """Some values from all over a column."""
    return column.gather_every(-(-len(column) // _SAMPLE)) if len(column) > _SAMPLE else column


def _in_formats(
    column: pl.Series, formats: tuple[str, ...], timezone: str | None
) -> tuple[pl.Series, bool]:
    """Times in any of ``formats``, and whether some were without zone."""
    us = pl.Series(column.name, [None], dtype=pl.Int64).new_from_index(0, len(column))
    assumed = False
    for candidate in formats:
        missing = us.is_null() & column.is_not_null()
        if not missing.any():
            break
        sample = _sample(column.filter(missing))
        zoned = candidate.endswith(("z", "Z"))
        zone = None if zoned else timezone
        if _parsed(sample, candidate, None).null_count() == len(sample):
            continue  # without the zone: all of a sample may be in an hour that is there twice
        first = bool(missing.all())
        texts = column if first else pl.select(pl.when(missing).then(column)).to_series()
        found = _parsed(texts, candidate, zone)
        assumed |= not zoned
        us = found if first else us.fill_null(found)
    return us, assumed


def _by_format(column: pl.Series, time_format: str, timezone: str | None) -> Times:
    try:
        of_python = python_format(time_format)
        if of_python is not None:
            datetimes, zoned = of_python.parse(column), of_python.zoned
        else:
            zoned = bool(re.search(r"%:?[zs+]", time_format))
            datetimes = column.str.to_datetime(time_format, time_unit="us", strict=False)
            if "%s" in time_format:
                timezone = None  # seconds since the epoch are in no zone but UTC
    except (ValueError, pl.exceptions.PolarsError) as error:
        why = f" ({error})" if isinstance(error, ValueError) else ""
        raise TimeFormatError(
            f"--time-format {time_format!r} cannot be used{why}: it takes what Python's strptime "
            "takes, such as '%d.%m.%Y %H:%M:%S.%f', or s, ms, us, ns for numbers since 1970"
        ) from error
    if len(column) and datetimes.null_count() == len(datetimes):
        raise TimeFormatError(
            f"--time-format {time_format!r} fits no value of column {column.name!r}, whose "
            f"first is {column[0]!r}: it takes %Y %m %d %H %M %S, %f for decimals of a second, "
            "%z for +00:00, and what else Python's strptime takes"
        )
    return Times(_to_us(datetimes, timezone), not zoned)


def _parsed(column: pl.Series, time_format: str, timezone: str | None) -> pl.Series:
    return _to_us(column.str.to_datetime(time_format, time_unit="us", strict=False), timezone)


def _to_us(column: pl.Series, timezone: str | None) -> pl.Series:
    """Microseconds of aware datetimes; naive ones are in ``timezone``."""
    if getattr(column.dtype, "time_zone", None) is not None or timezone is None:
        return column.dt.timestamp("us")
    if (offset_us := fixed_offset_us(timezone)) is not None:
        return column.dt.timestamp("us") - offset_us
    # An hour that is there twice, or never, is not guessed: such times become null.
    aware = column.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    return aware.dt.timestamp("us")


def zones_like(name: str) -> str:
    """``; did you mean Europe/Paris?``, to be put behind what was found; empty without any."""
    near = get_close_matches(name, available_timezones(), 3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _check_zone(timezone: str) -> None:
    if fixed_offset_us(timezone) is not None:
        return
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise TimeFormatError(
            f"time zone {timezone!r} is not known: give an IANA name such as Europe/Berlin, or a "
            f"fixed offset such as -05:00{zones_like(timezone)}"
        ) from error


def fixed_offset_us(timezone: str) -> int | None:
    """Microseconds east of UTC of ``-05:00``, ``UTC-5``, ``+0530`` or ``Z``; None for a name."""
    if timezone.upper() in ("Z", "UTC", "GMT"):
        return 0
    found = _OFFSET.fullmatch(timezone.strip())
    if found is None:
        return None
    offset_us = (int(found[2]) * 60 + int(found[3] or 0)) * MINUTE_US
    if int(found[3] or 0) > 59 or offset_us > _LARGEST_OFFSET_US:
        return None
    return -offset_us if found[1] == "-" else offset_us
