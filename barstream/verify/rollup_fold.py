"""Parents from children, by polars: the independent recomputation of upper bars.

Bars with ticks decide prices and times, synthetic ones only where there is no other; volume and
turnover are the exactly rounded sums of the children's, the latter null where that of a child is.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from barstream.model.bar_fields import NAMES
from barstream.model.key import BAR_KEY
from barstream.verify.minute_fold import VWAP, sums

_VALUES: Final = tuple(name for name in NAMES if name not in BAR_KEY.names)
#: What a parent is folded from, and what comes of it.
CHILD: Final = ("series", "bucket_us", *_VALUES)
#: Fields that follow from the children exactly.
ROLLED: Final = tuple(name for name in _VALUES if name != "revision")


def roll(children: pl.DataFrame) -> pl.DataFrame:
    """One row a parent, ascending by series and bucket, with the columns `CHILD`.

    ``revision`` is the sum of the children's, the least it can be; ``close_offset`` is null where
    that of a child is not known.

    Args:
        children: the columns `CHILD`, and ``parent``: the bucket each belongs to.
    """
    ordered = children.sort("series", "parent", "bucket_us")
    has_ticks = ~pl.col("synthetic")

    def of_real(name: str, how: str) -> pl.Expr:
        every = pl.col(name)
        real = every.filter(has_ticks)
        return pl.coalesce(getattr(real, how)(), getattr(every, how)())

    parents = ordered.group_by("series", "parent", maintain_order=True).agg(
        pl.col("trading_date").first(),
        pl.col("session").first(),
        of_real("open", "first"),
        of_real("high", "max"),
        of_real("low", "min"),
        of_real("close", "last"),
        pl.col("tick_count").sum(),
        pl.col("open_time").filter(has_ticks).first(),
        pl.col("close_time").filter(has_ticks).last(),
        pl.col("synthetic").all(),
        pl.col("revision").sum(),
        pl.col("first_offset").min(),
        pl.col("last_offset").max(),
        pl.when(pl.col("close_offset").null_count() == 0)
        .then(pl.col("close_offset").max())
        .alias("close_offset"),
        count=pl.len().cast(pl.Int64),
        unknown=pl.col("turnover").null_count(),
    )
    counts = parents["count"].to_numpy()
    volume = sums(ordered["volume"].to_numpy(), counts)
    turnover = sums(ordered["turnover"].fill_null(0.0).to_numpy(), counts)
    return (
        parents.with_columns(
            volume=pl.Series(volume, dtype=pl.Float64),
            turnover=pl.when(pl.col("unknown") == 0).then(pl.Series(turnover, dtype=pl.Float64)),
        )
        .with_columns(VWAP)
        .rename({"parent": "bucket_us"})
        .select(CHILD)
    )
