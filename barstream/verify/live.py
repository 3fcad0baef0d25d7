"""After a final, the live record of its bucket equals it, byte for byte."""

from __future__ import annotations

import polars as pl

from barstream.codecs.topics.bar import decode_bar
from barstream.kafka.cluster import Cluster
from barstream.log.selection import Selection
from barstream.log.snapshot import Span, chunks
from barstream.verify.findings import Finding, Findings
from barstream.verify.published_bars import Published
from barstream.verify.series_number import SeriesNumbers

#: So many records are held before older versions of the same bar are dropped.
_THINNED_AT = 500_000
_SCHEMA = {"key": pl.Binary, "live": pl.Binary, "live_offset": pl.Int64}


async def newest_live(
    cluster: Cluster, topic: str, partition: int, span: Span, wanted: Selection
) -> pl.DataFrame:
    """Key, value (``live``) and offset of the newest record of each bar asked for."""
    found = pl.DataFrame(schema=_SCHEMA)
    parts: list[pl.DataFrame] = [found]
    held = 0
    async for chunk in chunks(cluster, topic, {partition: span}):
        at = wanted.positions(chunk.keys)
        parts.append(
            pl.DataFrame(
                {
                    "key": [chunk.keys[n] for n in at],
                    "live": [chunk.values[n] for n in at],
                    "live_offset": chunk.offsets[at],
                },
                schema=_SCHEMA,
            ).unique("key", keep="last", maintain_order=True)
        )
        held += len(parts[-1])
        if held >= _THINNED_AT:
            found = pl.concat(parts).unique("key", keep="last", maintain_order=True)
            parts, held = [found], 0
    return pl.concat(parts).unique("key", keep="last", maintain_order=True)


def check_live(
    published: Published,
    live: pl.DataFrame,
    begin: int,
    series: SeriesNumbers,
    partition: int,
    timeframe: str,
    findings: Findings,
) -> None:
    """Compare the newest live records with the finals.

    Args:
        published: the finals.
        live: as `newest_live` gives it, read after the finals.
        begin: first offset of the live topic; above 0 records may be gone.
        series: numbers the series.
        partition: number of the partition.
        timeframe: of the bars.
        findings: takes what differs.
    """
    joined = published.bars.join(live, on="key", how="left", maintain_order="left")
    odd = joined.filter(pl.col("live").ne_missing(pl.col("value")))
    for row in odd.iter_rows(named=True):
        gone = row["live"] is None and row["live_offset"] is None and begin > 0
        if row["live"] is not None and _is_newer(row["live"], row["revision"], row["close_offset"]):
            continue  # revised after the finals were read
        if row["live"] is None:
            detail = "its live record must equal the final; there is none"
        else:
            detail = f"its live record at offset {row['live_offset']} must equal the final"
        name = series.names[row["series"]]
        findings.add(
            Finding(
                "unproven" if gone else "difference", "live", partition, detail,
                name[0], name[1], timeframe, row["bucket_us"],
            )
        )  # fmt: skip


def _is_newer(value: bytes, revision: int, close_offset: int | None) -> bool:
    try:
        bar = decode_bar(value)
    except ValueError:
        return False
    return bar.revision > revision and (bar.close_offset or 0) > (close_offset or 0)
