"""Files of ticks as columns: CSV (also compressed) and Parquet, with the user's own columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.core.keys import normalise
from barstream.errors import BarstreamError
from barstream.feeds.times import parse_times

FIELDS: Final = ("time", "price", "bid", "ask", "size", "broker", "symbol")
_SHOWN: Final = 3

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]


class TickFileError(BarstreamError):
    """The file cannot be loaded as it was described: mend the options the message names."""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """How a file is to be read.

    Raises:
        TickFileError: the mapping lacks a time or a price, or names the same thing twice.
    """

    mapping: Mapping[str, str]
    """What (time, price, bid, ask, size, broker, symbol) to column; ``A+B`` joins two."""
    broker: str | None = None
    symbol: str | None = None
    """Constants, for files that do not carry them."""
    timezone: str | None = None
    time_format: str | None = None
    header: bool = True
    columns: tuple[str, ...] = field(default=())
    """Names of the columns of a file without header; by default 1, 2, 3, ..."""
    delimiter: str = ","
    skip_bad: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.mapping) - set(FIELDS))
        if unknown:
            raise TickFileError(f"--map takes {', '.join(FIELDS)}; found {', '.join(unknown)}")
        if "time" not in self.mapping:
            raise TickFileError("the event time is required: --map time=COLUMN")
        quoted = "bid" in self.mapping and "ask" in self.mapping
        if not quoted and "price" not in self.mapping:
            raise TickFileError(
                "a price is required: --map price=COLUMN, or --map bid=COLUMN --map ask=COLUMN"
            )
        for name, constant in (("broker", self.broker), ("symbol", self.symbol)):
            if constant is None and name not in self.mapping:
                raise TickFileError(
                    f"the {name} is required: --{name} NAME, or --map {name}=COLUMN"
                )
            if constant is not None and name in self.mapping:
                raise TickFileError(f"give either --{name} or --map {name}=..., not both")


@dataclass(frozen=True, slots=True)
class FileTicks:
    """Ticks as they stand in the file; columns of shape (n,), times in microseconds UTC."""

    names: tuple[tuple[str, str], ...]
    """(broker, symbol) of each series, normalised."""
    series: Int64s
    """Index into ``names``."""
    time_us: Int64s
    price: Float64s
    """The mid where the file has bid and ask."""
    bid: Float64s | None
    ask: Float64s | None
    size: Float64s | None
    """None when not mapped; NaN where the file has none."""
    skipped: int = 0
    """Rows left out because they are no ticks."""

    def __len__(self) -> int:
        return len(self.series)

    def take(self, rows: Int64s) -> FileTicks:
        """The ticks at ``rows``, in that order."""
        return FileTicks(
            self.names,
            self.series[rows],
            self.time_us[rows],
            self.price[rows],
            None if self.bid is None else self.bid[rows],
            None if self.ask is None else self.ask[rows],
            None if self.size is None else self.size[rows],
            self.skipped,
        )


def identity(path: Path, layout: FileLayout, topic: str) -> str:
    """Names this content, read in this way into this topic: the same for a copy of the file."""
    how = {"topic": topic, **asdict(layout)}
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


def read_ticks(path: Path, layout: FileLayout) -> FileTicks:
    """All ticks of a file, in its order.

    Raises:
        TickFileError: not readable, a column is missing, or a row is no tick (unless
            ``skip_bad``).
        TimeFormatError: the event times are not understood.
    """
    frame = _read(path, layout)
    raw = {what: _column(frame, name, path) for what, name in layout.mapping.items()}
    time_us = parse_times(raw["time"], layout.time_format, layout.timezone)
    numbers = {
        what: raw[what].cast(pl.Float64, strict=False)
        for what in ("price", "bid", "ask", "size")
        if what in raw
    }
    good = time_us.is_not_null()
    for what in ("price", "bid", "ask"):
        if what in numbers:
            good &= numbers[what].is_finite().fill_null(value=False)
    for what in ("broker", "symbol"):
        if what in raw:
            good &= raw[what].cast(pl.String).str.strip_chars().str.len_chars().fill_null(0) > 0
    skipped = len(good) - int(good.sum() or 0)
    if skipped and not layout.skip_bad:
        raise TickFileError(_bad_rows(path, layout, raw, ~good, skipped))
    series, names = _series(raw, layout, len(frame))
    keep = good.to_numpy()
    taken = {what: values.to_numpy().astype(np.float64)[keep] for what, values in numbers.items()}
    bid, ask = taken.get("bid"), taken.get("ask")
    price = taken["price"] if bid is None or ask is None else (bid + ask) / 2
    return FileTicks(
        names,
        series[keep],
        time_us.fill_null(0).to_numpy().astype(np.int64)[keep],
        price,
        bid,
        ask,
        taken.get("size"),
        skipped,
    )


def _read(path: Path, layout: FileLayout) -> pl.DataFrame:
    try:
        if ".parquet" in path.suffixes:
            return pl.read_parquet(path)
        frame = pl.read_csv(
            path,
            has_header=layout.header,
            separator=layout.delimiter,
            infer_schema=False,  # numbers are read by us, so that 1e5 and " 1.2" are numbers too
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TickFileError(f"{path} cannot be read as {_kind(path)}: {error}") from error
    if layout.header:
        return frame.rename({name: name.strip() for name in frame.columns})
    names = layout.columns or tuple(str(i + 1) for i in range(frame.width))
    if len(names) != frame.width:
        raise TickFileError(
            f"--columns names {len(names)} columns, {path.name} has {frame.width}; its first row "
            f"is {layout.delimiter.join(str(x) for x in frame.row(0))}"
        )
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def _kind(path: Path) -> str:
    return "Parquet" if ".parquet" in path.suffixes else "CSV"


def _column(frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    if name in frame.columns:
        column = frame[name]
        return column.str.strip_chars() if column.dtype == pl.String else column
    parts = name.split("+")
    if len(parts) > 1 and all(part in frame.columns for part in parts):
        joined = pl.concat_str([pl.col(p).cast(pl.String) for p in parts], separator=" ")
        return frame.select(joined.alias(name)).to_series()
    raise TickFileError(
        f"{path.name} has no column {name!r}; it has {', '.join(frame.columns)} (a file whose "
        "first row is data needs --no-header)"
    )


def _series(
    raw: Mapping[str, pl.Series], layout: FileLayout, rows: int
) -> tuple[Int64s, tuple[tuple[str, str], ...]]:
    """The series of each row; series are numbered as they first appear."""
    parts = {}
    for what, constant in (("broker", layout.broker), ("symbol", layout.symbol)):
        if constant is not None:
            parts[what] = pl.repeat(normalise(constant), rows, eager=True)
        else:
            parts[what] = raw[what].cast(pl.String).str.strip_chars().str.to_uppercase()
    frame = pl.DataFrame(parts)
    unique = frame.unique(maintain_order=True).with_row_index("series")
    joined = frame.join(
        unique, on=["broker", "symbol"], how="left", nulls_equal=True, maintain_order="left"
    )
    names = tuple((broker or "", symbol or "") for _, broker, symbol in unique.iter_rows())
    return joined["series"].to_numpy().astype(np.int64), names


def _bad_rows(
    path: Path, layout: FileLayout, raw: Mapping[str, pl.Series], bad: pl.Series, count: int
) -> str:
    first = 2 if layout.header else 1
    shown = []
    for row in bad.arg_true().head(_SHOWN).to_list():
        values = ", ".join(f"{what}={column[row]!r}" for what, column in raw.items())
        shown.append(f"row {row + first}: {values}")
    return (
        f"{count:,} of {len(bad):,} rows of {path.name} are no ticks (a time, a finite price and a "
        f"name are required; an hour that the clock repeats or leaves out is no time): "
        f"{'; '.join(shown)}. Mend the file or the options, or leave such rows out with --skip-bad"
    )
