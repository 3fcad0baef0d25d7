"""``barstream schedule``: load market sessions, or show those in force."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from barstream.cli.context import Name, settings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from barstream.codecs.topics.schedule_rows import ScheduleRows
    from barstream.config import Settings
    from barstream.errors import BarstreamError
    from barstream.feeds.schedule_load import ScheduleDifference
    from barstream.market.schedule import Series, SessionRow
    from barstream.model.key import NameRule

EXAMPLES: Final = 8
_NO_JOIN: Final = "bars.schedule is false, so no worker reads sessions"


class Day(click.ParamType):
    """A date in ISO 8601, as days since 1970-01-01."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The date that ``value`` names; fails the command when it names none."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"a date such as 2024-01-31 is required, found {value!r}", param, ctx)


class Zone(click.ParamType):
    """The name of a time zone, such as America/New_York."""

    name = "zone"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ZoneInfo:
        """The zone of that name; fails the command when there is none."""
        try:
            return ZoneInfo(str(value))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            from barstream.feeds.event_time import zones_like

            self.fail(
                f"a zone such as UTC or Europe/London is required, found {value!r}"
                f"{zones_like(str(value))}",
                param,
                ctx,
            )


class Tolerance(click.ParamType):
    """A close tolerance, as microseconds: seconds, with or without an ``s`` behind them."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The tolerance that ``value`` names; fails the command when it names none."""
        from barstream.codecs.topics.session import tolerance_us

        if isinstance(value, int):
            return value
        try:
            return tolerance_us(str(value).strip().removesuffix("s"))
        except ValueError:
            self.fail(f"0 to 3600 seconds are required, such as 90s, found {value!r}", param, ctx)


@click.group("schedule")
def command() -> None:
    """Load or show market sessions."""


@command.command("load")
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--calendar",
    metavar="NAME",
    help="FX, 24x7, an exchange such as XNYS or XHKG, or CME products such as CME_EQUITY.",
)
@click.option("--broker", type=Name(), help="Broker of the series (with --calendar).")
@click.option("--symbol", "symbols", type=Name(), multiple=True, help="Symbol; may be repeated.")
@click.option("--from", "first", type=Day(), help="First trading date to replace.")
@click.option("--to", "last", type=Day(), help="Last trading date to replace (inclusive).")
@click.option(
    "--timezone", "zone", type=Zone(), default="UTC", show_default=True,
    help="Time zone of times in FILE that name none.",
)  # fmt: skip
@click.option(
    "--close-tolerance", "close_tolerance_us", type=Tolerance(), default=0, metavar="SECONDS",
    help="Keep ticks so long after a close in the last minute of the session, such as prints of "
    "a closing auction: 90s.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Show the difference and change nothing.")
@click.pass_context
def load(
    ctx: click.Context,
    *,
    file: Path | None,
    calendar: str | None,
    broker: str | None,
    symbols: tuple[str, ...],
    first: date | None,
    last: date | None,
    zone: ZoneInfo,
    close_tolerance_us: int,
    yes: bool,
    dry_run: bool,
) -> None:
    """Replace sessions with those of FILE (CSV or Parquet) or of a calendar.

    FILE has the columns broker, symbol, trading_date, open, close and optionally session and
    close_tolerance_s (where that is empty, --close-tolerance holds). Sessions of its series that
    it does not contain are withdrawn: within --from and --to, else from the first to the last
    trading date that it has for the series. A calendar reaches from 400 days ago to 370 days
    ahead, as far as its holidays are known, unless --from and --to say otherwise. Futures of CME
    have their daily maintenance hour in CME_EQUITY, CME_RATES, CME_FX and CME_ENERGY_METALS.
    """
    from rich.console import Console

    from barstream.planner import plan_of

    if file is not None and calendar is not None:
        raise click.UsageError("FILE and --calendar exclude each other: give one of them")
    config = plan_of(settings(ctx)).settings
    name_rule = config.ticks.name_rule
    if calendar is not None:
        if broker is None or not symbols:
            raise click.UsageError("--calendar needs --broker and at least one --symbol")
        first, last = _dates_of_calendar(calendar, first, last)
        rows = _calendar_rows(calendar, broker, symbols, first, last, name_rule)
        rows = [replace(row, close_tolerance_us=close_tolerance_us) for row in rows]
    elif file is not None:
        if broker or symbols:
            raise click.UsageError("--broker and --symbol go with --calendar: FILE has its own")
        rows = _file_rows(file, zone, first, last, name_rule, close_tolerance_us)
    else:
        raise click.UsageError("either FILE or --calendar NAME is required")
    console = Console()
    if not config.bars.schedule:
        click.echo(f"note: {_NO_JOIN}; these will be in force once it is true", err=True)
    asyncio.run(_load(config, rows, first, last, console=console, ask=not yes, dry_run=dry_run))


def _dates_of_calendar(name: str, first: date | None, last: date | None) -> tuple[date, date]:
    from barstream.market.calendar import dates_within, warning_of

    if (warning := warning_of(name)) is not None:
        click.echo(f"note: {warning}", err=True)
    first, last, notes = dates_within(name, datetime.now(UTC).date(), first, last)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return first, last


def _calendar_rows(
    name: str,
    broker: str,
    symbols: tuple[str, ...],
    first: date,
    last: date,
    name_rule: NameRule,
) -> list[SessionRow]:
    from barstream.market.calendar import calendar_rows

    try:
        return calendar_rows(name, broker, symbols, first, last, name_rule)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _file_rows(
    file: Path,
    zone: ZoneInfo,
    first: date | None,
    last: date | None,
    name_rule: NameRule,
    close_tolerance_us: int,
) -> list[SessionRow]:
    from barstream.feeds.schedule_file import read_schedule_file

    low, high = _days(first), _days(last)
    rows = [
        row
        for row in read_schedule_file(file, zone, name_rule, close_tolerance_us=close_tolerance_us)
        if (low is None or row.trading_date >= low) and (high is None or row.trading_date <= high)
    ]
    if not rows:
        raise click.UsageError(f"{file} has no trading date from {first} to {last}")
    return rows


def _days(day: date | None) -> int | None:
    from barstream.model.time import days_from_iso_date

    return None if day is None else days_from_iso_date(day.isoformat())


async def _load(
    config: Settings,
    rows: list[SessionRow],
    first: date | None,
    last: date | None,
    *,
    console: Console,
    ask: bool,
    dry_run: bool,
) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from barstream.feeds.schedule_load import dates_of, difference, publish, read_current

    with console.status("reading the schedule in force"):
        current = await read_current(config)
    _say_refused(current.rows)
    changes = difference(current.rows, rows, dates_of(rows, _days(first), _days(last)))
    _show(console, changes)
    if dry_run or not len(changes):
        console.print("nothing was changed" if dry_run else "nothing to change")
        return
    if ask and sys.stdin.isatty() and not click.confirm("Apply?", default=True):
        console.print("nothing was changed")
        return
    columns = TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TextColumn("records")
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("loading", total=len(changes))
        await publish(config, current, changes, lambda count: progress.advance(task, count))
    console.print(f"loaded: {_counts(changes)}")


def _say_refused(rows: ScheduleRows) -> None:
    """What other programs wrote to the topic and no worker takes."""
    reasons = list(rows.refused.values())
    for reason in reasons[:EXAMPLES]:
        click.echo(f"refused by workers: {reason}", err=True)
    if len(reasons) > EXAMPLES:
        click.echo(f"refused by workers: {len(reasons) - EXAMPLES} more records", err=True)


def _counts(changes: ScheduleDifference) -> str:
    return (
        f"{len(changes.added)} added, {len(changes.changed)} changed, "
        f"{len(changes.withdrawn)} withdrawn, {changes.unchanged} unchanged"
    )


def _show(console: Console, changes: ScheduleDifference) -> None:
    from barstream.cli.table import print_table

    console.print(f"sessions: {_counts(changes)}")
    if not len(changes):
        return
    changed = [row for pair in changes.changed for row in pair]
    titles = "", "broker", "symbol", "trading date", "session", "open", "close"
    table = _table([*changes.added, *changed, *changes.withdrawn], *titles)
    for row in changes.added[:EXAMPLES]:
        table.add_row("+", *_short_cells(row), style="green")
    for old, new in changes.changed[:EXAMPLES]:
        table.add_row("-", *_short_cells(old), style="yellow")
        table.add_row("+", *_short_cells(new), style="yellow")
    for row in changes.withdrawn[:EXAMPLES]:
        table.add_row("-", *_short_cells(row), style="red")
    print_table(table)
    kinds = (changes.added, changes.changed, changes.withdrawn)
    if hidden := sum(max(0, len(kind) - EXAMPLES) for kind in kinds):
        console.print(f"... and {hidden} more")


def _cells(row: SessionRow) -> tuple[str, ...]:
    from barstream.codecs.topics.session import session_to_json
    from barstream.codecs.topics.session_schemas import TOLERANCE

    fields = session_to_json(row)
    tolerance_s = fields.pop(TOLERANCE, None)
    cells = tuple(str(value) for value in fields.values())
    return cells if tolerance_s is None else (*cells, f"+{tolerance_s} s")


def _table(rows: Iterable[SessionRow], *titles: str) -> Table:
    """An empty one for ``rows``: of their tolerance there is a column where one has any."""
    from rich.table import Table

    more = ("tolerance",) if any(row.close_tolerance_us for row in rows) else ()
    return Table(*titles, *more, box=None, pad_edge=False, header_style="bold")


def _short_cells(row: SessionRow) -> Iterator[str]:
    """Without seconds that are none: a terminal of 80 columns would cut the times off."""
    for cell in _cells(row):
        yield f"{cell.removesuffix(':00Z')}Z" if cell.endswith(":00Z") else cell


@command.command("show")
@click.argument("broker", type=Name())
@click.argument("symbol", type=Name())
@click.option("--from", "first", type=Day(), help="First trading date.")
@click.option("--to", "last", type=Day(), help="Last trading date (inclusive).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_context
def show(
    ctx: click.Context,
    *,
    broker: str,
    symbol: str,
    first: date | None,
    last: date | None,
    as_json: bool,
) -> None:
    """Show the sessions of a series, times in UTC.

    Exit code 2 if it has none; 0 if the pipeline needs none and trades around the clock.
    """
    from barstream.codecs.topics.session import session_to_json
    from barstream.feeds.schedule_load import read_current
    from barstream.market.schedule import find_conflicts
    from barstream.planner import plan_of

    config = plan_of(settings(ctx)).settings
    try:
        series = config.ticks.name_rule.series(broker, symbol)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not config.bars.schedule:
        click.echo(
            f"{' '.join(series)} trades around the clock, each UTC day a session: {_NO_JOIN}",
            err=as_json,
        )
        return
    rows = asyncio.run(read_current(config)).rows
    _say_refused(rows)
    in_force = rows.rows_of(series)
    if not in_force:
        raise _no_sessions(series, rows)
    for conflict in find_conflicts(in_force):
        click.echo(f"refused by workers: {conflict}", err=True)
    low, high = _days(first), _days(last)
    chosen = [
        row
        for row in sorted(in_force, key=lambda row: row.open_us)
        if (low is None or row.trading_date >= low) and (high is None or row.trading_date <= high)
    ]
    _print_rows(chosen, (lambda row: json.dumps(session_to_json(row))) if as_json else None)


def _no_sessions(series: Series, rows: ScheduleRows) -> BarstreamError:
    from barstream.errors import BarstreamError
    from barstream.market.universe import did_you_mean, nearest_series

    known = [each for each in rows.series() if rows.rows_of(each)]
    hint = did_you_mean(nearest_series(series, known)) or "."
    if not known:
        hint = ", like those of every series."
    return BarstreamError(
        f"{' '.join(series)} has no sessions, so its ticks are rejected as unscheduled{hint} To "
        f"load them: `barstream schedule load --calendar FX --broker {series[0]} --symbol "
        f"{series[1]}`, or another calendar, or a file; or set `schedule = false` in [bars] to run "
        "24x7"
    )


def _print_rows(rows: list[SessionRow], line: Callable[[SessionRow], str] | None) -> None:
    if line is not None:
        for row in rows:
            click.echo(line(row))
        return
    from barstream.cli.table import print_table

    table = _table(rows, "trading date", "session", "open (UTC)", "close (UTC)")
    for row in rows:
        table.add_row(*_cells(row)[2:])
    print_table(table)
