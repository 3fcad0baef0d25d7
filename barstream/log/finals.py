"""Bars as a topic of finals (or of live bars) holds them: every version, in log order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl
import pyarrow as pa

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.bar import bar_columns, bar_of, decode_bar, decode_columns
from barstream.kafka.cluster import Cluster
from barstream.log.selection import Selection
from barstream.log.snapshot import Spans, chunks
from barstream.model.bar import Bar
from barstream.model.bar_fields import BAR_FIELDS, EXACT_FIELDS, FieldKind

_TYPES: Final[Mapping[FieldKind, type[pl.DataType]]] = {
    FieldKind.TEXT: pl.String,
    FieldKind.BUCKET: pl.Int64,
    FieldKind.TIME: pl.Int64,
    FieldKind.DATE: pl.Int32,
    FieldKind.INT: pl.Int32,
    FieldKind.LONG: pl.Int64,
    FieldKind.FLOAT: pl.Float64,
    FieldKind.FLAG: pl.Boolean,
}
#: Fields of ``bar.avsc`` and the types of their columns; times in microseconds, dates in days.
FIELDS: Final[Mapping[str, type[pl.DataType]]] = {
    **{field.name: _TYPES[field.kind] for field in BAR_FIELDS},
    **{field.name: pl.String for field in EXACT_FIELDS},
}
#: Where and when a version was written, and what it is: ``kind`` is ``bar``, ``tombstone`` or
#: ``unreadable``; the fields are null unless it is a bar.
PLACE: Final[Mapping[str, type[pl.DataType]]] = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "appended_us": pl.Int64,
    "key": pl.Binary,
    "kind": pl.String,
    "value": pl.Binary,
}
SCHEMA: Final[Mapping[str, type[pl.DataType]]] = {**PLACE, **FIELDS}


async def versions(
    cluster: Cluster, topic: str, spans: Spans, wanted: Selection | None = None
) -> pl.DataFrame:
    """Every record of the bars asked for: columns `PLACE` and `FIELDS`, in log order by partition.

    Args:
        cluster: where the topic is.
        topic: of bars.
        spans: what to read, see `barstream.log.snapshot.held`.
        wanted: which bars, judged by their keys; by default all.

    Raises:
        HistoryGone, ReadingStalled: the spans cannot be read.
    """
    wanted = wanted or Selection()
    parts: list[pl.DataFrame] = []
    async for chunk in chunks(cluster, topic, spans):
        at = wanted.positions(chunk.keys)
        if at:
            parts.append(frame_of(chunk, at))
    whole = pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)
    return whole.sort("partition", "offset")


def frame_of(chunk: RecordChunk, at: list[int]) -> pl.DataFrame:
    """The records of a chunk at positions ``at``, as `versions` gives them."""
    values = [chunk.values[position] for position in at]
    fields, kinds = _decoded(values)
    return pl.DataFrame(
        {
            "partition": [chunk.partition] * len(at),
            "offset": chunk.offsets[at],
            "appended_us": chunk.timestamps_us[at],
            "key": [chunk.keys[position] for position in at],
            "kind": kinds,
            "value": values,
        },
        schema=PLACE,
    ).hstack(fields)


def _decoded(values: list[bytes | None]) -> tuple[pl.DataFrame, list[str]]:
    present = [value for value in values if value is not None]
    kinds = ["tombstone" if value is None else "bar" for value in values]
    try:
        columns: Any = decode_columns(present) if present else None
    except ValueError:  # one is no bar at all
        return _one_by_one(values, kinds)
    if columns is None:
        return pl.DataFrame({name: [None] * len(values) for name in FIELDS}, schema=FIELDS), kinds
    table = pa.Table.from_batches([columns])
    found = pl.DataFrame(pl.from_arrow(table)).select(
        pl.col(name).cast(kind) for name, kind in FIELDS.items()
    )
    if len(present) == len(values):
        return found, kinds
    places = pl.DataFrame({"at": [n for n, value in enumerate(values) if value is not None]})
    every = pl.DataFrame({"at": range(len(values))}, schema={"at": pl.Int64})
    joined = every.join(places.hstack(found), on="at", how="left", maintain_order="left")
    return joined.select(list(FIELDS)), kinds


def _one_by_one(values: list[bytes | None], kinds: list[str]) -> tuple[pl.DataFrame, list[str]]:
    rows: list[dict[str, Any]] = []
    for at, value in enumerate(values):
        bar: Bar | None = None
        if value is not None:
            try:
                bar = decode_bar(value)
            except ValueError:
                kinds[at] = "unreadable"
        rows.append(
            dict.fromkeys(FIELDS)
            if bar is None
            else {name: column[0] for name, column in bar_columns([bar]).items()}
        )
    return pl.DataFrame(rows, schema=FIELDS), kinds


def bars(found: pl.DataFrame) -> list[Bar]:
    """The rows that are bars, as bars, in order."""
    return [bar_of(row) for row in found.filter(pl.col("kind") == "bar").iter_rows(named=True)]
