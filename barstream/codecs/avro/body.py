"""Avro bodies of our own topics: schemas are files in the package, rows are dictionaries.

Logical types are left out when reading and writing, so a time is an ``int`` of the unit the
schema states and a date is an ``int`` of days.  Bodies are plain: no header, no framing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any, Final, cast

import fastavro
import numpy as np
import orjson
import pyarrow as pa
import pyruhvro

Schema = dict[str, Any]
#: A sequence, a numpy array or an Arrow array (which has no types to be named by).
Column = Any

_LOGICAL: Final = ("logicalType", "precision", "scale")
#: What serialising in columns was held to byte equality for; the rest goes record by record.
_COLUMNAR: Final = frozenset({"boolean", "int", "long", "float", "double", "string"})
#: Types of which a value is written as it is.
_EXACT: Final = {"boolean": bool, "int": int, "long": int, "double": float, "string": str}
_UNREADABLE: Final = (
    ValueError,
    EOFError,
    LookupError,
    OverflowError,
    MemoryError,
    TypeError,
    AttributeError,
)


@cache
def load_schema(name: str) -> Schema:
    """The packaged schema ``barstream/schemas/{name}.avsc``, as in the file; do not change it.

    Raises:
        FileNotFoundError: there is no such schema.
    """
    text = files("barstream").joinpath("schemas", f"{name}.avsc").read_bytes()
    return cast("Schema", orjson.loads(text))


def without_logical_types(schema: Any) -> Any:
    """``schema`` with every logical type replaced by the type that carries it."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {key: value for key, value in schema.items() if key not in _LOGICAL}
    if "fields" in bare:
        bare["fields"] = [
            {**field, "type": without_logical_types(field["type"])} for field in bare["fields"]
        ]
    for part in ("items", "values"):
        if part in bare:
            bare[part] = without_logical_types(bare[part])
    return bare["type"] if bare.keys() == {"type"} else bare


@cache
def _parsed(name: str) -> Any:
    return fastavro.parse_schema(without_logical_types(load_schema(name)))


@cache
def _columnar(name: str) -> tuple[str, pa.Schema] | None:
    """Schema text and Arrow schema, None when the schema is not one of flat columns."""
    schema = without_logical_types(load_schema(name))
    if not all(_is_column(field["type"]) for field in schema["fields"]):
        return None
    text = orjson.dumps(schema).decode()
    return text, pyruhvro.avro_to_arrow_schema(text)


def _is_column(kind: Any) -> bool:
    if isinstance(kind, list):
        return len(kind) == 2 and kind[0] == "null" and kind[1] in _COLUMNAR
    return isinstance(kind, str) and kind in _COLUMNAR


def encode(name: str, row: Mapping[str, Any]) -> bytes:
    """One plain body of packaged schema ``name``, which says exactly what ``row`` says.

    Raises:
        ValueError: the row lacks a field, or a value does not fit its type; nothing is rounded.
    """
    out = BytesIO()
    try:
        fastavro.schemaless_writer(out, _parsed(name), dict(row), strict_allow_default=True)
    except _UNREADABLE as error:
        raise ValueError(f"not a row of {name}.avsc: {error!r}") from error
    body = out.getvalue()
    if _holds_exactly(name, row):
        return body
    # the library writes 1.5 into a whole number as 1, and 2**53 + 1 into a double as 2**53
    said = decode(name, body)
    for field, value in row.items():
        if field in said and not _is_same(said[field], value):
            raise ValueError(
                f"not a row of {name}.avsc: {field} must be written as it is, and {value!r} would "
                f"be {said[field]!r}"
            )
    return body


def _holds_exactly(name: str, row: Mapping[str, Any]) -> bool:
    """Whether every value is of the one type that its field holds as it is."""
    kinds = _exact_kinds(name)
    return kinds is not None and all(type(row.get(field)) is kind for field, kind in kinds)


@cache
def _exact_kinds(name: str) -> list[tuple[str, type]] | None:
    """By field, None when a value can lie deeper than that."""
    fields = [(field["name"], field["type"]) for field in _parsed(name)["fields"]]
    if not all(isinstance(kind, str) and kind in _EXACT for _, kind in fields):
        return None
    return [(field, _EXACT[kind]) for field, kind in fields]


def _is_same(said: Any, value: Any) -> bool:
    """Whether a value came out as it went in, however deep; no number is a number too."""
    if isinstance(said, list):
        return len(said) == len(value) and all(map(_is_same, said, value))
    if isinstance(said, dict):
        return all(_is_same(said[field], value[field]) for field in said if field in value)
    return bool(said == value or (said != said and value != value))  # noqa: PLR0124


def decode(name: str, value: bytes, schema: Any = None) -> dict[str, Any]:
    """The row in ``value``, one plain body of packaged schema ``name``.

    Args:
        name: a packaged schema.
        value: the body.
        schema: what that schema was when the body was written, parsed; None: as it is.

    Raises:
        ValueError: the bytes are cut short, left over, or no such body.
    """
    body = BytesIO(value)
    try:
        row = fastavro.schemaless_reader(body, schema or _parsed(name), None)
    except _UNREADABLE as error:
        raise ValueError(f"{len(value)} bytes are no body of {name}.avsc: {error!r}") from error
    if body.tell() != len(value):
        raise ValueError(
            f"{len(value) - body.tell()} of {len(value)} bytes are left over after a body of "
            f"{name}.avsc"
        )
    return cast("dict[str, Any]", row)


def encode_batch(name: str, columns: Mapping[str, Column]) -> list[bytes]:
    """Plain bodies of packaged schema ``name``, one per row, byte-identical to `encode`.

    Args:
        name: a packaged schema.
        columns: one sequence, array or Arrow array per field, all of one length.

    Raises:
        ValueError: a column is missing, unknown or of another length, or a value does not fit.
    """
    names = [field["name"] for field in load_schema(name)["fields"]]
    if set(columns) != set(names):
        wrong = sorted(set(columns) ^ set(names))
        raise ValueError(f"exactly the columns of {name}.avsc are required, differing: {wrong}")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns of one length are required, found lengths {sorted(lengths)}")
    flat = _columnar(name)
    if flat is None:
        lists = [_as_list(columns[field]) for field in names]
        rows = zip(*lists, strict=True)
        return [encode(name, dict(zip(names, row, strict=True))) for row in rows]
    text, arrow = flat
    try:
        arrays = [_as_arrow(columns[field.name], field) for field in arrow]
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise ValueError(f"not columns of {name}.avsc: {error}") from error
    batch = pa.RecordBatch.from_arrays(arrays, schema=arrow)
    return serialize(batch, text)


def decode_batch(name: str, values: Sequence[bytes]) -> pa.RecordBatch:
    """The rows in ``values`` as columns; for topics we write, where a bad body is a defect.

    Raises:
        ValueError: a body is no body of ``name``; which one is not said.
    """
    flat = _columnar(name)
    if flat is None:
        return pa.RecordBatch.from_pylist([decode(name, value) for value in values])
    return pyruhvro.deserialize_array(list(values), flat[0])


def serialize(batch: pa.RecordBatch, schema_text: str) -> list[bytes]:
    """Plain bodies of the rows of ``batch``, whose columns are those of ``schema_text``."""
    if not batch.num_rows:
        return []
    chunks = pyruhvro.serialize_record_batch(batch, schema_text, 1)
    return [body for chunk in chunks for body in chunk.to_pylist()]


def _as_arrow(column: Column, field: pa.Field) -> pa.Array:
    if isinstance(column, np.ndarray) and column.dtype.kind == "U":
        column = column.tolist()
    if isinstance(column, pa.Array | pa.ChunkedArray):
        array = column.cast(field.type)
    elif isinstance(column, np.ndarray) or not pa.types.is_integer(field.type):
        array = pa.array(column, field.type)
    else:
        array = pa.array(column)
        # a sequence of floats would be cut without a word
        if pa.types.is_floating(array.type):
            array = array.cast(field.type)
        elif array.type != field.type:
            array = pa.array(column, field.type)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count and not field.nullable:
        raise TypeError(f"column {field.name} has {array.null_count} nulls and may have none")
    return array


def _as_list(column: Column) -> Sequence[Any]:
    if isinstance(column, np.ndarray):
        return cast("Sequence[Any]", column.tolist())
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return cast("Sequence[Any]", column.to_pylist())
    return cast("Sequence[Any]", column)
