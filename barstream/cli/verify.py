"""``barstream verify``: is everything that was published right?"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from barstream.cli.context import Name, Time
from barstream.cli.context import settings as settings_of

if TYPE_CHECKING:
    from barstream.config import Settings
    from barstream.log.selection import Selection
    from barstream.verify.task import Outcome


@click.command("verify")
@click.argument("broker", required=False, type=Name())
@click.argument("symbol", required=False, type=Name())
@click.option("--from", "start", type=Time(), metavar="TIME", help="First bucket (ISO 8601, UTC).")
@click.option("--to", "end", type=Time(), metavar="TIME", help="End (exclusive).")
@click.option(
    "--timeframe",
    "timeframes",
    multiple=True,
    metavar="PERIOD",
    help="Only this timeframe; may be repeated. 1m is always read.",
)
@click.option(
    "--grace",
    "graces",
    type=click.FloatRange(0, 3_600),
    multiple=True,
    metavar="SECONDS",
    help="A grace that was in force before: closes by it are legal, too.  May be repeated.",
)
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="Processes to run at once.  [default: one per core, fewer for little work]",
)
@click.option("--sessions", is_flag=True, help="Print the report of every session.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    broker: str | None,
    symbol: str | None,
    start: int | None,
    end: int | None,
    timeframes: tuple[str, ...],
    graces: tuple[float, ...],
    partition: int | None,
    processes: int | None,
    sessions: bool,
    as_json: bool,
) -> None:
    """Recompute the finals from the ticks and compare every field with what was published.

    It also checks that every in-session minute has its final, that every close was legal, and that
    every tick is in exactly one place (a bar, an open minute, ticks_rejected, off session).
    Nothing is written, and workers may keep running.

    Exit code 0: no differences; 1: there are some; 2: it could not be verified.  What can no
    longer be proven (retention) and what a newer schedule row explains are listed under headings of
    their own and leave it at 0.
    """
    from barstream.planner import plan_of

    chosen = plan_of(settings_of(ctx)).settings
    wanted = _selection(chosen, broker, symbol, start, end)
    outcome = _verify(chosen, wanted, timeframes, graces, partition, processes)
    if as_json:
        for line in _lines(outcome):
            click.echo(json.dumps(line))
    else:
        from barstream.cli.verify_report import print_report

        print_report(outcome, sessions=sessions)
    ctx.exit(1 if outcome.findings.number("difference") else 0)


def _selection(
    chosen: Settings, broker: str | None, symbol: str | None, start: int | None, end: int | None
) -> Selection:
    from barstream.log.selection import Selection

    try:
        return Selection.of(broker, symbol, start, end, name_rule=chosen.ticks.name_rule)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _verify(
    chosen: Settings,
    wanted: Selection,
    timeframes: tuple[str, ...],
    graces: tuple[float, ...],
    partition: int | None,
    processes: int | None,
) -> Outcome:
    import asyncio

    from barstream.cli.progress import TickProgress
    from barstream.config.fields import seconds_to_us
    from barstream.verify.run import processes_for, records_of, tasks_of, tick_spans, verify

    spans = asyncio.run(tick_spans(chosen))
    if partition is not None:
        if partition not in spans:
            raise click.BadParameter(
                f"the tick topic has partitions 0 to {len(spans) - 1}, found {partition}",
                param_hint="--partition",
            )
        spans = {partition: spans[partition]}
    if processes is None:
        processes = processes_for(asyncio.run(records_of(chosen, spans)), os.cpu_count() or 1)
    before_us = [seconds_to_us(grace_s) for grace_s in graces]
    tasks = tasks_of(chosen, spans, wanted, timeframes, before_us)
    with TickProgress("verify", lines=True) as progress:
        progress.begin(0, sum(span.end - span.begin for span in spans.values()))
        return verify(tasks, processes, progress.advance)


def _lines(outcome: Outcome) -> list[dict[str, Any]]:
    from barstream.verify.task import summary

    return [
        *(finding.to_json() for finding in outcome.findings.kept),
        *(report.to_json() for report in outcome.sessions),
        summary(outcome),
    ]
