"""What a well-formed record is does not depend on how it is looked at."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.codecs.avro.columns import ColumnReader
from barstream.codecs.avro.reference import MalformedError, read_body, reader_of
from barstream.codecs.avro.row_layout import flatten
from barstream.codecs.avro.validation import scan
from tests.examples import examples
from tests.property.avro_cases import almost_records, records_of, schemas, tree, write

relaxed = settings(
    deadline=None,
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def well_formed(schema: Any, body: bytes) -> bool:
    try:
        read_body(reader_of(tree(schema)), body)
    except MalformedError:
        return False
    return True


@relaxed
@given(st.data(), st.booleans())
def test_whatever_fastavro_writes_is_well_formed(data: st.DataObject, flat: bool) -> None:
    schema = data.draw(schemas(flat=flat))
    body = write(schema, data.draw(records_of(schema)))
    assert well_formed(schema, body)
    assert not well_formed(schema, body + b"\0")
    assert not any(well_formed(schema, body[:end]) for end in range(len(body)))


@relaxed
@given(st.data(), st.booleans())
def test_what_is_well_formed_fastavro_reads_to_the_end(data: st.DataObject, flat: bool) -> None:
    schema = data.draw(schemas(flat=flat))
    for body in data.draw(almost_records(schema)):
        if well_formed(schema, body):
            stream = BytesIO(body)
            fastavro.schemaless_reader(stream, schema, None)
            assert stream.tell() == len(body)


@relaxed
@given(st.data())
def test_bodies_are_well_formed_in_columns_as_they_are_one_by_one(data: st.DataObject) -> None:
    schema = data.draw(schemas(flat=True))
    slots = flatten(tree(schema))
    assert slots is not None
    bodies = data.draw(almost_records(schema))
    sound = np.ones(len(bodies), np.bool_)
    for _, bad in scan(bodies, slots, 0):
        assert sound[bad].all(), "said of a record twice"
        sound[bad] = False
    if sound.any():
        kept = np.flatnonzero(sound)
        survivors = [bodies[at] for at in kept]
        columns = ColumnReader(slots, framed=False).read_sound(survivors)
        for _, garbled in columns.not_utf8():
            sound[kept[garbled]] = False
    assert sound.tolist() == [well_formed(schema, body) for body in bodies]


@relaxed
@given(st.data())
def test_a_list_read_at_once_has_only_well_formed_bodies(data: st.DataObject) -> None:
    schema = data.draw(schemas(flat=True))
    slots = flatten(tree(schema))
    assert slots is not None
    bodies = data.draw(almost_records(schema, most=3)) or [b""]
    try:
        columns = ColumnReader(slots, framed=False).read(bodies)
    except ValueError:
        return
    bad = np.zeros(len(bodies), np.bool_)
    for _, mask in columns.not_utf8():
        bad |= mask
    assert (~bad).tolist() == [well_formed(schema, body) for body in bodies]


@relaxed
@given(st.data())
def test_columns_hold_the_values_fastavro_reads(data: st.DataObject) -> None:
    schema = data.draw(schemas(flat=True))
    slots = flatten(tree(schema))
    assert slots is not None
    bodies = [
        write(schema, r) for r in data.draw(st.lists(records_of(schema), min_size=1, max_size=6))
    ]
    columns = ColumnReader(slots, framed=False).read(bodies)
    rows = [fastavro.schemaless_reader(BytesIO(body), schema, None) for body in bodies]
    for slot in slots:
        expected: list[Any] = rows
        for name in slot.path.split("."):
            expected = [row[name] for row in expected]
        absent = columns.absent(slot.path)
        assert (np.zeros(len(rows), bool) if absent is None else absent).tolist() == [
            value is None for value in expected
        ]
        present = [at for at, value in enumerate(expected) if value is not None]
        wanted = [expected[at] for at in present]
        if slot.kind in ("varint", "float", "double"):
            found = columns.values(slot.path)[present]
            np.testing.assert_array_equal(found, np.array(wanted, found.dtype))
        elif slot.kind in ("bytes", "fixed"):
            blobs = columns.blobs(slot.path)
            assert [blobs[at] for at in present] == wanted
        elif slot.kind == "string":
            codes, words = columns.words(slot.path)
            assert [words[codes[at]].decode() for at in present] == wanted
