"""Numbers as they stand in files, with the decimal and thousands marks of whoever wrote them."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from barstream.codecs.ticks.scale import floats_of_longs
from barstream.feeds.layout import TickFileError


def parse_numbers(
    column: pl.Series, *, decimal: str = ".", thousands: str | None = None, scale: int = 0
) -> pl.Series:
    """Float64s of ``column``; null where there is nothing, and where there is no number.

    Args:
        column: text, or numbers, which are taken as they are.
        decimal: the mark before the decimals, in text.
        thousands: the mark between groups of three digits, where they are grouped.
        scale: whole numbers have so many decimal places: 3 makes 86655 the number 86.655.

    Raises:
        TickFileError: the column holds something else.
    """
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Null)):
        raise TickFileError(
            f"column {column.name!r} must hold numbers, found {column.dtype}: map another one"
        )
    if column.dtype.is_integer() and scale:
        return _scaled(column.cast(pl.Int64), scale)
    if column.dtype != pl.String:
        return column.cast(pl.Float64, strict=False)
    if scale:
        whole = column.cast(pl.Int64, strict=False)
        others = column.cast(pl.Float64, strict=False)
        return _scaled(whole, scale).fill_null(others)
    if thousands is not None:
        mark, point = re.escape(thousands), re.escape(decimal)
        grouped = rf"^[+-]?\d{{1,3}}(?:{mark}\d{{3}})+(?:{point}\d*)?$"
        column = pl.select(
            pl.when(column.str.contains(grouped))
            .then(column.str.replace_all(thousands, "", literal=True))
            .otherwise(column)
        ).to_series()
    if decimal != ".":
        # a point that is no decimal mark makes no number
        column = column.str.replace(".", "no number", literal=True)
        column = column.str.replace(decimal, ".", literal=True)
    return column.cast(pl.Float64, strict=False)


def _scaled(whole: pl.Series, scale: int) -> pl.Series:
    numbers = pl.Series(
        whole.name, floats_of_longs(whole.fill_null(0).to_numpy().astype(np.int64), scale)
    )
    return pl.select(pl.when(whole.is_not_null()).then(numbers)).to_series()
