"""``barstream ticks load``: ticks from a file."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from barstream.cli.context import settings
from barstream.cli.feeding import stopped_by_signals
from barstream.clock import system_clock_us

if TYPE_CHECKING:
    from barstream.cli.progress import TickProgress
    from barstream.config import Settings
    from barstream.feeds.files import FileLayout
    from barstream.feeds.load import Loaded, LoadRules

INTERRUPTED = 130


class Pace(click.ParamType):
    """``original``, ``as-fast``, or event time per wall time: ``60``, ``accelerated 60``."""

    name = "pace"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Event time per wall time; None is as fast as possible."""
        if isinstance(value, float):
            return value
        if value == "as-fast":
            return None
        if value == "original":
            return 1.0
        found = re.fullmatch(r"(?:accelerated[ :=x]?)?\s*(\d+(?:\.\d+)?)x?", str(value))
        if found is None or float(found[1]) <= 0:
            self.fail(
                f"original, as-fast, or a factor such as 60 is required, found {value!r}",
                param,
                ctx,
            )
        return float(found[1])


@click.command("load")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--map",
    "maps",
    multiple=True,
    required=True,
    metavar="WHAT=COLUMN",
    help="time, price, bid, ask, size, broker or symbol; Date+Time joins two columns.",
)
@click.option("--broker", help="The broker of every tick.")
@click.option("--symbol", help="The symbol of every tick.")
@click.option("--timezone", metavar="ZONE", help="Of times without one: -05:00, Europe/Paris.")
@click.option("--time-format", metavar="FORMAT", help="strptime, or s, ms, us, ns since 1970.")
@click.option("--no-header", is_flag=True, help="The first row is a tick; columns are 1, 2, 3.")
@click.option("--columns", metavar="A,B,C", help="Names of the columns (with --no-header).")
@click.option("--delimiter", default=",", help="Between columns; \\t for a tab.")
@click.option("--pace", default="as-fast", type=Pace(), help="original, as-fast, or a factor.")
@click.option("--no-heartbeats", is_flag=True, help="Do not close the bars of what is loaded.")
@click.option("--again", is_flag=True, help="Load from the start, whatever was loaded before.")
@click.option("--refuse-unsorted", is_flag=True, help="Refuse series out of order.")
@click.option("--skip-bad", is_flag=True, help="Leave out rows that are no ticks.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.pass_context
def load(
    ctx: click.Context,
    *,
    file: Path,
    maps: tuple[str, ...],
    broker: str | None,
    symbol: str | None,
    timezone: str | None,
    time_format: str | None,
    no_header: bool,
    columns: str | None,
    delimiter: str,
    pace: float | None,
    no_heartbeats: bool,
    again: bool,
    refuse_unsorted: bool,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Load the ticks of FILE (CSV, also .gz, or Parquet) and close their bars.

    Exactly once: after Ctrl-C or a crash the same command goes on where it ended.
    """
    from barstream.feeds.files import FileLayout
    from barstream.feeds.load import LoadRules

    if columns is not None and not no_header:
        raise click.UsageError("--columns is for a file without header: add --no-header")
    chosen = settings(ctx)
    mapping = dict(_pair(text) for text in maps)
    if broker is None and "broker" not in mapping:
        broker = chosen.ticks.broker_constant
    layout = FileLayout(
        mapping,
        broker=broker,
        symbol=symbol,
        timezone=timezone,
        time_format=time_format,
        header=not no_header,
        columns=tuple(name.strip() for name in columns.split(",")) if columns else (),
        delimiter="\t" if delimiter == "\\t" else delimiter,
        skip_bad=skip_bad,
    )
    rules = LoadRules(
        grace_us=chosen.bars.grace_us, pace=pace, heartbeats=not no_heartbeats, again=again
    )
    from barstream.cli.progress import TickProgress

    with TickProgress(file.name) as progress:
        loaded = asyncio.run(
            _load(chosen, file, layout, rules, progress, sorted_only=refuse_unsorted)
        )
    _print_loaded(file, loaded, as_json=as_json)
    if not loaded.done:
        ctx.exit(INTERRUPTED)


async def _load(
    chosen: Settings,
    file: Path,
    layout: FileLayout,
    rules: LoadRules,
    progress: TickProgress,
    *,
    sorted_only: bool,
) -> Loaded:
    from barstream.feeds.encoding import tick_encoder
    from barstream.feeds.prepare import prepare, read_in_order
    from barstream.topics import TopicNames

    ticks = read_in_order(file, layout, progress, sorted_only=sorted_only)
    encoder = await tick_encoder(chosen.ticks, TopicNames.of(chosen).ticks)
    loading = await prepare(
        chosen, file, layout, ticks, rules,
        encoder=encoder, clock_us=system_clock_us, watcher=progress,
    )  # fmt: skip
    with stopped_by_signals(loading.stop):
        return await loading.run()


def _print_loaded(file: Path, loaded: Loaded, *, as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps(
                {
                    "file": file.name,
                    "ticks": loaded.ticks,
                    "resumed_at": loaded.resumed_at,
                    "total": loaded.total,
                    "heartbeats": loaded.heartbeats,
                    "done": loaded.done,
                }
            )
        )
    elif loaded.done:
        word = "heartbeat" if loaded.heartbeats == 1 else "heartbeats"
        click.echo(
            f"{file.name}: {loaded.ticks:,} of {loaded.total:,} ticks sent by this run, "
            f"{loaded.heartbeats:,} {word}, all loaded"
        )
    else:
        click.echo(
            f"{file.name}: stopped at tick {loaded.resumed_at + loaded.ticks:,} of "
            f"{loaded.total:,}; the same command goes on from there"
        )


def _pair(text: str) -> tuple[str, str]:
    what, separator, column = text.partition("=")
    if not separator or not what.strip() or not column.strip():
        raise click.BadParameter(f"time=COLUMN and the like are required, found {text!r}")
    return what.strip(), column.strip()
