"""After a final, the live record of its bucket equals it, byte for byte."""

from __future__ import annotations

import polars as pl

from barstream.codecs.topics.bar import decode_bar
from barstream.verify.findings import Finding, Findings
from barstream.verify.published_bars import Published
from barstream.verify.series_number import SeriesNumbers


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
        live: the newest records, see `barstream.log.compaction`, read after the finals.
        begin: first offset of the live topic; above 0 records may be gone.
        series: numbers the series.
        partition: number of the partition.
        timeframe: of the bars.
        findings: takes what differs.
    """
    live = live.select("key", live="value", live_offset="offset")
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
