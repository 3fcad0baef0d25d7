"""What compaction leaves: the newest record of each key, however far Kafka has come with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from barstream.kafka.cluster import Cluster
from barstream.log.selection import Selection
from barstream.log.snapshot import Spans, chunks, held

#: ``value`` is null of a tombstone.
SCHEMA: Final[Mapping[str, type[pl.DataType]]] = {
    "partition": pl.Int32,
    "key": pl.Binary,
    "value": pl.Binary,
    "offset": pl.Int64,
}
#: So many records are held before older ones of the same key are dropped.
_THINNED_AT: Final = 500_000


async def newest_records(
    cluster: Cluster, topic: str, spans: Spans, wanted: Selection | None = None
) -> pl.DataFrame:
    """The newest record of each key, tombstones too: columns `SCHEMA`.

    By partition in the order in which keys came first.

    Args:
        cluster: where the cluster is.
        topic: the topic.
        spans: what to read, see `barstream.log.snapshot.held`.
        wanted: which records, judged by their keys; by default all that have one.

    Raises:
        HistoryGone, ReadingStalled: the spans cannot be read.
    """
    wanted = wanted or Selection()
    parts, count = [pl.DataFrame(schema=SCHEMA)], 0
    async for chunk in chunks(cluster, topic, spans):
        at = wanted.positions(chunk.keys)
        part = {
            "partition": [chunk.partition] * len(at),
            "key": [chunk.keys[n] for n in at],
            "value": [chunk.values[n] for n in at],
            "offset": chunk.offsets[at],
        }
        parts.append(_last(pl.DataFrame(part, schema=SCHEMA)))
        count += len(parts[-1])
        if count >= _THINNED_AT:
            parts, count = [_last(pl.concat(parts))], 0
    return _last(pl.concat(parts)).sort("partition", maintain_order=True)


def _last(found: pl.DataFrame) -> pl.DataFrame:
    return found.group_by("partition", "key", maintain_order=True).agg(pl.all().last())


async def newest_values(
    cluster: Cluster, topic: str, partition: int, wanted: Selection | None = None
) -> dict[bytes, bytes]:
    """By key the newest values a partition holds now, without those that were withdrawn.

    Raises:
        HistoryGone, ReadingStalled: the partition cannot be read.
    """
    spans = await held(cluster, topic, [partition])
    found = await newest_records(cluster, topic, spans, wanted)
    return dict(found.select("key", "value").drop_nulls().iter_rows())


def compacted(found: pl.DataFrame) -> pl.DataFrame:
    """The newest record of each key, in the order of ``found``.

    Args:
        found: records of one partition in log order; columns ``key`` and whatever else.
    """
    return found.unique("key", keep="last", maintain_order=True)


def since_tombstones(found: pl.DataFrame) -> pl.DataFrame:
    """Without what came before a tombstone of the same key, in the order of ``found``.

    Args:
        found: as of `compacted`; columns ``key``, ``offset``, ``kind`` and whatever else.
    """
    tombstones = found.filter(pl.col("kind") == "tombstone")
    if tombstones.is_empty():
        return found
    since = tombstones.group_by("key").agg(since=pl.col("offset").max())
    joined = found.join(since, on="key", how="left", maintain_order="left")
    return joined.filter(pl.col("since").is_null() | (pl.col("offset") > pl.col("since"))).drop(
        "since"
    )
