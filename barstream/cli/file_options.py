"""The options that say how a file of ticks is written; `ticks load` and `try` share them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from barstream.cli.context import Name

if TYPE_CHECKING:
    from barstream.feeds.options import FileOptions

#: `barstream.feeds.presets` holds them; here so that ``--help`` need not import polars.
PRESETS: Final = (
    "algoseek", "binance-vision", "databento", "dukascopy", "histdata", "kraken", "metatrader5",
    "ninjatrader", "taq", "truefx",
)  # fmt: skip

_OPTIONS: Final = (
    click.option(
        "--map", "maps", multiple=True, metavar="WHAT=COLUMN",
        help="time, price, bid, ask, size, broker or symbol; Date+Time joins two columns. What is "
        "not given is found by the names of the columns.",
    ),
    click.option(
        "--preset", type=click.Choice(PRESETS), metavar="VENDOR",
        help=f"The file is as this vendor writes: {', '.join(PRESETS)}.",
    ),
    click.option("--broker", type=Name(), help="The broker of every tick."),
    click.option("--symbol", type=Name(), help="The symbol of every tick."),
    click.option(
        "--timezone", metavar="ZONE", help="Zone of times without one: -05:00, Europe/Paris."
    ),
    click.option(
        "--time-format", metavar="FORMAT", help="As for Python's strptime, or s, ms, us, ns."
    ),
    click.option("--date", metavar="YYYYMMDD", help="The date, if the file has times of day only."),
    click.option("--header/--no-header", default=None, help="Whether the first row names columns."),
    click.option("--columns", metavar="A,B,C", help="Names of the columns (with --no-header)."),
    click.option("--delimiter", help="Separator of columns; \\t for a tab. Found if not given."),
    click.option("--decimal", help="Decimal mark; a point by default."),
    click.option("--thousands", help="Mark between thousands; none by default."),
    click.option(
        "--no-price", multiple=True, type=float, metavar="VALUE",
        help="A price that means there is none, such as 0 or 1.7976931348623157e308.",
    ),
    click.option("--carry", is_flag=True, help="Fill a missing side from the quote before."),
    click.option(
        "--only", multiple=True, metavar="COLUMN=VALUE",
        help="Only such rows are ticks; given again, any of the values.",
    ),
    click.option(
        "--id", "id_column", metavar="COLUMN",
        help="Column that identifies a tick: a value that is repeated is left out.",
    ),
    click.option("--skip-bad", is_flag=True, help="Leave out rows that cannot be sent as ticks."),
)  # fmt: skip


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` the options; it takes them with ``**said`` and `options_of` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_of(
    said: dict[str, Any], *, broker_default: str | None, symbol_by_name: bool
) -> FileOptions:
    """What the user said of a file.

    Raises:
        click.UsageError: options that contradict each other, or are no options.
    """
    from barstream.feeds.options import FileOptions

    columns, header = said["columns"], said["header"]
    if columns is not None and header:
        raise click.UsageError("--columns is for a file without header: add --no-header")
    keep: dict[str, list[str]] = {}
    for text in said["only"]:
        name, value = _pair(text, "COLUMN=VALUE")
        keep.setdefault(name, []).append(value)
    date = said["date"]
    if date is not None and not _is_day(date):
        raise click.BadParameter(f"--date must be a day as YYYYMMDD, but found {date!r}")
    delimiter = "\t" if said["delimiter"] == "\\t" else said["delimiter"]
    if delimiter is not None and (
        len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n'
    ):
        raise click.BadParameter(
            f"--delimiter must be one ASCII character, or \\t for a tab, but found {delimiter!r}"
        )
    return FileOptions(
        mapping=dict(_pair(text, "time=COLUMN and the like") for text in said["maps"]),
        preset=said["preset"],
        broker=said["broker"],
        symbol=said["symbol"],
        broker_default=broker_default,
        symbol_by_name=symbol_by_name,
        header=header,
        columns=tuple(name.strip() for name in columns.split(",")) if columns else (),
        delimiter=delimiter,
        settings={
            "timezone": said["timezone"],
            "time_format": said["time_format"],
            "date": date,
            "decimal": said["decimal"],
            "thousands": said["thousands"],
            "no_price": said["no_price"] or None,
            "carry": said["carry"] or None,
            "keep": tuple((name, tuple(values)) for name, values in keep.items()) or None,
            "id_column": said["id_column"],
            "skip_bad": said["skip_bad"] or None,
        },
    )


def _is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d")  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return False
    return len(text) == 8


def _pair(text: str, wanted: str) -> tuple[str, str]:
    what, separator, column = text.partition("=")
    if not separator or not what.strip() or not column.strip():
        raise click.BadParameter(f"{wanted} is required, found {text!r}")
    return what.strip(), column.strip()
