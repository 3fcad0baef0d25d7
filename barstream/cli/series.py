"""``barstream series``: take a series back, or move it to another partition."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import click

from barstream.cli.context import Name, settings

if TYPE_CHECKING:
    from barstream.config import Settings
    from barstream.market.schedule import Series
    from barstream.series.bulk_drop import AsleepSeries
    from barstream.series.contents import Holding, Total
    from barstream.series.move import Outlook

#: Of many series that are dropped at once.
_SHOWN: Final = 20


@click.group("series")
def command() -> None:
    """Take a series back that was loaded wrong, or move it to another partition."""


@command.command("drop")
@click.argument("broker", type=Name(), required=False)
@click.argument("symbol", type=Name(), required=False)
@click.option(
    "--asleep-for", "asleep", type=click.IntRange(min=1), metavar="DAYS",
    help="Instead of one series, all whose last tick is of a trading date so many days ago...",
)  # fmt: skip
@click.option(
    "--ticks-below", "below", type=click.IntRange(min=1), metavar="N",
    help="...and that have fewer ticks than this: garbage that takes places.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be withdrawn and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def drop(
    ctx: click.Context,
    *,
    broker: str | None,
    symbol: str | None,
    asleep: int | None,
    below: int | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Withdraw everything of a series, so that it can be loaded anew.

    Its final and live bars of all timeframes, its heartbeats and its state are withdrawn: readers
    of the topics see a tombstone for each. Its ticks stay in their topic, and are marked: no
    worker, `verify`, `replay` or `explain` takes them any more. Its files may be loaded again.

    It says first what that is, and asks for the name of the series; --yes answers. Refused while
    workers run, while the feed of the series is live, and while a load writes. A drop that was
    ended on the way is done again, and finds what is left.

    With --asleep-for and --ticks-below instead of a name it drops series that somebody made up.
    """
    from barstream.planner import plan_of

    is_bulk = asleep is not None and below is not None
    is_named = broker is not None and symbol is not None
    if (
        is_bulk == is_named
        or (broker is not None) != (symbol is not None)
        or ((asleep is not None) != (below is not None))
    ):
        raise click.UsageError("give BROKER and SYMBOL, or --asleep-for and --ticks-below")
    config = plan_of(settings(ctx)).settings
    if asleep is not None and below is not None:
        ctx.exit(_drop_asleep(config, asleep, below, ask=not yes, dry_run=dry_run, as_json=as_json))
    try:
        name = config.ticks.name_rule.series(broker or "", symbol or "")
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    ctx.exit(_run(config, name, ask=not yes, dry_run=dry_run, as_json=as_json))


def _drop_asleep(
    config: Settings, asleep: int, below: int, *, ask: bool, dry_run: bool, as_json: bool
) -> int:
    """Look, ask, drop; the exit code."""
    from barstream.cli.progress import TickProgress
    from barstream.clock import system_clock_us
    from barstream.series.bulk_drop import BulkDrop
    from barstream.verify.run import tick_spans

    spans = asyncio.run(tick_spans(config))
    with TickProgress("series drop", quiet=as_json) as progress:
        progress.begin(0, sum(span.end - span.begin for span in spans.values()))
        dropping = BulkDrop(config, asleep, below, system_clock_us, progress.advance)
        found = asyncio.run(dropping.look())
    _say_asleep(found, "would_drop", as_json=as_json)
    if not found:
        return 0
    if dry_run or (ask and not _is_confirmed((str(len(found)), "series"))):
        click.echo("nothing was changed", err=as_json)
        return 0 if dry_run else 2
    _say_asleep(asyncio.run(dropping.drop(found)), "dropped", as_json=as_json)
    return 0


def _say_asleep(found: AsleepSeries, kind: str, *, as_json: bool) -> None:
    from barstream.model.time import DAY_US, iso_from_us

    dates = {name: iso_from_us(day * DAY_US)[:10] for name, day in found.last_dates.items()}
    if as_json:
        for (broker, symbol), count in found.ticks.items():
            row = {"type": kind, "broker": broker, "symbol": symbol, "ticks": count,
                   "last_trading_date": dates[broker, symbol]}  # fmt: skip
            click.echo(json.dumps(row))
        return
    for name, count in list(found.ticks.items())[:_SHOWN]:
        ticks = _counted("tick", count)
        click.echo(f"{count:>13,} {ticks}, the last of {dates[name]}: {' '.join(name)}")
    if len(found) > _SHOWN:
        click.echo(f"              and {len(found) - _SHOWN:,} more series")
    done = "were dropped" if kind == "dropped" else "would be dropped"
    click.echo(f"{len(found):,} series {done}")


@command.command("move")
@click.argument("broker", type=Name())
@click.argument("symbol", type=Name())
@click.option(
    "--to-partition", "to", type=click.IntRange(min=0), required=True, metavar="N",
    help="The partition of the tick topic that its feed writes to.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be moved and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def move(
    ctx: click.Context,
    *,
    broker: str,
    symbol: str,
    to: int,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make another partition the home of a series, with all its history.

    Its accepted ticks are appended to that partition, with those behind them that came elsewhere
    and were rejected for it; its bars of before are withdrawn, and the workers make them anew from
    there when they are started. Where one of them would not come out as it is, nothing is moved.

    It says first what that is, and asks for the name of the series; --yes answers. Refused while
    workers run, and while a load writes. All of it is one transaction.
    """
    from barstream.planner import plan_of

    config = plan_of(settings(ctx)).settings
    try:
        name = config.ticks.name_rule.series(broker, symbol)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    ctx.exit(_move(config, name, to, ask=not yes, dry_run=dry_run, as_json=as_json))


def _move(
    config: Settings, name: Series, to: int, *, ask: bool, dry_run: bool, as_json: bool
) -> int:
    """Look, ask, move; the exit code."""
    from barstream.clock import system_clock_us
    from barstream.series.move import Move

    moving = Move(config, name, system_clock_us, to=to)
    _say_move(name, asyncio.run(moving.look()), "would_move", as_json=as_json)
    if dry_run or (ask and not _is_confirmed(name, "move")):
        click.echo("nothing was changed", err=as_json)
        return 0 if dry_run else 2
    _say_move(name, asyncio.run(moving.move()), "moved", as_json=as_json)
    return 0


def _say_move(name: Series, found: Outlook, kind: str, *, as_json: bool) -> None:
    if as_json:
        row = {
            "type": kind,
            "broker": name[0],
            "symbol": name[1],
            "from_partition": found.home,
            "to_partition": found.to,
            "bars": dict(found.bars),
            "ticks": len(found.history),
            "strays": len(found.strays),
            "left": found.left,
        }
        click.echo(json.dumps(row))
        return
    done = "was moved" if kind == "moved" else "would be moved"
    click.echo(f"{' '.join(name)} {done} from partition {found.home} to partition {found.to}:")
    for timeframe, count in found.bars.items():
        click.echo(
            f"{count:>13,} {_counted(f'{timeframe} final', count)}, made anew from its ticks"
        )
    ticks, strays = len(found.history), len(found.strays)
    click.echo(f"{ticks:>13,} {_counted('tick', ticks)} of its bars")
    click.echo(f"{strays:>13,} {_counted('tick', strays)} that came elsewhere after them")
    if found.left:
        left = _counted("tick", found.left)
        click.echo(f"{found.left:>13,} {left} that came elsewhere and are older stay rejected")
    if kind == "moved":
        click.echo("start the workers again; from now on its feed must write to that partition")


def _run(config: Settings, name: Series, *, ask: bool, dry_run: bool, as_json: bool) -> int:
    """Look, ask, drop; the exit code."""
    from barstream.cli.progress import TickProgress
    from barstream.clock import system_clock_us
    from barstream.series.contents import Total
    from barstream.series.drop import Drop
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
    done = asyncio.run(dropping.run(outlook))
    _say(name, Total.of(done), "dropped", as_json=as_json)
    return 0


def _is_confirmed(name: Series, verb: str = "drop") -> bool:
    """Whether whoever is asked types the name of the series."""
    wanted = " ".join(name)
    try:
        said: str = click.prompt(
            f"Type the name of the series to {verb} it ({wanted})", "", show_default=False, err=True
        )
    except click.Abort:  # nobody is there to be asked
        click.echo(err=True)
        return False
    return said.split() == wanted.split()


def _say(name: Series, total: Total, kind: str, *, as_json: bool) -> None:
    from barstream.model.time import iso_from_us

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
    from barstream.model.time import iso_from_us

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
    from barstream.model.time import iso_from_us
    from barstream.series.contents import Total

    at_us = max((part.before.withdrawn_at_us for part in outlook if part.before), default=0)
    if as_json:
        click.echo(json.dumps(_row(name, Total.of([]), "dropped")))
        return
    click.echo(f"{' '.join(name)} was dropped at {iso_from_us(at_us)}, and nothing came since")
