"""Bars of any period computed straight from ticks by polars: nothing of barstream is used here.

Where a bucket begins is what `dt.truncate` of polars says; only the grid that starts anew at each
open is worked out by hand.  A timeframe is its text: ``5m``, ``4h+1h``, ``1h@session``, ``1wk``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from tests.offline import MINUTE_US
from tests.reference.series import LARGEST, rounded_sum, vwap

Session = tuple[int, int, int, int]
"""trading_date (days since 1970-01-01), number, open_us, close_us."""

FIELDS = (
    "bucket_start", "trading_date", "session", "open", "high", "low", "close", "volume", "turnover",
    "vwap", "tick_count", "open_time", "close_time", "synthetic", "first_offset", "last_offset",
)  # fmt: skip


def minutes_of(sessions: Iterable[Session]) -> pl.DataFrame:
    """Every in-session minute, ascending: minute, trading_date, session, open."""
    columns = ["trading_date", "session", "open", "close"]
    rows = pl.DataFrame(list(sessions), schema=dict.fromkeys(columns, pl.Int64), orient="row")
    floor = pl.col("open") // MINUTE_US * MINUTE_US
    ceil = -(-pl.col("close") // MINUTE_US) * MINUTE_US
    return (
        rows.with_columns(minute=pl.int_ranges(floor, ceil, MINUTE_US))
        .explode("minute")
        .select("minute", "trading_date", "session", "open")
        .sort("minute")
    )


def in_session(ticks: pl.DataFrame, sessions: Iterable[Session]) -> pl.DataFrame:
    """The ticks with open <= time < close of a session."""
    inside = [
        pl.col("time_us").is_between(open_us, close_us, closed="left")
        for _, _, open_us, close_us in sessions
    ]
    return ticks.filter(pl.any_horizontal(inside))


def with_buckets(minutes: pl.DataFrame, timeframe: str) -> pl.DataFrame:
    """The minutes, and in ``bucket`` the start of the bucket of each."""
    text, _, anchor = timeframe.partition("@")
    every, _, offset = text.partition("+")
    every, offset = every.replace("wk", "w"), offset.replace("wk", "w") or "0m"
    if every.endswith(("d", "w", "mo")):
        dates = pl.col("trading_date").cast(pl.Int32).cast(pl.Date)
        return minutes.with_columns(bucket=_epoch_us(_truncated(dates, every, offset)))
    if anchor:
        start = pl.col("open") // MINUTE_US * MINUTE_US
        size = int(every[:-1]) * {"m": 1, "h": 60}[every[-1]] * MINUTE_US
        return minutes.with_columns(
            bucket=start + (pl.col("minute") - start) // size * size,
        )
    instants = pl.from_epoch("minute", time_unit="us")
    return minutes.with_columns(bucket=_epoch_us(_truncated(instants, every, offset)))


def _truncated(times: pl.Expr, every: str, offset: str) -> pl.Expr:
    return times.dt.offset_by(f"-{offset}").dt.truncate(every).dt.offset_by(offset)


def _epoch_us(times: pl.Expr) -> pl.Expr:
    return times.cast(pl.Datetime("us")).dt.epoch("us")


def bucket_end(bucket_us: int, timeframe: str) -> int:
    """Where the next bucket of a grid without sessions begins, microseconds."""
    every = timeframe.partition("@")[0].partition("+")[0].replace("wk", "w")
    start = pl.Series([bucket_us]).cast(pl.Datetime("us"))
    return int(start.dt.offset_by(every).dt.epoch("us")[0])


def rolled(ticks: pl.DataFrame, minutes: pl.DataFrame, timeframe: str) -> pl.DataFrame:
    """Every bar of one series and one timeframe, from the first minute to the last of ``minutes``.

    Prices, times and counts are taken straight from the ticks.  So is ``volume_of_ticks``, their
    exactly rounded sum; ``volume`` is rounded a minute at a time, then (weeks and months) a day at
    a time, which is another number where the sizes of a minute do not add up to a float.

    Args:
        ticks: the accepted ones, columns ``time_us``, ``price``, ``size``, ``offset``; where some
            come within a close tolerance ``placed_us``, which decides their minutes.
        minutes: those with a bar, as `minutes_of` gives them, ascending, ``close_offset`` besides
            if that is wanted.  Every tick lies in one.

    Returns:
        The columns of ``FIELDS``, ``volume_of_ticks``, ``last_minute`` and, if it was given,
        ``close_offset``; ascending.
    """
    at = "placed_us" if "placed_us" in ticks.columns else "time_us"
    placed = with_buckets(minutes, timeframe)
    offsets = [pl.col("close_offset").max()] if "close_offset" in minutes.columns else []
    grid = placed.group_by("bucket").agg(
        pl.col("trading_date").first(),
        pl.col("session").first(),
        *offsets,
        last_minute=pl.col("minute").max(),
    )
    of_minute = placed.select("minute", "bucket", day="trading_date")
    inside = (
        ticks.with_columns(minute=pl.col(at) // MINUTE_US * MINUTE_US)
        .join(of_minute, on="minute", how="left", validate="m:1")
        .sort("time_us", "offset")
    )
    if inside["bucket"].null_count():
        raise ValueError(f"a tick without a minute: {inside.filter(pl.col('bucket').is_null())}")
    bars = inside.group_by("bucket").agg(
        open=pl.col("price").first(),
        high=pl.col("price").max(),
        low=pl.col("price").min(),
        close=pl.col("price").last(),
        tick_count=pl.len().cast(pl.Int64),
        open_time=pl.col("time_us").first(),
        close_time=pl.col("time_us").last(),
        first_offset=pl.col("offset").min(),
        last_offset=pl.col("offset").max(),
    )
    minute, day, bucket = ["bucket", "day", "minute"], ["bucket", "day"], ["bucket"]
    of_days = timeframe.endswith(("wk", "mo"))
    levels = [minute, *([day] if of_days else []), bucket]
    volume = _summed(inside, pl.col("size"), *levels).rename({"sum": "volume"})
    paid = (pl.col("price") * pl.col("size")).clip(-LARGEST, LARGEST)
    spent = _summed(inside, paid, *levels).rename({"sum": "turnover"})
    straight = _summed(inside, pl.col("size"), bucket).rename({"sum": "volume_of_ticks"})
    full = (
        grid.join(bars, on="bucket", how="left")
        .join(volume, on="bucket", how="left")
        .join(spent, on="bucket", how="left")
        .join(straight, on="bucket", how="left")
        .sort("bucket")
        .rename({"bucket": "bucket_start"})
    )
    flat = pl.col("close").forward_fill()
    full = full.with_columns(
        *(pl.col(name).fill_null(flat) for name in ("open", "high", "low")),
        *(
            pl.col(name).fill_null(0)
            for name in ("tick_count", "volume", "turnover", "volume_of_ticks")
        ),
        close=flat,
        synthetic=pl.col("tick_count").is_null(),
    )
    by_volume = [vwap(*row) for row in full.select("turnover", "volume").iter_rows()]
    return full.with_columns(vwap=pl.Series(by_volume, dtype=pl.Float64))


def _summed(ticks: pl.DataFrame, what: pl.Expr, *levels: list[str]) -> pl.DataFrame:
    """``sum`` by bucket: the exactly rounded sum of ``what``, of those sums, and so on."""
    sums = ticks.with_columns(sum=what)
    for keys in levels:
        parts = sums.group_by(keys).agg("sum")
        total = [rounded_sum(part) for part in parts["sum"].to_list()]
        sums = parts.with_columns(sum=pl.Series(total, dtype=pl.Float64))
    return sums


def closed_buckets(minutes: pl.DataFrame, timeframe: str, closed_until_us: int) -> set[int]:
    """Buckets none of whose in-session minutes is at or after ``closed_until_us``."""
    last = with_buckets(minutes, timeframe).group_by("bucket").agg(pl.col("minute").max())
    return set(last.filter(pl.col("minute") < closed_until_us)["bucket"].to_list())


def differences(expected: pl.DataFrame, found: Iterable[dict[str, Any]]) -> list[str]:
    """Every field in which bars (rows of ``bar.avsc``) are not the expected ones."""
    wanted = {row["bucket_start"]: row for row in expected.iter_rows(named=True)}
    bars = {row["bucket_start"]: row for row in found}
    problems = [f"missing {start}" for start in sorted(wanted.keys() - bars.keys())]
    problems += [f"not expected {start}" for start in sorted(bars.keys() - wanted.keys())]
    return problems + [
        f"{start} {name}: expected {wanted[start][name]!r}, found {bars[start][name]!r}"
        for start in sorted(wanted.keys() & bars.keys())
        for name in FIELDS
        if wanted[start][name] != bars[start][name]
    ]
