"""``barstream ticks load``: ticks from files."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from barstream.cli.context import settings
from barstream.cli.feed_stop import stopped_by_signals
from barstream.cli.file_options import file_options, options_of
from barstream.clock import system_clock_us
from barstream.plurals import counted

if TYPE_CHECKING:
    from barstream.cli.progress import TickProgress
    from barstream.config import Settings
    from barstream.feeds.admission import Admission
    from barstream.feeds.encoder import TickEncoder
    from barstream.feeds.load import Loaded, LoadRules
    from barstream.feeds.load_plan import Batch
    from barstream.feeds.options import FoundLayout

INTERRUPTED = 130
_DRY_ROWS = 5


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
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@file_options
@click.option(
    "--pace", default="as-fast", type=Pace(), help="original, as-fast, or a factor such as 60."
)
@click.option("--no-heartbeats", is_flag=True, help="Do not close the bars of what is loaded.")
@click.option("--again", is_flag=True, help="Load from the start, even if it was loaded before.")
@click.option("--refuse-unsorted", is_flag=True, help="Refuse series that are out of order.")
@click.option("--without-sessions", is_flag=True, help="Send series that have no session, too.")
@click.option("--dry-run", is_flag=True, help="Show the first rows as ticks and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.pass_context
def load(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    pace: float | None,
    no_heartbeats: bool,
    again: bool,
    refuse_unsorted: bool,
    without_sessions: bool,
    dry_run: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """Load ticks from files and close their bars.

    CSV, JSON lines or Parquet, plain or packed by gzip, bzip2, xz, zstd or zip.  Several files and
    patterns are sent in time order; - is standard input.

    Exactly once: after Ctrl-C or a crash the same command goes on where it stopped.  Exit code 1
    if rows were left out.
    """
    from barstream.cli.progress import TickProgress
    from barstream.feeds.container import sources_of
    from barstream.feeds.load import LoadRules
    from barstream.feeds.load_plan import read_batch

    chosen = settings(ctx)
    options = options_of(said, broker_default=None, symbol_by_name=False)
    if options.broker is None and "broker" not in options.mapping:
        options = replace(options, broker=chosen.ticks.broker_constant)
    rules = LoadRules(
        grace_us=chosen.bars.grace_us,
        pace=pace,
        heartbeats=not no_heartbeats,
        again=again,
        without_sessions=without_sessions,
    )
    sources = sources_of(files)
    encoder = asyncio.run(_encoder(chosen))
    with TickProgress(sources[0].name) as progress:
        batch, found = read_batch(
            sources,
            options,
            progress,
            sorted_only=refuse_unsorted,
            latest_us=system_clock_us() + chosen.bars.max_future_skew_us,
            name_rule=chosen.ticks.name_rule,
            feed=encoder.fields,
        )
        if dry_run:
            _print_dry(batch, found, as_json=as_json)
        else:
            if not options.mapping:
                progress.say(found.words(assumed_zone=batch.ticks.assumed_zone))
            loaded, admission = asyncio.run(_load(chosen, batch, rules, encoder, progress))
    if not dry_run:
        _print_loaded(batch, loaded, admission, as_json=as_json)
        if not loaded.done:
            ctx.exit(INTERRUPTED)
    if batch.ticks.counted.refused:
        ctx.exit(1)


async def _encoder(chosen: Settings) -> TickEncoder:
    from barstream.feeds.column_encoder import tick_encoder
    from barstream.kafka.topics import TopicNames

    return await tick_encoder(chosen.ticks, TopicNames.of(chosen).ticks)


async def _load(
    chosen: Settings, batch: Batch, rules: LoadRules, encoder: TickEncoder, progress: TickProgress
) -> tuple[Loaded, Admission]:
    from barstream.feeds.load_plan import prepare

    loading = await prepare(
        chosen, batch, rules, encoder=encoder, clock_us=system_clock_us, watcher=progress
    )
    with stopped_by_signals(loading.stop):
        return await loading.run(), loading.admission


def _print_loaded(batch: Batch, loaded: Loaded, admission: Admission, *, as_json: bool) -> None:
    from barstream.cli.load_report import load_facts, report_lines

    if as_json:
        facts = {
            "file": batch.name,
            "ticks": loaded.ticks,
            "resumed_at": loaded.resumed_at,
            "total": loaded.total,
            "heartbeats": loaded.heartbeats,
            "done": loaded.done,
            **load_facts(batch),
            "no_bar": dict(admission.no_bar),
        }
        click.echo(json.dumps(facts))
        return
    if loaded.done:
        click.echo(
            f"{batch.name}: {loaded.ticks:,} of {loaded.total:,} ticks sent by this run, "
            f"{counted(loaded.heartbeats, 'heartbeat')}, all loaded"
        )
    else:
        click.echo(
            f"{batch.name}: stopped at tick {loaded.resumed_at + loaded.ticks:,} of "
            f"{loaded.total:,}; the same command goes on from there"
        )
    for line in report_lines(batch, admission):
        click.echo(f"  {line}")


def _print_dry(batch: Batch, found: FoundLayout, *, as_json: bool) -> None:
    from barstream.cli.load_report import first_ticks, load_facts, report_lines

    if as_json:
        for tick in first_ticks(batch, _DRY_ROWS):
            click.echo(json.dumps(tick))
        click.echo(json.dumps({"file": batch.name, "total": len(batch.ticks), **load_facts(batch)}))
        return
    click.echo(found.words(assumed_zone=batch.ticks.assumed_zone))
    for tick in first_ticks(batch, _DRY_ROWS):
        click.echo(
            "  " + "  ".join(f"{name} {value}" for name, value in tick.items() if value is not None)
        )
    click.echo(f"{batch.name}: {counted(len(batch.ticks), 'tick')}, nothing was sent")
    for line in report_lines(batch, None):
        click.echo(f"  {line}")
