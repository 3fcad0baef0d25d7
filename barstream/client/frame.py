"""Bars as tables: Arrow, polars, pandas."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final, Literal

import pyarrow as pa

from barstream.errors import MissingPieceError
from barstream.model.bar import Bar
from barstream.model.bar_fields import BAR_FIELDS, BarField, FieldKind

Into = Literal["arrow", "polars", "pandas"]

_TIME: Final = pa.timestamp("us", tz="UTC")
_TYPES: Final = {
    FieldKind.TEXT: pa.string(),
    FieldKind.BUCKET: _TIME,
    FieldKind.TIME: _TIME,
    FieldKind.DATE: pa.date32(),
    FieldKind.INT: pa.int64(),
    FieldKind.LONG: pa.int64(),
    FieldKind.FLOAT: pa.float64(),
    FieldKind.FLAG: pa.bool_(),
}
#: The columns of ``Rate``, and whether a bar is final.
_FIELDS: Final = (*BAR_FIELDS, BarField("final", "final", FieldKind.FLAG))

SCHEMA: Final = pa.schema(
    [pa.field(field.name, _TYPES[field.kind], nullable=field.nullable) for field in _FIELDS]
)


def require(into: str) -> None:
    """Refuse before anything is read what could not be made of it.

    Raises:
        MissingPieceError: the library is not installed.
        ValueError: it is none of the three.
    """
    if into not in ("arrow", "polars", "pandas"):
        raise ValueError(f"into must be arrow, polars or pandas, found {into!r}")
    if into != "arrow" and find_spec(into) is None:
        raise MissingPieceError(
            f"a frame of {into} needs {into}, which is not installed: pip install {into}, or take "
            "into='arrow'"
        )


def batch_of(bars: Sequence[Bar]) -> Any:
    """A ``pyarrow.RecordBatch`` of these bars."""
    columns = [
        pa.array([getattr(bar, field.attribute) for bar in bars], _TYPES[field.kind])
        for field in _FIELDS
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def frame_of(batches: Sequence[Any], into: Into) -> Any:
    """One table of batches, in their order."""
    table = pa.Table.from_batches(batches, SCHEMA)
    if into == "arrow":
        return table
    if into == "polars":
        import polars as pl

        return pl.from_arrow(table)
    import pandas as pd

    # as floats, offsets would be wrong beyond 2**53
    return table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
