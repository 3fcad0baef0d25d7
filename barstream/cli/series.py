"""``barstream series``: take a series back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from barstream.cli.context import Name, settings

if TYPE_CHECKING:
    from barstream.config import Settings
    from barstream.core.schedule import Series
    from barstream.series_drop import Drop, Holding, Total


@click.group("series")
def command() -> None:
    """Take a series back that was loaded wrong."""


@command.command("drop")
@click.argument("broker", type=Name())
@click.argument("symbol", type=Name())
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be withdrawn and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def drop(
    ctx: click.Context, *, broker: str, symbol: str, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Withdraw everything of a series, so that it can be loaded anew.

    Its final and live bars of all timeframes, its heartbeats and its state are withdrawn: readers
    of the topics see a tombstone for each. Its ticks stay in their topic, and are marked: no
    worker, `verify`, `replay` or `explain` takes them any more. Its files may be loaded again.

    It says first what that is, and asks for the name of the series; --yes answers. Refused while
    workers run, while the feed of the series is live, and while a load writes. A drop that was
    ended on the way is done again, and finds what is left.
    """
    from barstream.planner import plan_of

    config = plan_of(settings(ctx)).settings
    try:
        name = config.ticks.name_rule.series(broker, symbol)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    ctx.exit(_run(config, name, ask=not yes, dry_run=dry_run, as_json=as_json))


def _run(config: Settings, name: Series, *, ask: bool, dry_run: bool, as_json: bool) -> int:
    """Look, ask, drop; the exit code."""
    from barstream.cli.progress import TickProgress
    from barstream.clock import system_clock_us
    from barstream.series_drop import Drop, Total
    from barstream.verify.run import tick_spans

    spans = asyncio.run(tick_spans(config))
    with TickProgress("series drop", quiet=as_json) as progress:
        progress.begin(0, sum(span.end - span.begin for span in spans.values()))
        dropping = Drop(config, name, system_clock_us, progress.advance)
        outlook = asyncio.run(dropping.outlook(list(spans)))
    total = Total.of(outlook)
    if not total.ends:
        _say_nothing_left(name, outlook, as_json=as_json)
        return 0
    _say(name, total, "would_drop", as_json=as_json)
    if dry_run:
        click.echo("nothing was changed", err=as_json)
        return 0
    if ask and not _is_confirmed(name):
        click.echo("nothing was changed", err=as_json)
        return 2
    done = _drop(dropping, outlook)
    _say(name, Total.of(done), "dropped", as_json=as_json)
    return 0


def _drop(dropping: Drop, outlook: list[Holding]) -> list[Holding]:
    dropping.progress = lambda _: None
    return asyncio.run(dropping.run(outlook))


def _is_confirmed(name: Series) -> bool:
    """Whether whoever is asked types the name of the series."""
    wanted = " ".join(name)
    try:
        said: str = click.prompt(
            f"Type the name of the series to drop it ({wanted})", "", show_default=False, err=True
        )
    except click.Abort:  # nobody is there to be asked
        click.echo(err=True)
        return False
    return said.split() == wanted.split()


def _say(name: Series, total: Total, kind: str, *, as_json: bool) -> None:
    from barstream.core.time import iso_from_us

    if as_json:
        click.echo(json.dumps(_row(name, total, kind)))
        return
    is_done = kind == "dropped"
    click.echo(f"{' '.join(name)} {'was dropped' if is_done else 'has, and would lose'}:")
    for timeframe, bars in total.bars.items():
        span = f"{iso_from_us(bars.first_us)} to {iso_from_us(bars.last_us)}"
        click.echo(f"{bars.count:>13,} {_counted(f'{timeframe} final', bars.count)}, {span}")
    click.echo(f"{total.heartbeats:>13,} {_counted('heartbeat', total.heartbeats)}")
    stay = "which stay in their topic and are marked"
    click.echo(f"{total.ticks:>13,} {_counted('tick', total.ticks)}, {stay}:")
    for partition, end in sorted(total.ends.items()):
        click.echo(f"              below offset {end:,} of partition {partition}")
    if is_done:
        click.echo("start the workers again; what was loaded may be loaded anew")


def _counted(what: str, count: int) -> str:
    return what if count == 1 else f"{what}s"


def _row(name: Series, total: Total, kind: str) -> dict[str, Any]:
    from barstream.core.time import iso_from_us

    return {
        "type": kind,
        "broker": name[0],
        "symbol": name[1],
        "bars": {
            timeframe: {
                "count": bars.count,
                "first": iso_from_us(bars.first_us),
                "last": iso_from_us(bars.last_us),
            }
            for timeframe, bars in total.bars.items()
        },
        "heartbeats": total.heartbeats,
        "ticks": total.ticks,
        "below": {str(partition): end for partition, end in sorted(total.ends.items())},
    }


def _say_nothing_left(name: Series, outlook: list[Holding], *, as_json: bool) -> None:
    from barstream.core.time import iso_from_us
    from barstream.series_drop import Total

    at_us = max((part.before.withdrawn_at_us for part in outlook if part.before), default=0)
    if as_json:
        click.echo(json.dumps(_row(name, Total.of([]), "dropped")))
        return
    click.echo(f"{' '.join(name)} was dropped at {iso_from_us(at_us)}, and nothing came since")
