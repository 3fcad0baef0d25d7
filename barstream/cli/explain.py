"""``barstream explain``: why a bar is as it is, or is not there."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from barstream.cli.context import Name, Time
from barstream.cli.context import settings as settings_of

if TYPE_CHECKING:
    from barstream.config import Settings
    from barstream.model.period import Period


@click.command("explain")
@click.argument("broker", type=Name())
@click.argument("symbol", type=Name())
@click.argument("time_us", metavar="TIME", type=Time())
@click.option(
    "--timeframe",
    default="1m",
    show_default=True,
    help="Any the pipeline makes, such as 1m, 5m or 1d.",
)
@click.option(
    "--ticks",
    "ticks",
    type=click.Choice(["some", "all"]),
    default="some",
    show_default=True,
    help="Print the first few ticks and those that made the prices, or all; in JSON the first and "
    "last 20, or all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    broker: str,
    symbol: str,
    time_us: int,
    timeframe: str,
    ticks: str,
    as_json: bool,
) -> None:
    """Explain why the bar of BROKER SYMBOL that holds TIME is what it is, or why there is none.

    TIME is ISO 8601, UTC; of days, weeks and months it is a trading date. Everything is read from
    Kafka: no worker needs to run. Exit code 0: the bar is final; 1: it is not, and the reason is
    printed; 2: it could not be explained.
    """
    from barstream.planner import plan_of

    settings = plan_of(settings_of(ctx)).settings
    try:
        series = settings.ticks.name_rule.series(broker, symbol)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    period = _period(settings, timeframe)
    found = asyncio.run(
        # those that made the prices may be anywhere among them
        _explain(
            settings,
            series,
            period,
            time_us,
            all_ticks=not as_json or ticks == "all",
            quiet=as_json,
        )
    )
    if as_json:
        click.echo(json.dumps(found))
    else:
        from barstream.cli.explain_lines import show

        show(found, all_ticks=ticks == "all")
    ctx.exit(0 if found["status"] == "final" else 1)


def _period(settings: Settings, text: str) -> Period:
    from barstream.config.fields import period_of
    from barstream.config.periods import periods_in_force
    from barstream.model.period import MINUTE

    there = {str(period): period for period in (MINUTE, *periods_in_force(settings).upper)}
    there |= {period.timeframe: period for period in there.values()}
    try:
        period = there.get(str(period_of(text, settings.bars.anchor))) or there.get(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if period is None:
        raise click.UsageError(
            f"the pipeline makes {' '.join(dict.fromkeys(map(str, there.values())))}, not {text}"
        )
    return period


async def _explain(
    settings: Settings,
    series: tuple[str, str],
    period: Period,
    time_us: int,
    *,
    all_ticks: bool,
    quiet: bool,
) -> dict[str, Any]:
    from barstream.cli.read_progress import ReadingProgress
    from barstream.explain.report import closed_by, report
    from barstream.explain.rollups import UpperFacts
    from barstream.explain.run import gather, last_minute
    from barstream.explain.topics import Log
    from barstream.kafka.connection import reaching
    from barstream.model.period import MINUTE

    with ReadingProgress(quiet=quiet) as progress:
        log = Log(settings, progress)
        async with reaching(settings), log.cluster:
            bucket_us = await log.bucket(*series, period, time_us)
            facts = await gather(log, *series, period, bucket_us)
            found, told_by_us = report(facts, all_ticks=all_ticks)
            if isinstance(facts, UpperFacts):
                last = await last_minute(log, facts)
                found["last_minute"] = None if last is None else closed_by(last)
            if told_by_us is not None:
                minute = await gather(log, *series, MINUTE, told_by_us)
                found["waiting_minute"], _ = report(minute, all_ticks=all_ticks)
    return found
