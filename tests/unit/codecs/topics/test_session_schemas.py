"""Rows of the schedule that others wrote, by the schema they name in a registry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.codecs import registry
from barstream.codecs.registry import RegistryError, SchemaRegistry
from barstream.codecs.ticks.registry_frame import frame
from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session import decode_session, read_session, session_key
from barstream.codecs.topics.session_schemas import SessionSchemas
from barstream.market.schedule import SessionRow
from barstream.model.time import days_from_iso_date, us_from_iso
from tests.schema_registry import Registry, serving

ROW = SessionRow(
    "OANDA",
    "EURUSD",
    days_from_iso_date("2024-01-02"),
    1,
    us_from_iso("2024-01-01T22:00:00.250"),
    us_from_iso("2024-01-02T22:00:00.250"),
)
OPEN = datetime(2024, 1, 1, 22, 0, 0, 250_000, UTC)
CLOSE = datetime(2024, 1, 2, 22, 0, 0, 250_000, UTC)


def logical(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "logicalType": name}


MILLIS, MICROS = logical("long", "timestamp-millis"), logical("long", "timestamp-micros")
NAMES = {"broker": "string", "symbol": "string"}
#: By field the Avro types it may have, each with the value of ROW as fastavro writes it.
KINDS: dict[str, list[tuple[Any, Any]]] = {
    "broker": [("string", " oanda"), (["null", "string"], "OANDA"),
               ({"type": "enum", "name": "B", "symbols": ["FXCM", "OANDA"]}, "OANDA")],
    "symbol": [("string", "eurusd"), (["string", "null"], "EURUSD")],
    "trading_date": [(logical("int", "date"), date(2024, 1, 2)), ("int", ROW.trading_date),
                     ("string", "2024-01-02"), (["null", logical("int", "date")], date(2024, 1, 2)),
                     (MILLIS, datetime(2024, 1, 2, tzinfo=UTC))],
    "session": [("int", 1), ("long", 1), ("string", "1"), (["null", "int"], 1)],
    "open": [(MILLIS, OPEN), (MICROS, OPEN), ("long", ROW.open_us), (["null", MILLIS], OPEN),
             ("string", "2024-01-01T22:00:00.250"), ("string", "2024-01-01T17:00:00.25-05:00"),
             (logical("long", "timestamp-nanos"), ROW.open_us * 1000),
             (logical("long", "local-timestamp-millis"), OPEN.replace(tzinfo=None))],
    "close": [(MILLIS, CLOSE), (MICROS, CLOSE), ("long", ROW.close_us),
              ("string", "2024-01-02T22:00:00.250Z")],
    "close_tolerance_s": [(["null", "long"], None), ("int", 90), ("double", 90.0),
                          (["null", "float"], 90.0), ("string", "90")],
    "venue": [("string", "LD4"), ({"type": "array", "items": "double"}, [1.0])],
}  # fmt: skip


def schema_of(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    parts = [{"name": name, "type": kind} for name, kind in fields]
    return {"type": "record", "name": "Hours", "namespace": "com.acme", "fields": parts}


def body_of(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def with_registry(scenario: Callable[[Registry, str], Awaitable[None]]) -> None:
    async def run() -> None:
        server = Registry()
        async with serving(server) as url:
            await scenario(server, url)

    asyncio.run(run())


async def fetched(url: str | None, value: bytes) -> SessionSchemas:
    schemas = SessionSchemas.of(url)
    await schemas.fetch(schemas.missing((value,)))
    assert not schemas.missing((value,))
    return schemas


@settings(deadline=None)  # a registry is asked each time
@given(data=st.data())
def test_a_row_is_read_by_its_own_schema_in_any_order_and_of_any_type(data: st.DataObject) -> None:
    """Also with symbol before broker, which by position would be swapped in silence."""
    left_out = data.draw(st.sampled_from([None, "close_tolerance_s"]))
    names = data.draw(st.permutations([name for name in KINDS if name != left_out]))
    chosen = {name: data.draw(st.sampled_from(KINDS[name])) for name in names}
    schema = schema_of([(name, chosen[name][0]) for name in names])
    value = body_of(schema, {name: written for name, (_, written) in chosen.items()})

    async def scenario(server: Registry, url: str) -> None:
        framed = frame(server.add(schema), value)
        schemas = await fetched(url, framed)
        _, tolerance_s = chosen.get("close_tolerance_s", ("", None))
        expected = replace(ROW, close_tolerance_us=0 if tolerance_s is None else 90_000_000)
        assert decode_session(framed, schemas) == expected
        assert read_session(b"any key", framed, schemas)[1] == expected

    with_registry(scenario)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"close_tolerance_s": MILLIS}, "field close_tolerance_s of a session"),
        ({"close": None}, "the schema lacks close; it has broker, symbol"),
        ({"open": "double"}, "field open of a session cannot be read from Avro type double"),
        ({"open": logical("int", "time-millis")}, "varint with time-millis"),
        ({"broker": "bytes"}, "field broker of a session cannot be read from Avro type bytes"),
        ({"trading_date": "boolean"}, "field trading_date of a session"),
    ],
)
def test_a_schema_that_is_of_something_else_refuses_its_rows(
    changes: dict[str, Any], reason: str
) -> None:
    kinds = {name: kinds[0][0] for name, kinds in KINDS.items()} | changes
    schema = schema_of([(name, kind) for name, kind in kinds.items() if kind is not None])

    async def scenario(server: Registry, url: str) -> None:
        value = frame(server.add(schema), b"")
        schemas = await fetched(url, value)
        with pytest.raises(ValueError, match=reason):
            decode_session(value, schemas)

    with_registry(scenario)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"open": ("long", ROW.open_us // 1000)}, "looks like milliseconds"),
        ({"open": (MICROS, OPEN.replace(year=1970))}, "31 days at most"),
        ({"broker": (["null", "string"], None)}, "missing: broker"),
        ({"session": ("int", -1)}, "session must be"),
        ({"close_tolerance_s": ("long", 90_000)}, "close_tolerance_s must be 0 to 3600 seconds"),
        ({"trading_date": (MILLIS, OPEN)}, "midnight UTC"),
        ({"trading_date": ("int", 20_240_102)}, "trading_date must be a date"),
        ({"close": (MICROS, OPEN)}, "close must be after open"),
    ],
)
def test_values_that_make_no_session_are_refused_with_their_reason(
    changes: dict[str, tuple[Any, Any]], reason: str
) -> None:
    chosen = {name: kinds[0] for name, kinds in KINDS.items()} | changes
    schema = schema_of([(name, kind) for name, (kind, _) in chosen.items()])
    value = body_of(schema, {name: written for name, (_, written) in chosen.items()})

    async def scenario(server: Registry, url: str) -> None:
        framed = frame(server.add(schema), value)
        with pytest.raises(ValueError, match=reason):
            decode_session(framed, await fetched(url, framed))

    with_registry(scenario)


def test_a_body_that_is_not_of_its_schema_is_refused() -> None:
    schema = schema_of([(name, kinds[0][0]) for name, kinds in KINDS.items()])
    value = body_of(schema, {name: kinds[0][1] for name, kinds in KINDS.items()})

    async def scenario(server: Registry, url: str) -> None:
        number = server.add(schema)
        schemas = await fetched(url, frame(number, value))
        for body in (value[:-1], value + b"x", b""):
            with pytest.raises(ValueError, match=r"left over|ends inside|bytes"):
                decode_session(frame(number, body), schemas)
        unknown = frame(99, value)
        await schemas.fetch(schemas.missing((unknown,)))
        with pytest.raises(ValueError, match="the registry has no schema 99"):
            decode_session(unknown, schemas)

    with_registry(scenario)


def test_rows_wait_for_their_schema_and_what_came_meanwhile_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_FIRST_PAUSE_S", 0.001)
    schema = schema_of([(name, kinds[0][0]) for name, kinds in KINDS.items()])
    value = body_of(schema, {name: kinds[0][1] for name, kinds in KINDS.items()})
    series = ROW.broker, ROW.symbol

    async def scenario(server: Registry, url: str) -> None:
        number = server.add(schema)
        rows = ScheduleRows(SessionSchemas.of(url))
        for at, key in enumerate((session_key(ROW), b"gone")):
            rows.apply(key, frame(number, value), 0, at, at)
        rows.apply(b"other", frame(number + 1, value), 0, 2, 2)
        assert rows.rows_of(series) == []
        assert rows.is_dirty
        rows.apply(b"gone", b"{}", 0, 3, 3)

        server.failures = 100
        with pytest.raises(RegistryError):
            await rows.fetch_schemas()
        assert rows.rows_of(series) == []

        server.failures = 0
        await rows.fetch_schemas()
        assert rows.rows_of(series) == [ROW]
        assert [key for _, key in rows.records_of(ROW)] == [session_key(ROW)]
        assert len(rows.take_refused()) == 2
        assert rows.take_refused() == []
        asked = len(server.asked)
        rows.apply(session_key(ROW), frame(number, value), 0, 4, 4)
        assert rows.rows_of(series) == [ROW]
        assert len(server.asked) == asked, "a schema is asked for once"

    with_registry(scenario)


def test_a_row_whose_schema_the_registry_gets_later_is_taken_then() -> None:
    """A registry may lag behind a producer: to refuse the row until the night would lose a day."""
    schema = schema_of([(name, kinds[0][0]) for name, kinds in KINDS.items()])
    value = body_of(schema, {name: kinds[0][1] for name, kinds in KINDS.items()})
    series = ROW.broker, ROW.symbol
    now_s = [0.0]

    async def scenario(server: Registry, url: str) -> None:
        schemas = SessionSchemas(SchemaRegistry(url), lambda: now_s[0])
        rows, framed = ScheduleRows(schemas), frame(1, value)
        rows.apply(session_key(ROW), framed, 0, 0, 0)
        await rows.fetch_schemas()
        assert "no schema 1" in rows.take_refused()[0]
        assert not schemas.missing((framed,)), "nothing is to be done for a minute"

        assert server.add(schema) == 1
        await rows.fetch_schemas()
        assert len(server.asked) == 1
        assert rows.refused

        now_s[0] = 61.0
        assert rows.is_dirty
        await rows.fetch_schemas()
        assert rows.rows_of(series) == [ROW]
        assert not rows.refused
        assert len(server.asked) == 2

    with_registry(scenario)
