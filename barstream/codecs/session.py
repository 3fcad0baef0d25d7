"""Rows of the market schedule as Kafka carries them.

The key is ``BROKER NUL SYMBOL NUL 2024-01-02 NUL 0``: it always has the session number, so
that no session overwrites another in a compacted topic.  The value is a plain Avro body of
``schemas/session.avsc``; JSON objects of other producers are understood as well.
"""

from __future__ import annotations

import sys
from datetime import date, datetime
from typing import Any, Final

import orjson

from barstream.codecs import avro
from barstream.core.keys import normalise, series_key
from barstream.core.sessions import SessionRow
from barstream.core.time import (
    DAY_US,
    END_OF_TIME_US,
    days_from_iso_date,
    iso_date_from_days,
    iso_from_us,
    iso_micros_from_us,
    us_from_datetime,
    us_from_iso,
)

_FIELDS: Final = ("broker", "symbol", "trading_date", "session", "open", "close")
_MAGIC: Final = b"\0"
_HEADER_BYTES: Final = 5
_EARLIEST_MICROS: Final = 100_000_000_000_000
"""1973 in microseconds, and the year 5138 in milliseconds: tells one from the other."""
#: A series falls asleep by trading dates: one that lasts for ages would be filled for ages.
LONGEST_SESSION_US: Final = 31 * DAY_US
_END_OF_TIME_DAYS: Final = 2_932_897


def session_key(row: SessionRow) -> bytes:
    """The key of ``row`` in topic ``market_schedule``."""
    day = iso_date_from_days(row.trading_date)
    return series_key(row.broker, row.symbol) + f"\0{day}\0{row.session}".encode()


def split_session_key(key: bytes) -> tuple[str, str, int, int]:
    """Broker, symbol (normalised), trading date in days and session number of a key.

    Raises:
        ValueError: the key does not have these four parts.
    """
    parts = key.decode().split("\0")
    if len(parts) != 4:
        raise ValueError(
            f"a key BROKER NUL SYMBOL NUL trading_date NUL session is required, found {key!r}"
        )
    broker, symbol, day, session = parts
    return normalise(broker), normalise(symbol), days_from_iso_date(day), int(session)


def encode_session(row: SessionRow) -> bytes:
    """The Avro body of ``row``."""
    record = {
        "broker": row.broker,
        "symbol": row.symbol,
        "trading_date": row.trading_date,
        "session": row.session,
        "open": row.open_us,
        "close": row.close_us,
    }
    return avro.encode("session", record)


def decode_session(value: bytes) -> SessionRow:
    """The row in ``value``: an Avro body, plain or behind a registry's header, or JSON.

    Raises:
        ValueError: the value is neither, lacks a field, or its close is not after its open.
    """
    # No Avro body of ours begins with "{": its first byte would be a negative text length.
    if value[:1] == b"{":
        return row_from_fields(_from_json(value))
    body = value[_HEADER_BYTES:] if value[:1] == _MAGIC else value
    try:
        fields = avro.decode("session", body)
    except ValueError as error:
        raise ValueError(f"neither JSON nor Avro: {error}") from error
    return row_from_fields(fields)


def row_from_fields(fields: dict[str, Any]) -> SessionRow:
    """A checked, normalised row.

    Args:
        fields: ``broker``, ``symbol``; ``trading_date`` as days, date or ISO text;
            ``session``; ``open`` and ``close`` as microseconds, datetime or ISO text, UTC
            when naive.

    Raises:
        ValueError: what is wrong with which field.
    """
    missing = [name for name in _FIELDS if fields.get(name) is None]
    if missing:
        raise ValueError(f"fields {', '.join(_FIELDS)} are required, missing: {', '.join(missing)}")
    open_us, close_us = _time_us("open", fields["open"]), _time_us("close", fields["close"])
    if close_us <= open_us:
        raise ValueError(
            f"close must be after open, found open {iso_micros_from_us(open_us)} and close "
            f"{iso_micros_from_us(close_us)}"
        )
    if close_us - open_us > LONGEST_SESSION_US:
        raise ValueError(
            f"a session must last {LONGEST_SESSION_US // DAY_US} days at most, found open "
            f"{iso_micros_from_us(open_us)} and close {iso_micros_from_us(close_us)}: a market "
            "that never closes has a session for each day"
        )
    return SessionRow(
        # Thousands of rows share a name: one text serves them all.
        broker=sys.intern(normalise(str(fields["broker"]))),
        symbol=sys.intern(normalise(str(fields["symbol"]))),
        trading_date=_days(fields["trading_date"]),
        session=_number(fields["session"]),
        open_us=open_us,
        close_us=close_us,
    )


def session_to_json(row: SessionRow) -> dict[str, Any]:
    """The row with the field names of the schema, times in ISO 8601 ending in Z."""
    return {
        "broker": row.broker,
        "symbol": row.symbol,
        "trading_date": iso_date_from_days(row.trading_date),
        "session": row.session,
        "open": iso_time(row.open_us),
        "close": iso_time(row.close_us),
    }


def iso_time(ts_us: int) -> str:
    """ISO 8601 in whole seconds, with microseconds only where there are some."""
    return iso_micros_from_us(ts_us) if ts_us % 1_000_000 else iso_from_us(ts_us)


def _from_json(value: bytes) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not a JSON object: {error}") from error
    for name in ("open", "close"):
        number = fields.get(name)
        if isinstance(number, int) and abs(number) < _EARLIEST_MICROS:
            raise ValueError(
                f"{name} as a number is microseconds since 1970, found {number}, which looks like "
                "milliseconds or seconds: write microseconds or ISO 8601 text"
            )
    return fields


def _time_us(name: str, value: object) -> int:
    if isinstance(value, datetime):
        us = us_from_datetime(value)
    elif isinstance(value, str):
        us = us_from_iso(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        us = value
    else:
        raise ValueError(f"{name} must be a time, found {value!r}")  # noqa: TRY004 - one kind
    # 9999-12-31T23:59-12:00 is a text of the last year, and no time that a bar could have
    if not 0 <= us < END_OF_TIME_US:
        raise ValueError(f"{name} must lie between 1970 and 9999, found {us} us")
    return us


def _days(value: object) -> int:
    if isinstance(value, datetime):
        return days_from_iso_date(value.date().isoformat())
    if isinstance(value, date):
        return days_from_iso_date(value.isoformat())
    if isinstance(value, str):
        return days_from_iso_date(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME_DAYS:
        return value
    raise ValueError(f"trading_date must be a date such as 2024-01-02, found {value!r}")


def _number(value: object) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    raise ValueError(f"session must be a whole number, 0 or more, found {value!r}")
