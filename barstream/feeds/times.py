"""Event times as they stand in files: text, numbers or timestamps, in whatever zone."""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from barstream.core.time import MINUTE_US
from barstream.errors import BarstreamError

EPOCH_UNITS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}
"""Microseconds of one unit; 0: a unit below one."""

_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)
_TEXT_FORMATS: Final = (
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y%m%d %H%M%S%3f",
    "%Y%m%d %H%M%S",
    "%Y%m%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
)
"""Tried in this order; a ``T`` counts as a space and a final ``Z`` as ``+00:00``."""


class TimeFormatError(BarstreamError):
    """The event times of a file cannot be understood: name ``--time-format`` or ``--timezone``."""


def parse_times(column: pl.Series, time_format: str | None, timezone: str | None) -> pl.Series:
    """Microseconds since the epoch, UTC; null where a value is no time.

    Args:
        column: text, integers, floats, dates or datetimes, with or without zone.
        time_format: a ``strptime`` format, or ``s``, ``ms``, ``us``, ``ns`` for numbers since
            the epoch; None finds out.
        timezone: the zone of times that do not carry one: an IANA name, or a fixed offset
            such as ``-05:00``; None is UTC.

    Raises:
        TimeFormatError: the zone is not known, or the format fits no value.
    """
    if time_format in EPOCH_UNITS or (time_format is None and column.dtype.is_numeric()):
        return _from_numbers(column, time_format)
    if column.dtype == pl.String:
        stripped = column.str.strip_chars()
        if time_format is None and stripped.drop_nulls().str.contains(r"^\d{9,19}$").all():
            return _from_numbers(stripped.cast(pl.Int64, strict=False), None)
        return _from_text(stripped, time_format, timezone)
    if column.dtype in (pl.Datetime, pl.Date):
        return _to_us(
            column.cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None))), timezone
        )
    raise TimeFormatError(
        f"column {column.name!r} must hold text, numbers or timestamps, found {column.dtype}"
    )


def _from_numbers(column: pl.Series, unit: str | None) -> pl.Series:
    if column.dtype == pl.String:
        column = column.cast(pl.Int64, strict=False)
    if unit is None:
        newest = column.drop_nulls().abs().max()
        size = float(newest) if isinstance(newest, int | float) else 0.0
        # The same instant today has 10, 13, 16 or 19 digits.
        unit = "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"
    if column.dtype.is_float():
        factor = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[unit]
        return (column * factor).round().cast(pl.Int64, strict=False)
    whole = column.cast(pl.Int64, strict=False)
    return whole // 1_000 if unit == "ns" else whole * EPOCH_UNITS[unit]


def _from_text(column: pl.Series, time_format: str | None, timezone: str | None) -> pl.Series:
    if time_format is not None:
        found = _parsed(column, time_format, timezone)
        if found.null_count() == len(found) and len(found):
            raise TimeFormatError(
                f"--time-format {time_format!r} fits no value of column {column.name!r}, whose "
                f"first is {column[0]!r}: it takes %Y %m %d %H %M %S, %3f for bare milliseconds, "
                "%.f for a point and decimals, %:z for +00:00"
            )
        return found
    plain = column.str.replace(r"^(\d{4}-?\d{2}-?\d{2})[Tt_]", "${1} ").str.replace(
        r"\s?(?:Z|z|UTC)$", "+00:00"
    )
    times = pl.Series(column.name, [None] * len(column), dtype=pl.Int64)
    for candidate in _TEXT_FORMATS:
        if not (missing := times.is_null()).any():
            break
        sample = plain.filter(missing).head(100)
        if _parsed(sample, candidate, timezone).null_count() < len(sample):
            found = _parsed(
                pl.select(pl.when(missing).then(plain)).to_series(), candidate, timezone
            )
            times = times.fill_null(found)
    if len(times) and times.null_count() == len(times):
        raise TimeFormatError(
            f"the times of column {column.name!r} are in no known format, the first is "
            f"{column[0]!r}: describe it with --time-format, for example '%d.%m.%Y %H:%M:%S%.f'"
        )
    return times


def _parsed(column: pl.Series, time_format: str, timezone: str | None) -> pl.Series:
    try:
        found = column.str.to_datetime(time_format, time_unit="us", strict=False)
    except pl.exceptions.PolarsError as error:
        raise TimeFormatError(f"--time-format {time_format!r} cannot be used: {error}") from error
    return _to_us(found, timezone)


def _to_us(column: pl.Series, timezone: str | None) -> pl.Series:
    """Microseconds of aware datetimes; naive ones are in ``timezone``."""
    if getattr(column.dtype, "time_zone", None) is not None or timezone is None:
        return column.dt.timestamp("us")
    if (offset_us := fixed_offset_us(timezone)) is not None:
        return column.dt.timestamp("us") - offset_us
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise TimeFormatError(
            f"time zone {timezone!r} is not known: give an IANA name such as Europe/Berlin, or a "
            "fixed offset such as -05:00"
        ) from error
    # An hour that is there twice, or never, is not guessed: such times become null.
    aware = column.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    return aware.dt.timestamp("us")


def fixed_offset_us(timezone: str) -> int | None:
    """Microseconds east of UTC of ``-05:00``, ``UTC-5``, ``+0530`` or ``Z``; None for a name."""
    if timezone.upper() in ("Z", "UTC", "GMT"):
        return 0
    found = _OFFSET.fullmatch(timezone.strip())
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    return (-minutes if found[1] == "-" else minutes) * MINUTE_US
