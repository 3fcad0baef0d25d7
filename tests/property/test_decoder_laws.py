"""A record's verdict, and the tick made of it, never depend on the records around it."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.codecs.registry import RegisteredSchema
from barstream.codecs.ticks.decoder import TickColumns, TickDecoder
from barstream.codecs.ticks.registry_frame import frame
from barstream.config.sections import TickSettings
from tests.examples import examples
from tests.property.avro_cases import almost_records, longs, records_of, write

NOW_US = 1_700_000_000_000_000
relaxed = settings(
    deadline=None,
    max_examples=examples(150),
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)

FLAT = {
    "type": "record",
    "name": "Flat",
    "fields": [
        {"name": "note", "type": ["null", "string"]},
        {"name": "venue", "type": {"type": "enum", "name": "V", "symbols": ["lse", "NYSE"]}},
        {"name": "symbol", "type": ["null", "string"]},
        {"name": "time", "type": ["long", "null"]},
        {"name": "bid", "type": ["null", "int"]},
        {"name": "ask", "type": "long"},
        {"name": "size", "type": ["null", "float"]},
        {"name": "flag", "type": "boolean"},
    ],
}
DEEP = {
    **FLAT,
    "name": "Deep",
    "fields": [*FLAT["fields"], {"name": "tags", "type": {"type": "array", "items": "string"}}],
}
QUOTES: dict[str, Any] = {"broker": "venue", "bid": "bid", "ask": "ask", "price_scale": 3}


def told(columns: TickColumns, n: int) -> list[Any]:
    """What became of each record: the tick, bit by bit, or why there is none."""
    index = range(n) if columns.index is None else columns.index.tolist()
    ticks = zip(
        index,
        columns.series.tolist(),
        columns.time_us.tolist(),
        columns.price.tolist(),
        columns.size.tolist(),
        strict=True,
    )
    out: dict[int, Any] = {
        at: (columns.names[series], time_us, struct.pack("<2d", price, size))
        for at, series, time_us, price, size in ticks
    }
    used = set(columns.series.tolist())
    assert used == set(range(len(columns.names))), "names of accepted records, each once"
    assert len(set(columns.names)) == len(columns.names)
    for position, reason, detail in columns.rejected:
        assert position not in out
        assert detail
        out[position] = (reason, detail)
    assert sorted(out) == list(range(n))
    return [out[at] for at in range(n)]


def assert_batching_changes_nothing(
    decoder: TickDecoder, values: list[Any], cuts: list[int]
) -> None:
    stamps = np.full(len(values), NOW_US)
    whole = told(decoder.decode(values, stamps), len(values))
    alone = [told(decoder.decode([v], stamps[:1]), 1)[0] for v in values]
    edges = [0, *sorted(cut % (len(values) + 1) for cut in cuts), len(values)]
    parts = [
        verdict
        for a, b in pairwise(edges)
        for verdict in told(decoder.decode(values[a:b], stamps[a:b]), b - a)
    ]
    assert whole == alone
    assert whole == parts


cuts = st.lists(st.integers(0, 50), max_size=3)
sometimes_none = st.lists(st.booleans(), min_size=14, max_size=14)


def with_nones(values: list[bytes], keep: list[bool]) -> list[bytes | None]:
    return [value if kept else None for value, kept in zip(values, keep, strict=False)]


near = st.integers(NOW_US - 10, NOW_US + 10) | longs
sane = st.fixed_dictionaries(
    {
        "note": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
        "venue": st.sampled_from(["lse", "NYSE"]),
        "symbol": st.none() | st.sampled_from(["a", "A", " a", "b", "", "x\0"]),
        "time": st.none() | near,
        "bid": st.none() | st.integers(-5, 2**31 - 1),
        "ask": longs,
        "size": st.none() | st.floats(width=32),
        "flag": st.booleans(),
        "tags": st.just(["t"]),
    }
)


@pytest.fixture(scope="module", params=[FLAT, DEEP], ids=["flat", "deep"])
def schema(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def decoder(schema: Any, tmp_path_factory: pytest.TempPathFactory) -> TickDecoder:
    path: Path = tmp_path_factory.mktemp("schema") / "tick.avsc"
    path.write_bytes(orjson.dumps(schema))
    return TickDecoder(TickSettings(schema_file=path, **QUOTES))


@relaxed
@given(st.data(), cuts, sometimes_none)
def test_batching_avro_changes_nothing(
    schema: Any, decoder: TickDecoder, data: st.DataObject, cuts: list[int], keep: list[bool]
) -> None:
    values = data.draw(almost_records(schema, most=6))
    values += [write(schema, row) for row in data.draw(st.lists(sane, max_size=8))]
    assert_batching_changes_nothing(decoder, with_nones(values, keep), cuts)


@pytest.fixture(scope="module")
def framed_decoder() -> TickDecoder:
    """One that knows schemas 7 (flat) and 8 (deep), and that there is no schema 9."""
    decoder = TickDecoder(TickSettings(registry_url="http://127.0.0.1:9", **QUOTES))
    framed = decoder._framed
    assert framed is not None
    for number, schema in ((7, FLAT), (8, DEEP)):
        known = RegisteredSchema(orjson.dumps(schema).decode(), "AVRO", {})
        framed._known.readers[number] = framed._reader(number, known.parse())
    framed._known.unusable[9] = "the registry has no schema 9"
    return decoder


framings = st.sampled_from([b"\0\0\0\0\7", b"\0\0\0\0\x08", b"\0\0\0\0\x09", b"\1\0\0\0\7", b"\0"])


@relaxed
@given(st.data(), cuts, sometimes_none)
def test_batching_framed_avro_changes_nothing(
    framed_decoder: TickDecoder, data: st.DataObject, cuts: list[int], keep: list[bool]
) -> None:
    values = [data.draw(framings) + body for body in data.draw(almost_records(FLAT, most=6))]
    for row in data.draw(st.lists(sane, max_size=8)):
        number, schema = data.draw(st.sampled_from([(7, FLAT), (8, DEEP)]))
        values.append(frame(number, write(schema, row)))
    framed = framed_decoder._framed
    assert framed is not None
    framed._known.unusable |= dict.fromkeys(
        framed.missing(values), "the registry has no such schema"
    )
    assert_batching_changes_nothing(framed_decoder, with_nones(values, keep), cuts)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["1.5", "a", "", "nan", " 12 ", "2023-11-14T22:13:20Z", "1e400", "9" * 30]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
json_rows = st.dictionaries(
    st.sampled_from(["venue", "symbol", "time", "bid", "ask", "size"]), json_values
)
sane_json = sane.map(lambda row: {key: row[key] for key in row if key != "size"})


@pytest.mark.parametrize("unit", ["auto", "us", "ns", "s", "iso"])
@pytest.mark.parametrize("scale", [0, 3])
@relaxed
@given(st.lists(json_rows | sane_json, max_size=10), cuts, sometimes_none, st.binary(max_size=9))
def test_batching_json_changes_nothing(
    unit: Any,
    scale: int,
    rows: list[dict[str, Any]],
    cuts: list[int],
    keep: list[bool],
    garbage: bytes,
) -> None:
    mapping = QUOTES | {"price_scale": scale}
    decoder = TickDecoder(TickSettings(format="json", time_unit=unit, **mapping))
    values = [*(orjson.dumps(row) for row in rows), garbage, b"[]", b'{"symbol":']
    assert_batching_changes_nothing(decoder, with_nones(values, keep), cuts)


@relaxed
@given(st.data())
def test_a_record_read_in_columns_and_one_by_one_is_the_same_tick(data: st.DataObject) -> None:
    rows = data.draw(st.lists(records_of(FLAT) | sane, max_size=6))
    readers = TickDecoder(TickSettings(registry_url="http://127.0.0.1:9", **QUOTES))._framed
    assert readers is not None
    ticks = []
    cases: list[tuple[Any, dict[str, Any]]] = [(FLAT, {}), (DEEP, {"tags": []})]
    for schema, extra in cases:
        known = RegisteredSchema(orjson.dumps(schema).decode(), "AVRO", {})
        part = readers._reader(1, known.parse()).read(
            [frame(1, write(schema, row | extra)) for row in rows]
        )
        accepted = part.verdicts.accepted
        names = [part.names[code] if part.names else None for code in part.series]
        ticks.append(
            (
                part.verdicts.rejected(),
                [name for name, kept in zip(names, accepted, strict=True) if kept],
                part.time_us[accepted].tolist(),
                part.price[accepted].tobytes(),
                part.size[accepted].tobytes(),
            )
        )
    assert ticks[0] == ticks[1]
