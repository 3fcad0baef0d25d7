"""Bodies read byte by byte."""

from __future__ import annotations

import time
from typing import Any

import pytest

from barstream.codecs.avro.reference import MalformedError, read_body, reader_of
from barstream.codecs.avro.schema import parse_wire


def reader(items: Any) -> Any:
    field = {"name": "f", "type": {"type": "array", "items": items}}
    return reader_of(parse_wire({"type": "record", "name": "R", "fields": [field]}))


@pytest.mark.parametrize(
    "items",
    [
        "null",
        {"type": "fixed", "name": "F", "size": 0},
        {"type": "record", "name": "E", "fields": [{"name": "n", "type": "null"}]},
    ],
)
def test_items_without_bytes_are_not_counted_one_by_one(items: Any) -> None:
    # 200,000 blocks of two bytes that claim 500 items each: 100 million turns of a loop
    body = b"\xe8\x07" * 200_000 + b"\0"
    began = time.perf_counter()
    assert read_body(reader(items), body) == {"f": None}
    assert time.perf_counter() - began < 2


def test_more_items_than_bytes_can_hold_are_refused() -> None:
    with pytest.raises(MalformedError, match="items"):
        read_body(reader("long"), b"\xfe\xff\xff\xff\x0f\0")
