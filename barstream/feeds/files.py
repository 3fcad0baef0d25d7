"""Files of ticks as columns: delimited text, JSON lines and Parquet, compressed or not."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from barstream import plurals
from barstream.feeds.container import TickSource
from barstream.feeds.csv_text import RawTable, dialect_of, read_text
from barstream.feeds.decimals import parse_numbers
from barstream.feeds.encoder import FLOATS, FeedFields
from barstream.feeds.event_time import TimeFormatError, Times, parse_times
from barstream.feeds.layout import FileLayout, TickFileError
from barstream.model.key import FOLDED, NameRule
from barstream.model.rejection import Reason

NO_PRICE: Final = "no price"
DUPLICATE: Final = "duplicate"
DECIMALS: Final = "decimals"
"""A number has more decimals than the field of the feed."""
RANGE: Final = "range"
"""A number is too large for the field of the feed."""
_SHOWN: Final = 3
_LARGEST: Final = (float(np.finfo(np.float64).max), float(np.finfo(np.float32).max))
_NUMBERS: Final[tuple[str, ...]] = ("price", "bid", "ask", "size")

_UNITS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]


class RefusedRow(NamedTuple):
    """A row that no worker would take, or that would be another tick in the feed."""

    file: str
    row: int
    """In the file, from 1, the header counted."""
    reason: str
    """As the worker would give it, `DECIMALS` or `RANGE`."""
    what: str
    """The columns and values, or what is wrong with the row."""

    def __str__(self) -> str:
        return f"row {self.row:,}: {self.what}"


@dataclass(frozen=True, slots=True)
class RowCount:
    """What became of the rows of a file: ``rows`` = ticks + refused + set aside.

    Attributes:
        rows: in the file, empty lines and the header not counted.
        refused: by reason.
        shown: the first of those refused.
        set_aside: rows that are no ticks by the layout's own word, by what it was.
        cut: ticks whose time is written finer than the feed holds.
        rounded: ticks with a number that a feed of 32-bit floats rounds.
    """

    rows: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    shown: tuple[RefusedRow, ...] = ()
    set_aside: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    rounded: int = 0

    def __add__(self, other: RowCount) -> RowCount:
        return RowCount(
            self.rows + other.rows,
            self.refused + other.refused,
            (self.shown + other.shown)[:_SHOWN],
            self.set_aside + other.set_aside,
            self.cut + other.cut,
            self.rounded + other.rounded,
        )


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
    counted: RowCount = field(default_factory=RowCount)
    assumed_zone: bool = False
    """Whether times without a zone were taken to be in the layout's, or in UTC."""
    notes: tuple[str, ...] = ()
    """What the user should know of the prices, and of the names."""
    ids: pl.Series | None = None
    """What tells rows apart, where the layout has that."""

    def __len__(self) -> int:
        return len(self.series)

    def in_unit(self, unit_us: int) -> FileTicks:
        """The ticks with their times cut to whole units."""
        return self if unit_us == 1 else replace(self, time_us=self.time_us // unit_us * unit_us)

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
            self.counted,
            self.assumed_zone,
            self.notes,
            None if self.ids is None else self.ids.gather(rows),
        )


def identity(sources: Sequence[TickSource], layouts: Sequence[FileLayout], topic: str) -> str:
    """Names this content, read in this way into this topic: the same for a copy of the files."""
    first, *others = [layout.told() for layout in layouts]
    how = {"topic": topic, **first}
    if any(other != first for other in others):
        how["others"] = others
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    for source in sources:
        if source.path is None:
            digest.update(source.packed)
            continue
        with source.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def read_ticks(
    source: TickSource | Path,
    layout: FileLayout,
    *,
    latest_us: int | None = None,
    name_rule: NameRule = FOLDED,
    feed: FeedFields = FLOATS,
) -> FileTicks:
    """All ticks of a file, in its order.

    Args:
        source: where they are.
        layout: how they are written.
        latest_us: a tick after this is one of the future, which no worker takes.
        name_rule: how names are spelled.
        feed: what its fields hold.

    Raises:
        TickFileError: not readable, a column is missing, or a row is no tick (unless
            ``skip_bad``).
        TimeFormatError: the event times are not understood.
    """
    if isinstance(source, Path):
        source = TickSource(source.name, source)
    table = read_table(source, layout)
    table, set_aside = _kept(table, layout, source)
    frame = table.frame
    raw = {what: _column(frame, name, source) for what, name in layout.mapping.items()}
    for what in ("broker", "symbol"):
        if what in raw and (raw[what].dtype.is_nested() or raw[what].dtype == pl.Binary):
            raise TickFileError(
                f"column {raw[what].name!r} must hold names, found {raw[what].dtype}: map another"
            )
    parsed = _parsed(raw["time"], layout, layout.timezone)
    numbers = {what: _numbers(raw[what], what, layout) for what in _NUMBERS if what in raw}
    series, names, spellings = _series(raw, layout, len(frame), name_rule)
    priced = [what for what in ("price", "bid", "ask") if what in numbers]
    if layout.carry:
        _carry(numbers, series)
    columns = {what: values.to_numpy().astype(np.float64) for what, values in numbers.items()}
    if "price" not in columns:
        columns["price"] = _middle(columns["bid"], columns["ask"])
    verdict = _Verdicts(len(frame))
    if layout.no_price or layout.carry:
        none = np.zeros(len(frame), np.bool_)
        for what in priced:
            none |= numbers[what].is_null().to_numpy() & _empty(raw[what], layout).to_numpy()
        verdict.set_aside(none, NO_PRICE)
    _judge(verdict, raw, numbers, columns, parsed, latest_us, name_rule)
    rounded = _judge_fit(verdict, columns, feed)
    ids = None
    if layout.id_column is not None:
        ids = _column(frame, layout.id_column, source).cast(pl.String)
        # what a refused row repeats, or is repeated by, is there once
        ids = pl.select(pl.when(pl.Series(verdict.good)).then(ids)).to_series()
        verdict.set_aside(_repeated(ids, series), DUPLICATE)
    counted = verdict.counted(table, raw, source.name)
    counted += RowCount(set_aside.total(), set_aside=set_aside)
    if counted.refused and not layout.skip_bad:
        raise TickFileError(_refusal(source, layout, counted, feed))
    keep = verdict.good
    notes = (*_no_prices(columns, raw, keep), *spellings)
    cut = _cut(parsed, feed)
    counted += RowCount(cut=int((cut & keep).sum()), rounded=int((rounded & keep).sum()))
    taken = {what: values[keep] for what, values in columns.items()}
    return FileTicks(
        names,
        series[keep],
        parsed.us.fill_null(0).to_numpy().astype(np.int64)[keep],
        taken["price"],
        taken.get("bid"),
        taken.get("ask"),
        taken.get("size"),
        counted,
        parsed.assumed,
        notes,
        None if ids is None else ids.filter(pl.Series(keep)),
    )


def joined(parts: Sequence[FileTicks]) -> FileTicks:
    """The ticks of several files as those of one, in the order given; an id is taken once."""
    if len(parts) == 1:
        return parts[0]
    index: dict[tuple[str, str], int] = {}
    series = []
    for part in parts:
        code = np.array([index.setdefault(name, len(index)) for name in part.names], np.int64)
        series.append(code[part.series] if len(part) else part.series)

    def column(name: str) -> Float64s | None:
        columns = [getattr(part, name) for part in parts]
        return None if any(each is None for each in columns) else np.concatenate(columns)

    counted = RowCount()
    for part in parts:
        counted += part.counted
    whole = FileTicks(
        tuple(index),
        np.concatenate(series),
        np.concatenate([part.time_us for part in parts]),
        np.concatenate([part.price for part in parts]),
        column("bid"),
        column("ask"),
        column("size"),
        counted,
        any(part.assumed_zone for part in parts),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
    ids = [part.ids for part in parts if part.ids is not None]
    if len(ids) < len(parts):
        return whole
    repeated = _repeated(pl.concat(ids), whole.series)
    if not repeated.any():
        return whole
    counted.set_aside[DUPLICATE] += int(repeated.sum())
    return whole.take(np.flatnonzero(~repeated).astype(np.int64))


def read_table(source: TickSource, layout: FileLayout) -> RawTable:
    """The columns of a file as they stand in it, named as the layout names them.

    Raises:
        TickFileError: not readable, or of another number of columns.
    """
    if source.kind == "Parquet":
        try:
            return _of_frame(pl.read_parquet(source.text), 1)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise TickFileError(
                f"{source.name} begins like Parquet and cannot be read to its end, so it is "
                "damaged or cut off: get it again"
            ) from error
    if source.kind == "JSON lines":
        return _json_lines(source)
    dialect = dialect_of(source, layout.delimiter)
    table = read_text(source, dialect, header=layout.header)
    if layout.header:
        return table
    frame = table.frame
    names = layout.columns or tuple(str(i + 1) for i in range(frame.width))
    if len(names) != frame.width:
        raise TickFileError(
            f"--columns names {len(names)} columns, {source.name} has {frame.width}; its first "
            f"row is {dialect.lines[0]}"
        )
    frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
    return RawTable(frame, table.number, table.broken)


def _of_frame(frame: pl.DataFrame, first: int) -> RawTable:
    frame = frame.rename({name: name.strip() for name in frame.columns})
    return RawTable(frame, np.arange(first, first + len(frame), dtype=np.int64))


def _json_lines(source: TickSource) -> RawTable:
    try:
        frame = pl.read_ndjson(source.text, infer_schema_length=None)
        nested = any(frame.schema[name].is_nested() for name in frame.columns)
        text = source.unpacked()
        lines = text.count(b"\n") + (not text.endswith(b"\n"))
        if not nested and lines == len(frame):
            return _of_frame(frame, 1)
    except (OSError, pl.exceptions.PolarsError):
        pass
    # a line that is no object, or values of several types in one field: each line for itself
    number, rows, broken = [], [], {}
    for at, line in enumerate(source.unpacked().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except ValueError:
            broken[at] = "it is not a JSON object"
            continue
        if not isinstance(value, dict):
            broken[at] = "it is not a JSON object"
            continue
        number.append(at)
        rows.append({name.strip(): _text(each) for name, each in value.items()})
    names = list(dict.fromkeys(name for row in rows for name in row))
    frame = pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in names}, dict.fromkeys(names, pl.String)
    )
    return RawTable(frame, np.array(number, np.int64), broken)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return repr(value) if isinstance(value, float) else orjson.dumps(value).decode()


def _kept(table: RawTable, layout: FileLayout, source: TickSource) -> tuple[RawTable, Counter[str]]:
    """The rows that are ticks by the word of ``layout.keep``, and how many others there are."""
    set_aside: Counter[str] = Counter()
    for name, values in layout.keep:
        column = _column(table.frame, name, source).cast(pl.String)
        keep = column.is_in(list(values)).fill_null(value=False)
        if keep.all():
            continue
        found = column.filter(~keep).fill_null("empty").value_counts(sort=True)
        for value, count in found.iter_rows():
            set_aside[f"{name} {value}"] += count
        table = RawTable(table.frame.filter(keep), table.number[keep.to_numpy()], table.broken)
    return table, set_aside


def _column(frame: pl.DataFrame, name: str, source: TickSource) -> pl.Series:
    if name in frame.columns:
        column = frame[name]
        return column.str.strip_chars() if column.dtype == pl.String else column
    parts = name.split("+")
    if len(parts) > 1 and all(part in frame.columns for part in parts):
        texts = [pl.col(part).cast(pl.String).str.strip_chars() for part in parts]
        whole = pl.concat_str(texts, separator=" ", ignore_nulls=True)
        some = pl.any_horizontal([text.is_not_null() for text in texts])
        return frame.select(pl.when(some).then(whole).alias(name)).to_series()
    raise TickFileError(
        f"{source.name} has no column {name!r}; it has {', '.join(frame.columns)} (a file whose "
        "first row is data needs --no-header)"
    )


def _numbers(column: pl.Series, what: str, layout: FileLayout) -> pl.Series:
    numbers = parse_numbers(
        column,
        decimal=layout.decimal,
        thousands=layout.thousands,
        scale=0 if what == "size" else layout.scale,
    )
    if layout.no_price and what != "size":
        none = numbers.is_in(list(layout.no_price))
        numbers = pl.select(pl.when(~none).then(numbers)).to_series().alias(what)
    return numbers


def _empty(column: pl.Series, layout: FileLayout) -> pl.Series:
    """Where a file says that there is no price: nothing, or one of ``no_price``."""
    empty = column.is_null()
    if column.dtype == pl.String:
        empty |= column == ""
    if layout.no_price:
        found = parse_numbers(
            column, decimal=layout.decimal, thousands=layout.thousands, scale=layout.scale
        )
        empty |= found.is_in(list(layout.no_price)).fill_null(value=False)
    return empty.fill_null(value=True)


def _carry(numbers: dict[str, pl.Series], series: Int64s) -> None:
    """Give a quote with one side the other side of the quote before it."""
    if "bid" not in numbers or "ask" not in numbers:
        return
    frame = pl.DataFrame({"series": series, "bid": numbers["bid"], "ask": numbers["ask"]})
    none = frame["bid"].is_null() & frame["ask"].is_null()
    for side in ("bid", "ask"):
        carried = frame.select(pl.col(side).forward_fill().over("series")).to_series()
        numbers[side] = pl.select(pl.when(~none).then(carried)).to_series().alias(side)


def _parsed(times: pl.Series, layout: FileLayout, timezone: str | None) -> Times:
    time_format = layout.time_format
    if layout.date is not None:
        times = (layout.date + " " + times.cast(pl.String).str.strip_chars()).alias(times.name)
        time_format = None if time_format is None else f"%Y%m%d {time_format}"
    return parse_times(times, time_format, timezone)


def _middle(bid: Float64s, ask: Float64s) -> Float64s:
    """As the worker makes it; infinite where float64 ends."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((bid + ask) / 2, np.float64)


def _no_prices(
    columns: Mapping[str, Float64s], raw: Mapping[str, pl.Series], good: NDArray[np.bool_]
) -> tuple[str, ...]:
    """What to say of values by which some files mean that there is no price."""
    notes = []
    for what, other in (("price", None), ("bid", "ask"), ("ask", "bid")):
        if what not in raw:  # a price that is in the middle
            continue
        values = columns[what]
        odd = np.isin(np.abs(values), _LARGEST)
        if other is not None:
            odd |= (values == 0) & (columns[other] != 0)
        odd &= good
        if count := int(odd.sum()):
            value = float(values[odd.argmax()])
            rows = plurals.counted(count, "row")
            notes.append(
                f"{raw[what].name} is {value:.17g} in {rows} and is taken as a price; if it means "
                f"that there is no price, give --no-price {value:.17g}"
            )
    return tuple(notes)


def _repeated(ids: pl.Series, series: Int64s) -> NDArray[np.bool_]:
    """Rows whose id was there before in their series."""
    frame = pl.DataFrame({"series": series, "id": ids})
    known = pl.col("id").is_not_null()
    repeated = frame.select(known & ~pl.struct("series", "id").is_first_distinct()).to_series()
    return np.asarray(repeated.to_numpy(), np.bool_)


class _Verdicts:
    """What becomes of each row: the first verdict on a row is the one that counts."""

    def __init__(self, rows: int) -> None:
        self.good = np.ones(rows, np.bool_)
        self._refused: list[tuple[str, str, Int64s]] = []
        self._aside: Counter[str] = Counter()

    def refuse(self, bad: NDArray[np.bool_], reason: str, what: str) -> None:
        """Refuse rows for the value of column ``what``."""
        if len(at := np.flatnonzero(bad & self.good)):
            self._refused.append((reason, what, at.astype(np.int64)))
            self.good[at] = False

    def set_aside(self, aside: NDArray[np.bool_], what: str) -> None:
        """Leave rows out that are no ticks by the layout's own word."""
        if count := int((aside & self.good).sum()):
            self._aside[what] += count
            self.good &= ~aside

    def counted(self, table: RawTable, raw: Mapping[str, pl.Series], file: str) -> RowCount:
        """How many rows there are, and what became of them."""
        refused: Counter[str] = Counter()
        shown = []
        for reason, what, at in self._refused:
            refused[reason] += len(at)
            shown += [
                RefusedRow(file, int(table.number[row]), reason, _shown(raw, what, row))
                for row in at[:_SHOWN].tolist()
            ]
        if table.broken:
            refused[Reason.UNDECODABLE] += len(table.broken)
            first = list(table.broken.items())[:_SHOWN]
            shown += [RefusedRow(file, row, Reason.UNDECODABLE, why) for row, why in first]
        shown.sort(key=lambda each: each.row)
        rows = len(self.good) + len(table.broken)
        return RowCount(rows, refused, tuple(shown[:_SHOWN]), self._aside)


def _shown(raw: Mapping[str, pl.Series], what: str, row: int) -> str:
    if what not in raw:  # a price that is in the middle, or a side that is the price
        sides = ("bid", "ask") if what == "price" else ("price",)
        return " and ".join(_shown(raw, side, row) for side in sides)
    column = raw[what]
    value = column[row]
    name = what if column.name == what else f"{what} ({column.name})"
    return f"{name} is empty" if value is None else f"{name} = {value!r}"


def _judge(
    verdict: _Verdicts,
    raw: Mapping[str, pl.Series],
    numbers: Mapping[str, pl.Series],
    columns: Mapping[str, Float64s],
    times: Times,
    latest_us: int | None,
    name_rule: NameRule,
) -> None:
    """Refuse what a worker would: its rules are those of ``barstream.codecs.ticks.decoder``."""
    if times.outside is not None:
        verdict.refuse(times.outside.to_numpy(), Reason.INVALID, "time")
    verdict.refuse(times.us.is_null().to_numpy(), Reason.UNDECODABLE, "time")
    _judge_names(verdict, raw, name_rule)
    for what, values in numbers.items():
        absent = values.is_null()
        if what == "size":  # a feed may have none
            absent &= raw[what].is_not_null()
            if raw[what].dtype == pl.String:
                absent &= raw[what] != ""
        verdict.refuse(absent.fill_null(value=False).to_numpy(), Reason.UNDECODABLE, what)
        invalid = ~values.is_finite()
        if what == "size":
            invalid |= values < 0
        verdict.refuse(invalid.fill_null(value=False).to_numpy(), Reason.INVALID, what)
    if "price" not in numbers:
        verdict.refuse(~np.isfinite(columns["price"]), Reason.INVALID, "price")
    if latest_us is not None:
        future = (times.us > latest_us).fill_null(value=False)
        verdict.refuse(future.to_numpy(), Reason.FUTURE, "time")


def _judge_names(verdict: _Verdicts, raw: Mapping[str, pl.Series], name_rule: NameRule) -> None:
    for what in ("broker", "symbol"):
        if what in raw:
            name = raw[what].cast(pl.String)
            wrong = [each for each in name.unique().to_list() if not _is_name(each, name_rule)]
            if wrong:
                refused = name.is_null() | name.is_in([each for each in wrong if each is not None])
                verdict.refuse(refused.to_numpy(), Reason.INVALID, what)


def _cut(times: Times, feed: FeedFields) -> NDArray[np.bool_]:
    """Which times are written finer than the feed holds."""
    cut = (times.us % feed.time_us != 0).fill_null(value=False)
    if times.cut is not None:
        cut |= times.cut.fill_null(value=False)
    return np.asarray(cut.to_numpy(), np.bool_)


def _judge_fit(
    verdict: _Verdicts, columns: Mapping[str, Float64s], feed: FeedFields
) -> NDArray[np.bool_]:
    """Refuse numbers that would be others in the feed; which rows a feed of 32 bits rounds."""
    fields = {**feed.prices, **({"size": feed.size} if "size" in columns else {})}
    rounded = np.zeros(len(columns["price"]), np.bool_)
    for what, field_ in fields.items():
        values = columns.get(what, columns["price"])
        verdict.refuse(field_.too_fine(values), DECIMALS, what)
        verdict.refuse(field_.too_large(values), RANGE, what)
        if field_.single:
            with np.errstate(over="ignore"):
                single = values.astype(np.float32).astype(np.float64)
            rounded |= (single != values) & np.isfinite(values)
    return rounded


def _is_name(name: str | None, name_rule: NameRule) -> bool:
    try:
        name_rule.normalise(name or "")
    except ValueError:
        return False
    # what was no UTF-8 in the file
    return "\ufffd" not in (name or "")


def _series(
    raw: Mapping[str, pl.Series], layout: FileLayout, rows: int, name_rule: NameRule
) -> tuple[Int64s, tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The series of each row, their names as they first appear, and what to say of them."""
    if "broker" not in raw and "symbol" not in raw:
        name = name_rule.series(layout.broker or "", layout.symbol or "")
        return np.zeros(rows, np.int64), (name,), ()
    parts = {}
    for what, constant in (("broker", layout.broker), ("symbol", layout.symbol)):
        if constant is not None:
            parts[what] = pl.repeat(name_rule.normalise(constant), rows, eager=True)
        else:
            parts[what] = raw[what].cast(pl.String).str.strip_chars()
    frame = pl.DataFrame(parts)
    spelled = frame.unique(maintain_order=True)
    index: dict[tuple[str, str], int] = {}
    spellings: dict[tuple[str, str], list[str]] = {}
    codes = []
    for broker, symbol in spelled.iter_rows():
        try:
            name = name_rule.series(broker or "", symbol or "")
        except ValueError:
            name = (broker or "", symbol or "")  # its rows are refused
        codes.append(index.setdefault(name, len(index)))
        spellings.setdefault(name, []).append(f"{broker} {symbol}")
    joined = frame.join(
        spelled.with_columns(pl.Series("series", codes, pl.Int64)),
        on=["broker", "symbol"],
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    notes = tuple(
        f"{' and '.join(each)} are one series, {' '.join(name)}: names are read in upper case "
        "unless ticks.fold_case is off"
        for name, each in spellings.items()
        if len(each) > 1
    )
    return joined["series"].to_numpy(), tuple(index), notes


def _refusal(source: TickSource, layout: FileLayout, counted: RowCount, feed: FeedFields) -> str:
    total = counted.refused.total()
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counted.refused.items()))
    shown = "; ".join(map(str, counted.shown))
    more = f"; and {total - len(counted.shown):,} more" if total > len(counted.shown) else ""
    rows = plurals.counted(counted.rows, "row")
    return (
        f"{total:,} of {rows} of {source.name} cannot be sent as ticks "
        f"({reasons}): {shown}{more}.{_hint(layout, counted, feed)} Correct the file or the "
        "options, or leave such rows out with --skip-bad"
    )


def _hint(layout: FileLayout, counted: RowCount, feed: FeedFields) -> str:
    """What the first refused values look like."""
    fields = {**feed.prices, "size": feed.size}
    for row in counted.shown:
        what, _, value = row.what.partition(" = ")
        if row.reason == DECIMALS:
            held = ", ".join(
                f"{field_.decimals} decimals in {each}"
                for each, field_ in fields.items()
                if field_.decimals is not None
            )
            return f" The feed has {held} (ticks.price_scale, or its schema)."
        if row.reason == RANGE:
            held = ", ".join(
                f"{each} below {field_.largest:.4g}"
                for each, field_ in fields.items()
                if math.isfinite(field_.largest)
            )
            return f" The feed takes {held}."
        if what.split(" ")[0] in _NUMBERS and "," in value:
            if layout.decimal == "." and layout.thousands is None:
                return (
                    " If the comma is a decimal mark, give --decimal ','; if it stands between "
                    "thousands, give --thousands ','."
                )
        elif row.reason == Reason.FUTURE:
            return " A tick must not be later than now."
        elif what.split(" ")[0] == "time" and value:
            if row.reason == Reason.INVALID:
                return (
                    " A tick must not be earlier than 1970; a year of two digits is %y: "
                    "--time-format '%y-%m-%d %H:%M:%S'."
                )
            return _time_hint(value.strip("'"), layout)
        elif "fields, but the header" in what and "," in (layout.delimiter, layout.decimal):
            return (
                " If the comma is a decimal mark, the numbers must be quoted, or another delimiter "
                "must be used."
            )
    return ""


def _time_hint(text: str, layout: FileLayout) -> str:
    is_number = re.fullmatch(r"\d+(?:\.\d*)?", text) is not None
    if layout.time_format in _UNITS and is_number:
        return (
            f" By its size it is no number of {_UNITS[layout.time_format]} since 1970; without "
            "--time-format each number is read in the unit that fits its size."
        )
    if layout.timezone is not None and _is_time(text, layout):
        return f" In {layout.timezone} the clock skips or repeats this hour, so it is not guessed."
    if layout.time_format is not None:
        return f" It does not match --time-format {layout.time_format!r}."
    if is_number:
        return (
            " Digits alone are read as seconds, milliseconds, microseconds or nanoseconds since "
            "1970 if that gives a time after 1989. Say with --time-format what else they are; for "
            "times of day give the day with --date."
        )
    return (
        " Describe a form that is not known with --time-format; a year of two digits is "
        "%y: '%y-%m-%d %H:%M:%S'."
    )


def _is_time(text: str, layout: FileLayout) -> bool:
    """Whether ``text`` would be a time, were it in another zone."""
    try:
        return not _parsed(pl.Series([text]), layout, None).us.has_nulls()
    except TimeFormatError:
        return False
