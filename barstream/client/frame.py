"""Bars as tables: Arrow, polars, pandas."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final, Literal

import pyarrow as pa

from barstream.errors import MissingPieceError
from barstream.model.bar import Bar

Into = Literal["arrow", "polars", "pandas"]

_TIME: Final = pa.timestamp("us", tz="UTC")
#: Name, type, and the attribute of a bar: the columns of ``Rate`` and whether it is final.
_COLUMNS: Final = (
    ("broker", pa.string(), "broker"),
    ("symbol", pa.string(), "symbol"),
    ("bucket_start", _TIME, "bucket_start_us"),
    ("trading_date", pa.date32(), "trading_date"),
    ("session", pa.int64(), "session"),
    ("open", pa.float64(), "open"),
    ("high", pa.float64(), "high"),
    ("low", pa.float64(), "low"),
    ("close", pa.float64(), "close"),
    ("volume", pa.float64(), "volume"),
    ("tick_count", pa.int64(), "tick_count"),
    ("open_time", _TIME, "open_time_us"),
    ("close_time", _TIME, "close_time_us"),
    ("synthetic", pa.bool_(), "synthetic"),
    ("revision", pa.int64(), "revision"),
    ("first_offset", pa.int64(), "first_offset"),
    ("last_offset", pa.int64(), "last_offset"),
    ("close_offset", pa.int64(), "close_offset"),
    ("final", pa.bool_(), "final"),
)
_NULLABLE: Final = frozenset(
    {"open_time", "close_time", "first_offset", "last_offset", "close_offset"}
)

SCHEMA: Final = pa.schema(
    [pa.field(name, kind, nullable=name in _NULLABLE) for name, kind, _ in _COLUMNS]
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
    columns = [pa.array([getattr(bar, name) for bar in bars], kind) for _, kind, name in _COLUMNS]
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
