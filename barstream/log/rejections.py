"""Rejected ticks by the place in the tick topic they came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import polars as pl

from barstream.kafka.clients import ConsumerRecord
from barstream.kafka.cluster import Cluster
from barstream.log.snapshot import Spans, records

#: ``tick_offset`` is the offset in the tick topic; ``offset`` that of the record that says so.
SCHEMA: Final[Mapping[str, type[pl.DataType]]] = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "appended_us": pl.Int64,
    "tick_partition": pl.Int32,
    "tick_offset": pl.Int64,
    "reason": pl.String,
    "detail": pl.String,
}


async def rejected(cluster: Cluster, topic: str, spans: Spans, ticks: str) -> pl.DataFrame:
    """Rejected ticks of topic ``ticks``, columns `SCHEMA`, in log order by partition.

    Records without the headers that every one of ours has are left out, as are those of other
    tick topics.

    Raises:
        HistoryGone, ReadingStalled: the spans cannot be read.
    """
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA}
    async for record in records(cluster, topic, spans):
        row = place_of(record, ticks)
        if row is None:
            continue
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return pl.DataFrame(columns, schema=SCHEMA).sort("partition", "offset")


class Place(NamedTuple):
    """A row of `SCHEMA`."""

    partition: int
    offset: int
    appended_us: int
    tick_partition: int
    tick_offset: int
    reason: str
    detail: str


def place_of(record: ConsumerRecord[bytes, bytes], ticks: str) -> Place | None:
    """What the headers of a record say; None: it is none of ours, or of another tick topic."""
    headers = dict(record.headers)
    try:
        if headers["topic"].decode() != ticks:
            return None
        return Place(
            record.partition,
            record.offset,
            record.timestamp * 1000,
            int(headers["partition"]),
            int(headers["offset"]),
            headers["reason"].decode(),
            headers.get("detail", b"").decode(errors="replace"),
        )
    except (KeyError, ValueError):
        return None
