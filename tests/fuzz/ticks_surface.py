"""Ticks as Avro, framed Avro and JSON: verdicts are those of the reference, beside any others."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import fastavro
import numpy as np
import orjson

from barstream.codecs.avro.reference import MalformedError, read_body
from barstream.codecs.avro.schema import Node
from barstream.codecs.registry import RegisteredSchema
from barstream.codecs.ticks.decoder import TickColumns, TickDecoder
from barstream.codecs.ticks.registry_frame import frame
from barstream.config.sections import TickSettings
from tests.fuzz.avro_mutants import mutant, sane
from tests.fuzz.mutate import damaged
from tests.fuzz.reference import RefTick, judge_avro, judge_json
from tests.fuzz.surface import BrokenRuleError, Surface, shown
from tests.fuzz.tick_schemas import NOW_US, SCHEMAS, SKEW_US, TickSchema

Verdict = RefTick | str
Reference = Callable[[bytes | None], Verdict]


def told(columns: TickColumns, n: int) -> list[Verdict]:
    """What became of each of ``n`` records."""
    index = range(n) if columns.index is None else columns.index.tolist()
    out: dict[int, Verdict] = {}
    for at, series, time_us, price, size in zip(
        index, columns.series.tolist(), columns.time_us.tolist(), columns.price.tolist(),
        columns.size.tolist(), strict=True,
    ):  # fmt: skip
        broker, symbol = columns.names[series]
        out[at] = RefTick(broker, symbol, time_us, price, size)
    for position, reason, detail in columns.rejected:
        if position in out or not detail:
            raise BrokenRuleError(f"record {position} is said twice, or without a word")
        detail.encode()  # it becomes a header
        out[position] = str(reason)
    if sorted(out) != list(range(n)):
        raise BrokenRuleError(f"verdicts of {len(out)} records of {n}")
    return [out[at] for at in range(n)]


def check(
    decoder: TickDecoder, values: Sequence[bytes | None], chance: Random, reference: Reference
) -> list[str]:
    """Decode at once and in pieces; all must say what the reference says.

    Raises:
        BrokenRuleError: they do not.
    """
    stamps = np.full(len(values), NOW_US)
    wanted = [reference(value) for value in values]
    edges = sorted({0, len(values), *(chance.randrange(len(values) + 1) for _ in range(2))})
    pieces = [
        verdict
        for a, b in pairwise(edges)
        for verdict in told(decoder.decode(list(values[a:b]), stamps[a:b]), b - a)
    ]
    whole = told(decoder.decode(list(values), stamps), len(values))
    for value, want, found, piece in zip(values, wanted, whole, pieces, strict=True):
        if not _same(want, found) or not _same(want, piece):
            raise BrokenRuleError(
                f"{shown(value)} is {want!r} by the reference, decoded {found!r} and {piece!r}"
            )
    return ["tick" if isinstance(each, RefTick) else each for each in wanted]


def _same(a: Verdict, b: Verdict) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    bits = struct.pack("<2d", a.price, a.size) == struct.pack("<2d", b.price, b.size)
    return bits and a[:3] == b[:3]


def _maybe_null(chance: Random, value: bytes) -> bytes | None:
    return None if chance.random() < 0.01 else value


@cache
def _decoder(schema: TickSchema) -> TickDecoder:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "tick.avsc"
        path.write_bytes(orjson.dumps(schema.schema))
        settings = schema.settings.model_copy(update={"schema_file": path})
        return TickDecoder(settings, max_future_skew_us=SKEW_US)


@cache
def _fastavro(schema: TickSchema) -> Any:
    return fastavro.parse_schema(orjson.loads(orjson.dumps(_bare(schema.schema))))


def _bare(schema: Any) -> Any:
    """Without logical types: the bytes are what is compared."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if isinstance(schema, dict):
        return {
            key: _bare(value) for key, value in schema.items() if key not in ("logicalType", "doc")
        }
    return schema


def check_walk(schema: TickSchema, body: bytes) -> None:
    """What is well-formed to us fastavro reads as the same values, to the last byte.

    The other way round it is not so: fastavro takes any byte for a boolean and more.

    Raises:
        BrokenRuleError: it does not.
    """
    try:
        ours = read_body(schema.reader, body)
    except MalformedError:
        return
    stream = BytesIO(body)
    theirs = fastavro.schemaless_reader(stream, _fastavro(schema), None)
    if stream.tell() != len(body) or not _equal(schema.node, ours, theirs):
        raise BrokenRuleError(f"{schema.name}: {body.hex()} is {ours!r}, by fastavro {theirs!r}")


def _equal(node: Node, ours: Any, theirs: Any) -> bool:
    match node.kind:
        case "record":
            return all(
                _equal(part, ours[name], theirs[name])
                for name, part in zip(node.names, node.parts, strict=True)
            )
        case "union":
            return (ours is None) == (theirs is None) and (
                ours is None or not node.nullable or _equal(node.inner, ours, theirs)
            )
        case "array" | "map":
            return True  # not kept by us
        case "enum":
            return bool(node.names[ours] == theirs)
        case "string":
            return bool(ours.decode() == theirs)
        case "float" | "double":
            return struct.pack("<d", ours) == struct.pack("<d", theirs) or math.isnan(ours)
        case _:
            return bool(ours == theirs)


def _avro(schema: TickSchema) -> Surface:
    def reference(value: bytes | None) -> Verdict:
        return judge_avro(schema.bound, schema.reader, value, 0, NOW_US, SKEW_US)

    def judge(values: Sequence[bytes | None], chance: Random) -> list[str]:
        for value in values:
            if value is not None:
                check_walk(schema, value)
        return check(_decoder(schema), values, chance, reference)

    return Surface(
        f"avro-{schema.name}",
        lambda chance: _maybe_null(chance, mutant(chance, schema.node, schema.values)),
        judge,
        good=lambda chance: sane(chance, schema.node, schema.values),
    )


# --- Confluent framing ---------------------------------------------------------------------------

_FRAMED = {7: SCHEMAS[0], 8: SCHEMAS[0], 9: SCHEMAS[0]}
_UNKNOWN = "the registry has no such schema"


@cache
def _framed() -> tuple[TickDecoder, dict[int, TickSchema]]:
    """A decoder that knows schemas 7 and 8 (one flat, one not), and that 9 cannot be used."""
    flat, deep = SCHEMAS[1], SCHEMAS[2]
    settings = TickSettings(registry_url="http://127.0.0.1:9", **flat.mapping)
    decoder = TickDecoder(settings, max_future_skew_us=SKEW_US)
    framed = decoder._framed
    assert framed is not None
    known = {7: flat, 8: deep}
    for number, schema in known.items():
        registered = RegisteredSchema(orjson.dumps(schema.schema).decode(), "AVRO", {})
        framed._known.readers[number] = framed._reader(number, registered.parse())
    framed._known.unusable[9] = "an Avro schema is required"
    return decoder, known


def _framed_value(chance: Random) -> bytes | None:
    _, known = _framed()
    number = chance.choice((7, 8))
    schema = known[number]
    make = sane if chance.random() < 0.3 else mutant
    value = frame(number, make(chance, schema.node, schema.values))
    match chance.randrange(8):
        case 0:
            value = frame(chance.choice((9, 10, 0, 2**32 - 1, 8, 7)), value[5:])
        case 1:
            value = bytes([chance.choice((1, 0xFF))]) + value[1:]
        case 2:
            value = value[: chance.randrange(6)]
        case 3:
            value = damaged(chance, value[:5]) + value[5:]
        case 4:
            value = frame(number, value)  # framed twice
    return _maybe_null(chance, value)


def _judge_framed(values: Sequence[bytes | None], chance: Random) -> list[str]:
    decoder, known = _framed()
    framed = decoder._framed
    assert framed is not None
    # what the registry would say of every other id
    framed._known.unusable |= dict.fromkeys(decoder.missing_schema_ids(values), _UNKNOWN)

    def reference(value: bytes | None) -> Verdict:
        if value is None or len(value) < 5 or value[0]:
            return "undecodable"
        schema = known.get(int.from_bytes(value[1:5], "big"))
        if schema is None:
            return "undecodable"
        return judge_avro(schema.bound, schema.reader, value, 5, NOW_US, SKEW_US)

    outcome = check(decoder, values, chance, reference)
    if len(framed._known.unusable) > 50_000:
        framed._known.unusable.clear()
        framed._known.unusable[9] = "an Avro schema is required"
    return outcome


# --- JSON ----------------------------------------------------------------------------------------

_SCALARS: tuple[bytes, ...] = (
    b"1e400", b"-1e400", b"1" + b"0" * 30, b"-0", b"-0.0", b"0.1e-400", b"18446744073709551616",
    b"9223372036854775808", b"-9223372036854775809", b"NaN", b"Infinity", b"-Infinity", b"nan",
    b"null",
    b"true", b"false", b'""', b'" "', b'"nan"', b'"1.5"', b'"1e400"', b'"\\u0000"', b'"\\ud800"',
    b'"\\udc00"',
    b'"\\ud83d\\ude00"', b'"\xed\xa0\x80"', b'"\xff"', b"[]", b"{}", b"[1]", b'{"a":1}', b"01",
    b"1.", b".5",
    b"+1", b"1e", b"0x1", b"'1'", b'"A\\u0000B"', b'"' + b"x" * 201 + b'"',
    b'"' + b"9" * 41 + b'"', b"1e5",
    b'"' + b"1" * 30_000 + b'x"', b'"2023-11-14T22:13:20Z"', b'"2023-11-14T25:00"', b"1700000000",
    b"1700000000.5", b"1700000000000", b"1700000000000000000", b"253402300800000000", b"-1",
    b"1" + b"7" * 400, b'"' + b"\\u0041" * 300 + b'"', b'"\xef\xbb\xbfA"',
)  # fmt: skip
_DEPTHS = (2, 50, 500, 900, 990, 1000, 1010, 1022, 1023, 1024, 1025, 5_000)
_JSON_FIELDS = (b"broker", b"symbol", b"time", b"price", b"size")


def _json_good(chance: Random) -> bytes:
    time = NOW_US - chance.randrange(10**9)
    spelled = chance.choice((str(time), str(time // 1000), f"{time / 1e6}", f"{time}000"))
    return _json_tick(chance, spelled, str(chance.randrange(10**6) / 8))


def _scaled_good(chance: Random) -> bytes:
    time = _iso(NOW_US - chance.randrange(10**9)).decode()
    return _json_tick(chance, time, str(chance.randrange(10**6)))


def _json_tick(chance: Random, spelled: str, price: str) -> bytes:
    symbol = chance.choice(("A", "b", "É"))
    row = f'"broker":"LSE","symbol":"{symbol}","time":{spelled},"price":{price}'
    return f'{{{row},"size":{chance.randrange(9)}}}'.encode()


def _scalar(chance: Random) -> bytes:
    if chance.random() < 0.06:
        depth = chance.choice(_DEPTHS)
        opened, shut = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
        return opened * depth + b"1" + shut * depth
    return chance.choice(_SCALARS)


def _iso(time_us: int) -> bytes:
    when = datetime.fromtimestamp(time_us // 10**6, UTC).replace(microsecond=time_us % 10**6)
    return b'"%s"' % when.isoformat().encode()


def _json_value(chance: Random) -> bytes | None:
    return json_mutant(chance, "LSE", "a", NOW_US - chance.randrange(10**9))


def _scaled_value(chance: Random) -> bytes | None:
    time, price = _iso(NOW_US - chance.randrange(10**9)), b"%d" % chance.randrange(10**6)
    return _almost(chance, "LSE", "a", time, price)


def json_mutant(chance: Random, broker: str, symbol: str, time_us: int) -> bytes | None:
    """Something that is almost a tick of that series and time, or is one all the same."""
    return _almost(chance, broker, symbol, b"%d" % time_us, b"%d.5" % chance.randrange(999))


def _almost(chance: Random, broker: str, symbol: str, time: bytes, price: bytes) -> bytes | None:
    fields = {
        b"broker": b'"%s"' % broker.encode(), b"symbol": b'"%s"' % symbol.encode(),
        b"time": time, b"price": price, b"size": b"1",
    }  # fmt: skip
    for _ in range(chance.choice((0, 1, 1, 1, 2))):
        fields[chance.choice(_JSON_FIELDS)] = _scalar(chance)
    if chance.random() < 0.1:
        del fields[chance.choice(_JSON_FIELDS)]
    pairs = list(fields.items())
    if chance.random() < 0.15:  # twice: the last one counts
        pairs.append((chance.choice(_JSON_FIELDS), _scalar(chance)))
    if chance.random() < 0.15:
        pairs.append(
            (chance.choice((b"x", b"", b"\\u0000", b"price.x", b"PRICE")), _scalar(chance))
        )
    chance.shuffle(pairs)
    body = b"{" + b",".join(b'"%s":%s' % pair for pair in pairs) + b"}"
    match chance.randrange(12):
        case 0:
            body = damaged(chance, body)
        case 1:
            body = b"\xef\xbb\xbf" + body
        case 2:
            body = chance.choice(
                (b"[%s]" % body, b" \n%s\t" % body, body + body, body + b"\0", b"\0" + body)
            )
        case 3:
            body = body.decode(errors="replace").encode("utf-16")
        case 4:
            body = _scalar(chance)
    return _maybe_null(chance, body)


_JSON_SETTINGS = {
    "json": {},
    "json-scaled-iso": {"price_scale": 3, "time_unit": "iso"},
    "json-seconds": {"time_unit": "s", "size": None},
    "json-nanos": {"time_unit": "ns", "broker_constant": "here"},
}


def _json(name: str) -> Surface:
    settings = TickSettings(format="json", **_JSON_SETTINGS[name])  # type: ignore[arg-type]
    decoder = TickDecoder(settings, max_future_skew_us=SKEW_US)

    def reference(value: bytes | None) -> Verdict:
        return judge_json(settings, value, NOW_US, SKEW_US)

    scaled = settings.price_scale > 0
    return Surface(
        name,
        _scaled_value if scaled else _json_value,
        lambda values, chance: check(decoder, values, chance, reference),
        good=_scaled_good if scaled else _json_good,
    )


def surfaces() -> list[Surface]:
    """Every kind of tick."""
    return [
        *(_avro(schema) for schema in SCHEMAS),
        Surface("avro-framed", _framed_value, _judge_framed),
        *(_json(name) for name in _JSON_SETTINGS),
    ]
