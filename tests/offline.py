"""Bars computed straight from ticks by polars: nothing of barstream is used here.

What a worker publishes is held to this, field by field.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

MINUTE_US = 60_000_000


def bars_of(
    ticks: pl.DataFrame,
    sessions: Iterable[tuple[int, int]] | None = None,
    until_us: int | None = None,
) -> pl.DataFrame:
    """Every bar of one series, empty minutes filled.

    Args:
        ticks: columns ``time_us``, ``price``, ``size``, ``offset`` (order of arrival).
        sessions: [open_us, close_us) pairs; None: always open.
        until_us: fill up to this minute (exclusive); by default to the last tick's.

    Returns:
        One row a minute: bucket_start, open, high, low, close, volume, tick_count, open_time,
        close_time, synthetic; ascending.
    """
    rows = list(sessions) if sessions is not None else None
    if rows is not None:
        inside = pl.any_horizontal(
            [
                pl.col("time_us").is_between(open_us, close_us, closed="left")
                for open_us, close_us in rows
            ]
        )
        ticks = ticks.filter(inside)
    bars = (
        ticks.sort("time_us", "offset")
        .with_columns(bucket_start=pl.col("time_us") // MINUTE_US * MINUTE_US)
        .group_by("bucket_start", maintain_order=True)
        .agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            volume=pl.col("size").sum(),
            tick_count=pl.len(),
            open_time=pl.col("time_us").first(),
            close_time=pl.col("time_us").last(),
        )
        .sort("bucket_start")
    )
    first, last = int(bars["bucket_start"][0]), int(bars["bucket_start"][-1])
    end = max(last + MINUTE_US, until_us or 0)
    minutes = _minutes(rows, first, end)
    grid = pl.DataFrame({"bucket_start": minutes}, schema={"bucket_start": pl.Int64})
    full = grid.join(bars, on="bucket_start", how="left").sort("bucket_start")
    flat = pl.col("close").forward_fill()
    return full.with_columns(
        synthetic=pl.col("tick_count").is_null(),
        open=pl.col("open").fill_null(flat),
        high=pl.col("high").fill_null(flat),
        low=pl.col("low").fill_null(flat),
        close=flat,
        volume=pl.col("volume").fill_null(0.0),
        tick_count=pl.col("tick_count").fill_null(0).cast(pl.Int64),
    )


def _minutes(sessions: list[tuple[int, int]] | None, first: int, end: int) -> list[int]:
    if sessions is None:
        return list(range(first, end, MINUTE_US))
    minutes: set[int] = set()
    for open_us, close_us in sessions:
        start = max(first, open_us // MINUTE_US * MINUTE_US)
        minutes.update(range(start, min(end, -(-close_us // MINUTE_US) * MINUTE_US), MINUTE_US))
    return sorted(minutes)


FIELDS = (
    "bucket_start", "open", "high", "low", "close", "volume", "tick_count", "open_time",
    "close_time", "synthetic",
)  # fmt: skip


def differences(expected: pl.DataFrame, published: Iterable[dict[str, Any]]) -> list[str]:
    """Every field in which published bars (rows of ``bar.avsc``) are not the expected ones."""
    wanted = {row["bucket_start"]: row for row in expected.iter_rows(named=True)}
    found = {row["bucket_start"]: row for row in published}
    problems = [f"missing {start}" for start in sorted(wanted.keys() - found.keys())]
    problems += [f"not expected {start}" for start in sorted(found.keys() - wanted.keys())]
    for start in sorted(wanted.keys() & found.keys()):
        problems += [
            f"{start} {name}: expected {wanted[start][name]!r}, published {found[start][name]!r}"
            for name in FIELDS
            if wanted[start][name] != found[start][name]
        ]
    return problems
