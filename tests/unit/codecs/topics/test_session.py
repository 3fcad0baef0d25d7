"""Schedule rows as Kafka carries them: ours exactly, other producers' with tolerance."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.codecs.avro.body import load_schema, without_logical_types
from barstream.codecs.topics.session import (
    LONGEST_SESSION_US,
    decode_session,
    encode_session,
    read_session,
    session_key,
    session_to_json,
    split_session_key,
)
from barstream.market.schedule import SessionRow
from barstream.market.session import LONGEST_TOLERANCE_US
from barstream.model.time import DAY_US, days_from_iso_date, us_from_iso

ROW = SessionRow(
    "OANDA",
    "EURUSD",
    days_from_iso_date("2024-01-02"),
    1,
    us_from_iso("2024-01-01T22:00"),
    us_from_iso("2024-01-02T22:00"),
)

names = (
    st.text(min_size=1, max_size=60)
    .map(lambda s: s.strip().upper())
    .filter(lambda s: s and "\0" not in s and s == s.strip().upper() and s not in (".", ".."))
)
end_of_time_us = us_from_iso("9999-12-31")


@given(
    broker=names,
    symbol=names,
    days_after=st.integers(-30, 30),
    session=st.integers(0, 2**31 - 1),
    open_us=st.integers(31 * DAY_US, end_of_time_us - 2 * LONGEST_SESSION_US),
    lasts_us=st.integers(1, LONGEST_SESSION_US),
)
def test_a_row_survives_the_way_through_kafka(
    broker: str, symbol: str, days_after: int, session: int, open_us: int, lasts_us: int
) -> None:
    trading_date = open_us // DAY_US + days_after
    row = SessionRow(broker, symbol, trading_date, session, open_us, open_us + lasts_us)
    identity = broker, symbol, trading_date, session

    assert read_session(session_key(row), encode_session(row)) == (identity, row)
    assert read_session(session_key(row), None) == (identity, None)


def test_the_key_names_the_session_so_that_none_overwrites_another() -> None:
    assert session_key(ROW) == b"OANDA\0EURUSD\x002024-01-02\x001"


def test_a_plain_body_is_believed_under_its_own_key_only() -> None:
    """A schema of somebody else with symbol before broker would swap them, and look right."""
    swapped = replace(ROW, broker=ROW.symbol, symbol=ROW.broker)

    for key in (session_key(ROW), b"EURUSD", b"", None):
        with pytest.raises(ValueError, match="plain Avro body must be of session"):
            read_session(key, encode_session(swapped))
    assert read_session(session_key(ROW).lower(), encode_session(ROW))[1] == ROW


def test_a_plain_body_with_milliseconds_does_not_open_in_january_1970() -> None:
    millis = replace(ROW, open_us=ROW.open_us // 1000, close_us=ROW.close_us // 1000)

    with pytest.raises(ValueError, match="trading_date must be within 31 days of the session"):
        decode_session(encode_session(millis))


def test_a_row_that_names_a_schema_is_refused_where_no_registry_is_configured() -> None:
    with pytest.raises(ValueError, match="names schema 7 of a registry, and none is configured"):
        decode_session(b"\0\0\0\0\x07" + encode_session(ROW))


def test_json_of_other_producers_is_normalised_and_naive_times_are_utc() -> None:
    value = {
        "broker": " oanda",
        "symbol": "eurusd ",
        "trading_date": "2024-01-02",
        "session": 1,
        "open": "2024-01-01T22:00:00",
        "close": "2024-01-02T17:00:00-05:00",
    }

    assert decode_session(json.dumps(value).encode()) == ROW


def test_json_shown_by_us_is_read_by_us() -> None:
    shown = session_to_json(ROW)

    assert (shown["open"], shown["trading_date"]) == ("2024-01-01T22:00:00Z", "2024-01-02")
    assert decode_session(json.dumps(shown).encode()) == ROW


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"close": "2024-01-01T22:00:00"}, "close must be after open"),
        ({"close": "2024-01-01T21:00:00"}, "close must be after open"),
        ({"close": "2024-02-01T22:00:00.000001"}, "31 days at most"),
        ({"broker": "  "}, "broker or symbol"),
        ({"symbol": None}, "missing: symbol"),
        ({"session": -1}, "session must be"),
        ({"session": True}, "session must be"),
        ({"session": 1.5}, "session must be"),
        ({"trading_date": "02/01/2024"}, "02/01/2024"),
        ({"open": "soon"}, "soon"),
        ({"open": 1704146400000}, "milliseconds"),
        ({"trading_date": "2014-01-02"}, "within 31 days"),
        ({"open": [1]}, "open must be a time"),
        ({"close": "9999-12-31T23:59:59-12:00"}, "between 1970 and 9999"),
        ({"open": "1969-12-31T23:59:59"}, "between 1970 and 9999"),
    ],
)
def test_json_that_is_no_session_is_refused_with_its_reason(
    changes: dict[str, object], reason: str
) -> None:
    value = json.dumps({**session_to_json(ROW), **changes}).encode()

    with pytest.raises(ValueError, match=reason):
        decode_session(value)


@given(value=st.binary())
def test_garbage_is_refused_with_a_value_error_and_nothing_else(value: bytes) -> None:
    try:
        row = decode_session(value)
    except ValueError:
        return
    assert row.close_us > row.open_us


@given(cut=st.integers(0, 200), junk=st.binary(min_size=1, max_size=3))
def test_a_body_cut_short_or_with_bytes_left_over_is_refused(cut: int, junk: bytes) -> None:
    body = encode_session(ROW)

    for broken in (body[: cut % len(body)], body + junk):
        with pytest.raises(ValueError, match=r"Avro|registry|neither"):
            decode_session(broken)


@pytest.mark.parametrize("key", [b"", b"A\0B", b"A\0B\x002024-01-02", b"A\0B\0soon\x001", b"\xff"])
def test_a_key_without_its_four_parts_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text differs with what is wrong
        split_session_key(key)


TOLERANT = replace(ROW, close_tolerance_us=90_000_000)


def test_a_row_without_tolerance_is_written_as_before_there_was_one() -> None:
    written = encode_session(ROW)
    fields = {"broker": "OANDA", "symbol": "EURUSD", "trading_date": ROW.trading_date, "session": 1,
              "open": ROW.open_us, "close": ROW.close_us}  # fmt: skip
    schema = load_schema("session")
    schema = {**schema, "fields": [f for f in schema["fields"] if f["name"] in fields]}
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(without_logical_types(schema)), fields)
    assert written == out.getvalue()
    assert decode_session(written) == ROW
    assert "close_tolerance_s" not in session_to_json(ROW)


@given(st.integers(1, LONGEST_TOLERANCE_US))
def test_a_tolerance_survives_the_way_through_kafka(tolerance_us: int) -> None:
    row = replace(ROW, close_tolerance_us=tolerance_us)
    assert read_session(session_key(row), encode_session(row))[1] == row
    assert decode_session(json.dumps(session_to_json(row)).encode()) == row
    assert len(encode_session(row)) == len(encode_session(ROW)) + 8


def test_whole_seconds_of_tolerance_are_shown_without_a_point() -> None:
    assert session_to_json(TOLERANT)["close_tolerance_s"] == 90
    assert str(session_to_json(TOLERANT)["close_tolerance_s"]) == "90"
    assert session_to_json(replace(ROW, close_tolerance_us=1_500_000))["close_tolerance_s"] == 1.5


@pytest.mark.parametrize("tolerance", [-1, 3600.1, 1e300, "soon", True, [90], "nan"])
def test_a_tolerance_that_is_none_is_refused(tolerance: object) -> None:
    fields = session_to_json(ROW) | {"close_tolerance_s": tolerance}
    with pytest.raises(ValueError, match="close_tolerance_s must be 0 to 3600 seconds, found"):
        decode_session(json.dumps(fields).encode())


@pytest.mark.parametrize("tolerance", [0, None, "0", 0.0])
def test_no_tolerance_may_be_said(tolerance: object) -> None:
    fields = session_to_json(ROW) | {"close_tolerance_s": tolerance}
    assert decode_session(json.dumps(fields).encode()) == ROW


@given(st.binary(max_size=8).filter(lambda tail: len(tail) not in (0, 8)))
def test_a_body_with_another_end_is_no_row(tail: bytes) -> None:
    with pytest.raises(ValueError, match="neither a JSON object, nor Avro"):
        decode_session(encode_session(ROW) + tail)
