"""Heartbeats as the log has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl
import pyarrow as pa

from barstream.codecs.avro.body import decode_batch
from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.heartbeat import decode
from barstream.codecs.topics.withdrawal import Withdrawn
from barstream.kafka.cluster import Cluster
from barstream.log.selection import Selection
from barstream.log.snapshot import Spans, chunks

#: ``appended_us`` is null where the topic has no append times.
SCHEMA: Final[Mapping[str, type[pl.DataType]]] = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "appended_us": pl.Int64,
    "broker": pl.String,
    "symbol": pl.String,
    "bucket_start": pl.Int64,
    "barrier": pl.Int64,
    "sent_at": pl.Int64,
    "source": pl.String,
}
_FIELDS: Final = list(SCHEMA)[3:]


#: ``source`` of a row that stands for a tombstone; its names and numbers are null.
TOMBSTONE: Final = "tombstone"


async def heartbeats(
    cluster: Cluster,
    topic: str,
    spans: Spans,
    wanted: Selection | None = None,
    *,
    tombstones: bool = False,
) -> pl.DataFrame:
    """The heartbeats asked for, columns `SCHEMA`, in log order by partition.

    A record that is no heartbeat is left out: workers ignore it as well.

    Args:
        cluster: where the topic is.
        topic: of heartbeats.
        spans: what to read, see `barstream.log.snapshot.held`.
        wanted: which of them, judged by their keys; by default all.
        tombstones: also the places where heartbeats were withdrawn, see `TOMBSTONE`.

    Raises:
        HistoryGone, ReadingStalled: the spans cannot be read.
    """
    wanted = wanted or Selection()
    parts: list[pl.DataFrame] = []
    async for chunk in chunks(cluster, topic, spans):
        at = [n for n in wanted.positions(chunk.keys) if chunk.values[n] is not None]
        if at:
            parts.append(_frame(chunk, at))
        if tombstones and (at := [n for n, value in enumerate(chunk.values) if value is None]):
            parts.append(_tombstones(chunk, at))
    whole = pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)
    return whole.sort("partition", "offset")


def without_withdrawn(found: pl.DataFrame, withdrawn: Withdrawn) -> pl.DataFrame:
    """Those that no drop of their series withdrew."""
    is_gone = pl.lit(value=False)
    for (broker, symbol), end in withdrawn.ends.items():
        of_series = (pl.col("broker") == broker) & (pl.col("symbol") == symbol)
        is_gone |= of_series & (pl.col("offset") < end.heartbeats)
    return found.filter(~is_gone)


def _tombstones(chunk: RecordChunk, at: list[int]) -> pl.DataFrame:
    rows = {
        "partition": [chunk.partition] * len(at),
        "offset": chunk.offsets[at],
        "appended_us": chunk.timestamps_us[at] if chunk.append_time else [None] * len(at),
        "source": [TOMBSTONE] * len(at),
    }
    nulls = {name: [None] * len(at) for name in SCHEMA if name not in rows}
    return pl.DataFrame(rows | nulls, schema_overrides=SCHEMA).select(list(SCHEMA))


def _frame(chunk: RecordChunk, at: list[int]) -> pl.DataFrame:
    values: list[Any] = [chunk.values[n] for n in at]
    try:
        table = pa.Table.from_batches([decode_batch("heartbeat", values)])
        fields = pl.DataFrame(pl.from_arrow(table))
    except ValueError:  # one of them is none
        at, rows = _sound(values, at)
        fields = pl.DataFrame(rows, schema={name: SCHEMA[name] for name in _FIELDS}, orient="row")
    stamps = chunk.timestamps_us[at]
    return pl.DataFrame(
        {
            "partition": [chunk.partition] * len(at),
            "offset": chunk.offsets[at],
            "appended_us": stamps if chunk.append_time else [None] * len(at),
        },
        schema={name: SCHEMA[name] for name in ("partition", "offset", "appended_us")},
    ).hstack(fields.select(_FIELDS))


def _sound(values: list[bytes], at: list[int]) -> tuple[list[int], list[Any]]:
    places: list[int] = []
    rows: list[Any] = []
    for place, value in zip(at, values, strict=True):
        try:
            rows.append(tuple(decode(value)))
        except ValueError:
            continue
        places.append(place)
    return places, rows
