"""Rows of the market schedule as Kafka carries them.

The key is ``BROKER NUL SYMBOL NUL 2024-01-02 NUL 0``: it always has the session number, so
that no session overwrites another in a compacted topic.  The value is a plain Avro body of
``schemas/session.avsc``.  Of other producers JSON objects are understood as well, and Avro behind
a registry's header, by the schema it names.  A plain body says nothing of the schema it was written
with, so it has to agree with its key: another order of fields would swap broker and symbol.

A row without close tolerance is written as before there was one: its body ends with ``close``.
"""

from __future__ import annotations

import math
import sys
from datetime import date, datetime
from typing import Any, Final

import orjson

from barstream.codecs.avro import body
from barstream.codecs.topics.session_schemas import (
    REQUIRED,
    TOLERANCE,
    SessionSchemas,
    is_framed,
    micros,
)
from barstream.market.session import LONGEST_TOLERANCE_US, SessionRow
from barstream.model.key import FOLDED, NameRule, series_key
from barstream.model.time import (
    DAY_US,
    END_OF_TIME_US,
    SECOND_US,
    days_from_iso_date,
    iso_date_from_days,
    iso_from_us,
    iso_micros_from_us,
    us_from_datetime,
    us_from_iso,
)

Identity = tuple[str, str, int, int]
"""Broker, symbol (normalised), trading date in days and session number."""

NO_REGISTRY: Final = SessionSchemas()
#: A series falls asleep by trading dates: one that lasts for ages would be filled for ages.
LONGEST_SESSION_US: Final = 31 * DAY_US
#: Trading dates lie close to their sessions: what does not is in another unit than it says.
_FARTHEST_DATE_US: Final = 31 * DAY_US
_END_OF_TIME_DAYS: Final = 2_932_897
#: No tolerance, as the last field of a body; left out, that is what an earlier release wrote.
_NO_TOLERANCE: Final = bytes(8)


def session_key(row: SessionRow) -> bytes:
    """The key of ``row`` in topic ``market_schedule``."""
    day = iso_date_from_days(row.trading_date)
    return series_key(row.broker, row.symbol) + f"\0{day}\0{row.session}".encode()


def split_session_key(key: bytes, name_rule: NameRule = FOLDED) -> Identity:
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
    return *name_rule.series(broker, symbol), days_from_iso_date(day), int(session)


def identity_of(row: SessionRow) -> Identity:
    """What makes ``row`` the row of its session."""
    return row.broker, row.symbol, row.trading_date, row.session


def encode_session(row: SessionRow) -> bytes:
    """The Avro body of ``row``."""
    record = {
        "broker": row.broker,
        "symbol": row.symbol,
        "trading_date": row.trading_date,
        "session": row.session,
        "open": row.open_us,
        "close": row.close_us,
        TOLERANCE: row.close_tolerance_us / SECOND_US,
    }
    return body.encode("session", record).removesuffix(_NO_TOLERANCE)


def read_session(
    key: bytes | None, value: bytes | None, schemas: SessionSchemas = NO_REGISTRY
) -> tuple[Identity, SessionRow | None]:
    """The session a record is about, and its row; None where a tombstone withdraws it.

    Args:
        key: of the record.
        value: of the record.
        schemas: knows the schemas that values name, and how names are spelled.

    Raises:
        ValueError: the record is no row, or a tombstone of a key that is none.
    """
    if value is None:
        return split_session_key(key or b"", schemas.name_rule), None
    row = decode_session(value, schemas)
    if not value.startswith(b"{") and not is_framed(value):
        _check_key(key or b"", row, schemas.name_rule)
    return identity_of(row), row


def decode_session(value: bytes, schemas: SessionSchemas = NO_REGISTRY) -> SessionRow:
    """The row in ``value``: a plain Avro body of ours, one behind a registry's header, or JSON.

    Raises:
        ValueError: the value is none of these, lacks a field, or its close is not after its open.
    """
    # No Avro body of ours begins with "{": its first byte would be a negative text length.
    if value[:1] == b"{":
        return row_from_fields(_from_json(value), schemas.name_rule)
    if is_framed(value):
        return row_from_fields(schemas.fields(value), schemas.name_rule)
    try:
        fields = _plain(value)
    except ValueError as error:
        raise ValueError(
            f"the {len(value)} bytes are neither a JSON object, nor Avro with the header of a "
            "schema registry, nor a plain Avro body of session.avsc"
        ) from error
    return row_from_fields(fields, schemas.name_rule)


def _plain(value: bytes) -> dict[str, Any]:
    try:
        return body.decode("session", value + _NO_TOLERANCE)
    except ValueError:
        return body.decode("session", value)


def _check_key(key: bytes, row: SessionRow, name_rule: NameRule) -> None:
    try:
        named = split_session_key(key, name_rule)
    except ValueError:
        named = None
    if named != identity_of(row):
        raise ValueError(
            "a plain Avro body must be of session.avsc and stand under the key BROKER NUL SYMBOL "
            f"NUL trading_date NUL session of its row, found {row.broker} {row.symbol} "
            f"{iso_date_from_days(row.trading_date)} {row.session}: write that key, JSON, or Avro "
            "with the header of a schema registry"
        )


def row_from_fields(fields: dict[str, Any], name_rule: NameRule = FOLDED) -> SessionRow:
    """A checked, normalised row.

    Args:
        fields: ``broker``, ``symbol``; ``trading_date`` as days, date or ISO text;
            ``session``; ``open`` and ``close`` as microseconds, datetime or ISO text, UTC
            when naive; where it is there and not null, ``close_tolerance_s``: a number of
            seconds, or its digits.
        name_rule: how names are spelled.

    Raises:
        ValueError: what is wrong with which field.
    """
    missing = [name for name in REQUIRED if fields.get(name) is None]
    if missing:
        raise ValueError(
            f"fields {', '.join(REQUIRED)} are required, missing: {', '.join(missing)}"
        )
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
    trading_date = _days(fields["trading_date"])
    date_us = trading_date * DAY_US
    if not open_us - _FARTHEST_DATE_US <= date_us <= close_us + _FARTHEST_DATE_US:
        raise ValueError(
            "trading_date must be within 31 days of the session, found "
            f"{iso_date_from_days(trading_date)} and open {iso_micros_from_us(open_us)}: see the "
            "unit of the times"
        )
    broker, symbol = name_rule.series(str(fields["broker"]), str(fields["symbol"]))
    return SessionRow(
        # Thousands of rows share a name: one text serves them all.
        broker=sys.intern(broker),
        symbol=sys.intern(symbol),
        trading_date=trading_date,
        session=_number(fields["session"]),
        open_us=open_us,
        close_us=close_us,
        close_tolerance_us=tolerance_us(fields.get(TOLERANCE)),
    )


def session_to_json(row: SessionRow) -> dict[str, Any]:
    """The row with the field names of the schema, times in ISO 8601 ending in Z.

    ``close_tolerance_s`` is there where the session has one.
    """
    return {
        "broker": row.broker,
        "symbol": row.symbol,
        "trading_date": iso_date_from_days(row.trading_date),
        "session": row.session,
        "open": iso_time(row.open_us),
        "close": iso_time(row.close_us),
        **tolerance_to_json(row.close_tolerance_us),
    }


def tolerance_to_json(tolerance_us: int) -> dict[str, float]:
    """The field ``close_tolerance_s``, in seconds; nothing without a tolerance."""
    if not tolerance_us:
        return {}
    whole, rest = divmod(tolerance_us, SECOND_US)
    return {TOLERANCE: tolerance_us / SECOND_US if rest else whole}


def tolerance_us(value: object) -> int:
    """A close tolerance in microseconds, from a number of seconds or its digits; 0 of None.

    Raises:
        ValueError: it is no number of seconds, negative, or longer than an hour.
    """
    if value is None:
        return 0
    try:
        seconds = float("nan") if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds * SECOND_US <= LONGEST_TOLERANCE_US:
        raise ValueError(
            f"{TOLERANCE} must be 0 to {LONGEST_TOLERANCE_US // SECOND_US} seconds, found {value!r}"
        )
    return round(seconds * SECOND_US)


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
        if isinstance(number, int) and not isinstance(number, bool):
            fields[name] = micros(name, number)
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
