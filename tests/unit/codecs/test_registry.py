"""Ticks in Confluent framing, with a registry that is there, slow to come up, or not there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import orjson
import pytest

from barstream.codecs import registry
from barstream.codecs.avro.schema import SchemaError
from barstream.codecs.registry import RegistryError, SchemaRegistry
from barstream.codecs.ticks.decoder import TickColumns, TickDecoder
from barstream.codecs.ticks.registry_frame import FramedReader, frame
from barstream.codecs.ticks.series_names import SeriesNames
from barstream.config.sections import TickSettings
from barstream.model.rejection import Reason
from tests.schema_registry import Registry, serving

NOW_US = 1_700_000_000_000_000


def record(*fields: tuple[str, Any]) -> dict[str, Any]:
    parts = [{"name": name, "type": kind} for name, kind in fields]
    return {"type": "record", "name": "Tick", "fields": parts}


FIRST = record(("broker", "string"), ("symbol", "string"), ("time", "long"), ("price", "double"))
SECOND = record(("price", "float"), *[(f["name"], f["type"]) for f in FIRST["fields"][:3]])
FOREIGN = record(("temperature", "double"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FIRST_PAUSE_S", 0.001)


def body(schema: Any, **change: Any) -> bytes:
    row = {"broker": "A", "symbol": "X", "time": NOW_US, "price": 1.5, "temperature": 3.0}
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row | change)
    return out.getvalue()


def decoder(url: str, subject: str | None = None) -> TickDecoder:
    return TickDecoder(TickSettings(registry_url=url, size=None), subject=subject)


async def read(ticks: TickDecoder, values: list[bytes | None]) -> TickColumns:
    """As an agent does it."""
    if missing := ticks.missing_schema_ids(values):
        await ticks.fetch_schemas(missing)
    return ticks.decode(values, np.full(len(values), NOW_US))


def run(served: Registry, scene: Callable[[str], Any]) -> Any:
    async def play() -> Any:
        async with serving(served) as url:
            return await scene(url)

    return asyncio.run(play())


def test_schemas_of_several_writers_may_be_mixed_in_one_batch() -> None:
    served = Registry()
    first, second = served.add(FIRST), served.add(SECOND)
    values: list[bytes | None] = [
        frame(second, body(SECOND, price=2.5)),
        frame(first, body(FIRST, symbol="Y")),
        None,
        frame(second, body(SECOND, symbol="Y", price=3.5)),
        frame(first, body(FIRST) + b"\0"),
    ]

    async def scene(url: str) -> None:
        ticks = decoder(url)
        columns = await read(ticks, values)
        names = [columns.names[code] for code in columns.series.tolist()]
        assert names == [("A", "X"), ("A", "Y"), ("A", "Y")]
        assert columns.price.tolist() == [2.5, 1.5, 3.5]
        assert columns.index is not None
        assert columns.index.tolist() == [0, 1, 3]
        assert [r.position for r in columns.rejected] == [2, 4]
        asked = len(served.asked)
        await read(ticks, values)
        assert len(served.asked) == asked == 2, "each schema is asked for once"

    run(served, scene)


def test_a_batch_of_one_schema_needs_no_index() -> None:
    served = Registry()
    first = served.add(FIRST)

    async def scene(url: str) -> None:
        columns = await read(decoder(url), [frame(first, body(FIRST))] * 3)
        assert columns.index is None
        assert columns.price.tolist() == [1.5] * 3

    run(served, scene)


def test_ids_the_registry_does_not_have_make_their_records_undecodable() -> None:
    served = Registry()
    first, foreign = served.add(FIRST), served.add(FOREIGN)
    protobuf = served.add("message T {}", schemaType="PROTOBUF")
    values: list[bytes | None] = [
        frame(first, body(FIRST)),
        frame(77, body(FIRST)),
        frame(foreign, body(FOREIGN)),
        frame(protobuf, b"\0"),
        b"\1" + frame(first, body(FIRST))[1:],
        b"\0\0",
        b"",
    ]

    async def scene(url: str) -> None:
        columns = await read(decoder(url), values)
        assert columns.price.tolist() == [1.5]
        assert [r.position for r in columns.rejected] == [1, 2, 3, 4, 5, 6]
        assert {r.reason for r in columns.rejected} == {Reason.UNDECODABLE}

    run(served, scene)


def test_an_id_the_registry_did_not_have_is_asked_for_again_later() -> None:
    served = Registry()
    value = frame(1, body(FIRST))
    now_s = [0.0]

    async def scene(url: str) -> None:
        settings = TickSettings(registry_url=url, size=None)
        reader = FramedReader(settings, SchemaRegistry(url), SeriesNames(), lambda: now_s[0])
        await reader.fetch(reader.missing([value]))
        assert not reader.missing([value])
        now_s[0] = 60.0
        assert reader.missing([value]) == {1}
        served.add(FIRST)
        await reader.fetch({1})
        assert reader.read([value]).verdicts.clean

    run(served, scene)


def test_a_registry_that_comes_up_late_is_waited_for() -> None:
    served = Registry()
    first = served.add(FIRST)
    served.failures = 2

    async def scene(url: str) -> None:
        assert not (await read(decoder(url), [frame(first, body(FIRST))])).rejected

    run(served, scene)


def test_a_registry_that_is_down_rejects_nothing() -> None:
    async def scene() -> None:
        ticks = decoder("http://127.0.0.1:9")
        values: list[bytes | None] = [frame(1, body(FIRST))]
        with pytest.raises(RegistryError, match=r"ticks\.registry_url"):
            await read(ticks, values)
        with pytest.raises(RegistryError, match="fetch_schemas"):
            ticks.decode(values, np.array([NOW_US]))
        assert ticks.missing_schema_ids(values) == {1}

    asyncio.run(scene())


def test_a_web_server_that_is_no_registry_rejects_nothing() -> None:
    async def scene(url: str) -> None:
        with pytest.raises(RegistryError, match="as a schema registry does"):
            await read(decoder(f"{url}/elsewhere"), [frame(1, body(FIRST))])

    run(Registry(), scene)


def test_user_and_password_of_the_url_are_sent_and_not_told() -> None:
    served = Registry()
    served.add(FIRST)

    async def scene(url: str) -> None:
        with_user = url.replace("http://", "http://me:s%40cret@")
        await SchemaRegistry(with_user).schemas([1])
        assert served.users == {"Basic bWU6c0BjcmV0"}
        served.failures = 99
        with pytest.raises(RegistryError) as refused:
            await SchemaRegistry(with_user).schemas([1])
        assert "cret" not in str(refused.value)

    run(served, scene)


def test_types_a_schema_refers_to_are_fetched_with_it() -> None:
    served = Registry()
    level = {"type": "record", "name": "m.Level", "fields": [{"name": "px", "type": "double"}]}
    served.add(level, subject="level")
    quote = record(*[(f["name"], f["type"]) for f in FIRST["fields"][:3]], ("last", "m.Level"))
    number = served.add(quote, references=[{"name": "m.Level", "subject": "level", "version": 1}])
    whole = record(*[(f["name"], f["type"]) for f in FIRST["fields"][:3]], ("last", level))

    async def scene(url: str) -> None:
        ticks = TickDecoder(TickSettings(registry_url=url, size=None, price="last.px"))
        columns = await read(ticks, [frame(number, body(whole, last={"px": 7.5}))])
        assert columns.price.tolist() == [7.5]

    run(served, scene)


def test_a_mapping_that_does_not_fit_the_latest_schema_is_refused_at_start() -> None:
    served = Registry()
    served.add(FOREIGN)

    async def scene(url: str) -> None:
        with pytest.raises(SchemaError, match=r"ticks\.symbol|ticks\.broker"):
            await decoder(url, subject="ticks-value").start()
        await decoder(url, subject="nothing-yet").start()
        await decoder(url).start()

    run(served, scene)


def test_a_schema_is_registered_for_our_own_feeds() -> None:
    served = Registry()

    async def scene(url: str) -> None:
        number = await SchemaRegistry(url).register("mine/value", FIRST)
        assert (await SchemaRegistry(url).latest("mine/value") or (0,))[0] == number

    run(served, scene)


def nested(levels: int) -> str:
    """A record within a record, so many levels of them, with the fields of a tick outside."""
    inner = '"double"'
    for level in range(levels):
        inner = f'{{"type":"record","name":"R{level}","fields":[{{"name":"f","type":{inner}}}]}}'
    outer = orjson.dumps(FIRST).decode()
    return outer.removesuffix("]}") + f',{{"name":"deep","type":{inner}}}]}}'


def doubling(times: int) -> str:
    """A few types, each of which has the one before twice."""
    parts: list[tuple[str, Any]] = [
        ("t0", {"type": "record", "name": "T0", "fields": [{"name": "x", "type": "double"}]})
    ]
    for at in range(1, times):
        fields = [{"name": name, "type": f"T{at - 1}"} for name in ("a", "b")]
        parts.append((f"t{at}", {"type": "record", "name": f"T{at}", "fields": fields}))
    whole = record(*[(f["name"], f["type"]) for f in FIRST["fields"]], *parts)
    return orjson.dumps(whole).decode()


@pytest.mark.parametrize(
    ("schema", "found"), [(nested(300), "levels"), (nested(40), "levels"), (doubling(30), "fields")]
)
def test_a_schema_that_is_too_deep_or_too_large_makes_its_records_undecodable(
    schema: str, found: str
) -> None:
    # the first ended the worker, the last held its loop for as long as it is large
    served = Registry()
    bad, good = served.add_text(schema), served.add(FIRST)
    values: list[bytes | None] = [frame(bad, b"\0" * 20), frame(good, body(FIRST))]

    async def scene(url: str) -> None:
        columns = await read(decoder(url), values)
        assert columns.price.tolist() == [1.5]
        (refused,) = columns.rejected
        assert refused.reason == Reason.UNDECODABLE
        assert "must have at most 32 levels" in refused.detail
        assert found in refused.detail

    run(served, scene)


def test_a_schema_as_deep_as_is_allowed_is_read() -> None:
    # the record itself, 30 within it and the number
    served = Registry()
    good = served.add_text(nested(30))
    values: list[bytes | None] = [frame(good, body(FIRST) + b"\0" * 8)]

    async def scene(url: str) -> None:
        assert (await read(decoder(url), values)).price.tolist() == [1.5]

    run(served, scene)


def test_a_schema_that_refers_to_what_is_none_makes_its_records_undecodable() -> None:
    served = Registry()
    served.add_text(nested(300), "deep")
    refers = [{"name": "R0", "subject": "deep", "version": 1}]
    bad = served.add(FIRST, references=refers)

    async def scene(url: str) -> None:
        columns = await read(decoder(url), [frame(bad, body(FIRST))])
        assert "32 levels" in columns.rejected[0].detail

    run(served, scene)


def limited(url: str, clock: Callable[[], float], most: int) -> FramedReader:
    settings = TickSettings(registry_url=url, size=None)
    return FramedReader(settings, SchemaRegistry(url), SeriesNames(), clock, most)


def test_of_unknown_ids_the_lowest_are_asked_for_and_so_many_in_a_minute() -> None:
    # each is a request, and while it is out no partition goes on
    served = Registry()
    first = served.add(FIRST)
    now_s = [0.0]
    values: list[bytes | None] = [frame(number, b"") for number in range(1_000, 1_010)]

    async def scene(url: str) -> None:
        reader = limited(url, lambda: now_s[0], 4)
        both = [*values, frame(first, body(FIRST))]
        assert reader.missing(both) == {first, 1_000, 1_001, 1_002}
        await reader.fetch({first, 1_000, 1_001, 1_002})
        part = reader.read(both)
        assert part.verdicts.accepted.tolist() == [False] * 10 + [True]
        details = [one.detail for one in part.verdicts.rejected()]
        assert sum("was not asked" in each for each in details) == 7
        now_s[0] = 59.0
        assert not reader.missing(values), "the minute is not over"
        assert not reader.read(values).verdicts.accepted.any()
        now_s[0] = 60.0
        assert reader.missing(values) == {1_000, 1_001, 1_002, 1_003}

    run(served, scene)


def test_what_the_values_at_hand_need_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    # an id that was looked up is forgotten for the sake of others, and must not be of these
    monkeypatch.setattr(registry, "_LACKING_REMEMBERED", 3)
    served = Registry()

    async def scene(url: str) -> None:
        reader = limited(url, lambda: 0.0, 100)
        await reader.fetch(reader.missing([frame(7, b""), frame(8, b"")]))
        both: list[bytes | None] = [frame(7, b""), frame(9, b""), frame(10, b"")]
        await reader.fetch(reader.missing(both))
        assert len(reader.read(both).verdicts.rejected()) == 3

    run(served, scene)
