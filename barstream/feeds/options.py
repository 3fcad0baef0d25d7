"""What the user says of a file, and the layout that follows from it and from the file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import polars as pl

from barstream.feeds.container import TickSource
from barstream.feeds.csv_text import Dialect, column_names, dialect_of
from barstream.feeds.header import are_bars, columns_by_name, is_header
from barstream.feeds.layout import FileLayout, TickFileError
from barstream.feeds.presets import PRESETS, Preset, Shape, recognised

_FROM_NAME: Final = "from the file's name"
_CURRENCIES: Final = frozenset(
    re.findall(
        "[A-Z]{3}",
        "AUD BRL CAD CHF CNH CNY CZK DKK EUR GBP HKD HUF ILS INR JPY KRW MXN NOK NZD PLN RON RUB "
        "SEK SGD THB TRY TWD USD XAG XAU ZAR",
    )
)


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What was said of a file; what was not is found in it.

    Attributes:
        mapping: as in the layout; what it lacks is found by the names of the columns.
        preset: how a vendor writes.
        broker: of every tick.
        symbol: of every tick.
        broker_default: where neither file nor user say.
        symbol_by_name: take the symbol from the file's name where nothing else says it.
        header: whether the first row names columns; None finds out.
        delimiter: None finds it.
        settings: more of the layout, by name; None where the user said nothing.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    preset: str | None = None
    broker: str | None = None
    symbol: str | None = None
    broker_default: str | None = None
    symbol_by_name: bool = False
    header: bool | None = None
    columns: tuple[str, ...] = ()
    delimiter: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundLayout:
    """A layout, and what of it was found and not said, in words."""

    layout: FileLayout
    preset: str | None
    symbol_from_name: bool = False
    caution: str = ""

    def words(self, *, assumed_zone: bool) -> str:
        """``time = timestamp (UTC assumed: no zone in the file), price = mid of bid and ask``."""
        layout, mapping = self.layout, self.layout.mapping
        zone = ""
        if assumed_zone:
            zone = (
                " (UTC assumed: no zone in the file)"
                if layout.timezone is None
                else f" (in {layout.timezone})"
            )
        price = f"price = {mapping['price']}" if "price" in mapping else (
            f"price = mid of {mapping['bid']} and {mapping['ask']}"
        )  # fmt: skip
        words = [f"time = {mapping['time']}{zone}", price]
        words.append(f"size = {mapping['size']}" if "size" in mapping else "no size")
        if "symbol" in mapping:
            words.append(f"symbol = {mapping['symbol']}")
        else:
            whence = f" ({_FROM_NAME})" if self.symbol_from_name else ""
            words.append(f"symbol {layout.symbol}{whence}")
        words.append(
            f"broker = {mapping['broker']}" if "broker" in mapping else f"broker {layout.broker}"
        )
        words += [f"rows with {name} = {' or '.join(values)}" for name, values in layout.keep]
        if layout.carry:
            words.append("a missing side of a quote is that of the quote before")
        return ", ".join(words)


def layout_of(source: TickSource, options: FileOptions) -> FoundLayout:
    """The layout of ``source`` by ``options``; what they leave open is found in the file.

    Raises:
        TickFileError: it cannot be told what the columns are: says what to give.
    """
    dialect: Dialect | None = None
    columns: tuple[str, ...]
    if source.kind == "CSV":
        dialect = dialect_of(source, options.delimiter)
        columns = tuple(each.strip() for each in dialect.rows[0])
    else:
        columns = _typed_columns(source)
    header = options.header
    if header is None:
        header = not options.columns and (
            dialect is None or bool(options.mapping) or is_header(columns)
        )
    if dialect is not None and header:
        columns = tuple(column_names(dialect, header=True)[: len(columns)])
    name, shape = _preset(source, options, columns, header=header)
    preset = PRESETS[name] if name else None
    mapping = _mapping(source, options, columns, shape, dialect, header=header)
    for what, constant in (("broker", options.broker), ("symbol", options.symbol)):
        if constant is not None and what not in options.mapping:
            mapping.pop(what, None)  # what was said goes before what was found
    from_name = _from_name(source, preset)
    broker, symbol = options.broker, options.symbol
    if broker is None and "broker" not in mapping:
        broker = preset.broker if preset else options.broker_default
    taken = symbol is None and "symbol" not in mapping and (options.symbol_by_name or preset)
    if taken:
        symbol = from_name.get("symbol") or source.stem
        symbol = currency_pair(symbol) or symbol
    layout = FileLayout(
        mapping,
        broker=broker,
        symbol=symbol,
        header=header,
        columns=options.columns or (shape.columns if shape else ()),
        delimiter=dialect.delimiter if dialect else ",",
        **_settings(source, options, shape, from_name),
    )
    cautions = [preset.caution] if preset and preset.caution and layout.timezone is None else []
    usual = shape.settings.get("timezone") if shape is not None else None
    if preset is not None and usual is not None and layout.timezone != usual:
        cautions.append(
            f"--timezone {layout.timezone} is used; as a rule {preset.vendor} writes times in "
            f"{usual}"
        )
    cautions += _repeated_columns(columns, layout) if dialect is not None and header else []
    caution = "; ".join(cautions)
    return FoundLayout(layout, name, bool(taken), caution)


def _repeated_columns(columns: tuple[str, ...], layout: FileLayout) -> list[str]:
    """What to say where a column that is taken has the name of another."""
    taken = dict.fromkeys(part for each in layout.mapping.values() for part in each.split("+"))
    return [
        f"several columns are named {name!r}: the first is taken, the second is '{name} (2)'"
        for name in taken
        if f"{name} (2)" in columns
    ]


def currency_pair(name: str) -> str | None:
    """The pair of currencies that stands in a name such as ``histdata-eurusd-2020``."""
    for word in re.split(r"[^A-Za-z]+", name):
        upper = word.upper()
        if len(upper) == 6 and {upper[:3], upper[3:]} <= _CURRENCIES:
            return upper
    return None


def _settings(
    source: TickSource, options: FileOptions, shape: Shape | None, from_name: Mapping[str, str]
) -> dict[str, Any]:
    """More of the layout: what was said, else what the preset says."""
    said = {name: value for name, value in options.settings.items() if value is not None}
    settings = {**(shape.settings if shape else {}), **said}
    if shape is not None and shape.dated_by_name and "date" not in settings:
        if "date" not in from_name:
            raise TickFileError(
                f"{source.name} holds times of day, and its name no date: give --date YYYYMMDD"
            )
        settings["date"] = from_name["date"]
    return settings


def _typed_columns(source: TickSource) -> tuple[str, ...]:
    if source.kind == "Parquet":
        try:
            return tuple(pl.read_parquet_schema(source.text))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise TickFileError(
                f"{source.name} begins like Parquet and cannot be read to its end, so it is "
                "damaged or cut off: get it again"
            ) from error
    line = source.beginning(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    try:
        return tuple(orjson.loads(line))
    except (ValueError, TypeError) as error:
        raise TickFileError(
            f"{source.name} must hold one JSON object per line, and its first line is not one"
        ) from error


def _preset(
    source: TickSource, options: FileOptions, columns: Sequence[str], *, header: bool
) -> tuple[str | None, Shape | None]:
    if options.preset is None:
        if options.mapping or options.columns:
            return None, None
        found = recognised(columns, header=header, file_name=source.name)
        return found or (None, None)
    for shape in PRESETS[options.preset].shapes:
        if shape.fits(columns, header=header):
            return options.preset, shape
    wanted = " or ".join(
        ",".join(shape.columns) + " without header"
        if shape.columns
        else ", ".join([*shape.mapping.values(), *shape.needs])
        for shape in PRESETS[options.preset].shapes
    )
    raise TickFileError(
        f"--preset {options.preset} wants the columns {wanted}; {source.name} begins with "
        f"{', '.join(columns)}"
    )


def _mapping(
    source: TickSource,
    options: FileOptions,
    columns: tuple[str, ...],
    shape: Shape | None,
    dialect: Dialect | None,
    *,
    header: bool,
) -> dict[str, str]:
    given = dict(options.mapping)
    if shape is not None:
        found = shape.named(columns) if header else dict(shape.mapping)
        return {**found, **given}
    priced = "price" in given or ("bid" in given and "ask" in given)
    named = columns if header else options.columns
    if "time" in given and priced:
        nameless = options.symbol is None and not options.symbol_by_name
        if nameless and (symbol := columns_by_name(named).get("symbol")):
            given.setdefault("symbol", symbol)
        return given
    if not named:
        raise TickFileError(_headless(source, columns, dialect))
    found = columns_by_name(named)
    if priced:
        found = {k: v for k, v in found.items() if k not in ("price", "bid", "ask")}
    mapping = {**found, **given}
    if "time" in mapping and ("price" in mapping or "bid" in mapping):
        return mapping
    there = ", ".join(named)
    if are_bars(named):
        close = next(each for each in named if each.strip("<>").lower() == "close")
        raise TickFileError(
            f"{source.name} holds bars ({there}), and barstream makes bars of ticks; to take each "
            f"close as one tick give --map price={close}"
        )
    lacks = " and ".join(
        what
        for what, lacking in (
            ("the time", "time" not in mapping),
            ("the price", "price" not in mapping and "bid" not in mapping),
        )
        if lacking
    )
    known = " ".join(f"--map {what}={column}" for what, column in mapping.items())
    if len(named) == 1 and dialect is not None:
        raise TickFileError(
            f"{source.name} does not look like ticks: a row must hold a time and a price, and its "
            f"first one is {there!r}; if it has columns, say what is between them "
            "with --delimiter"
        )
    raise TickFileError(
        f"{source.name} has the columns {there}, and none whose name says that it is {lacks}: "
        f"name them with --map time=COLUMN --map price=COLUMN (or bid and ask)"
        + (f"; found were {known}" if known else "")
    )


def _headless(source: TickSource, columns: Sequence[str], dialect: Dialect | None) -> str:
    row = dialect.lines[0] if dialect else ", ".join(columns)
    numbered = ", ".join(f"{at} = {value}" for at, value in enumerate(columns, 1))
    return (
        f"the first row of {source.name} is a tick and names no columns ({row}): say which are "
        f"which with --no-header --map time=1 --map price=2 (the columns are {numbered}), or name "
        f"the vendor with --preset ({', '.join(PRESETS)})"
    )


def _from_name(source: TickSource, preset: Preset | None) -> dict[str, str]:
    found = re.fullmatch(preset.file_name, source.name) if preset else None
    return {k: v for k, v in found.groupdict().items() if v} if found else {}
