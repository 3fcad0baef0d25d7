"""What a verification found, for people."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import click

from barstream.core.time import iso_date_from_days, iso_from_us, iso_micros_from_us

if TYPE_CHECKING:
    from barstream.verify.findings import Finding, Kind
    from barstream.verify.session_reports import SessionReport
    from barstream.verify.task import Outcome

#: Blocks printed of a kind; ``--json`` has as many as are kept.
_SHOWN: Final = 50
_HEADINGS: Final[dict[Kind, str]] = {
    "difference": "Differences",
    "schedule": "Explained by schedule rows that came later",
    "superseded": "Wrong once, and superseded by a later revision",
    "unproven": "No longer provable",
}


def print_report(outcome: Outcome, *, sessions: bool) -> None:
    """Print it to stdout."""
    for kind, heading in _HEADINGS.items():
        found = [finding for finding in outcome.findings.kept if finding.kind == kind]
        if found:
            click.secho(f"{heading}: {outcome.findings.number(kind):,}", bold=True)
            _print_blocks(found)
    if sessions:
        _print_sessions(outcome.sessions)
    _print_summary(outcome)


def _print_blocks(found: list[Finding]) -> None:
    ordered = sorted(found, key=_place)
    blocks = [list(block) for _, block in groupby(ordered, key=_place)]
    for block in blocks[:_SHOWN]:
        click.echo("\n".join(_block(block)))
    if len(blocks) > _SHOWN:
        click.echo(f"  ... and {len(blocks) - _SHOWN:,} more; --json prints them all")
    click.echo()


def _place(finding: Finding) -> tuple[Any, ...]:
    return (
        finding.broker or "", finding.symbol or "", finding.timeframe,
        -1 if finding.bucket_us is None else finding.bucket_us,
        -1 if finding.offset is None else finding.offset, finding.partition,
    )  # fmt: skip


def _block(findings: list[Finding]) -> Iterable[str]:
    first = findings[0]
    if first.bucket_us is None:
        yield f"  partition {first.partition}"
    else:
        yield (
            f"  {first.broker} {first.symbol} {first.timeframe} {iso_from_us(first.bucket_us)} "
            f"(partition {first.partition})"
        )
    for finding in findings:
        line = finding.to_json()
        if finding.field is None:
            yield f"    {finding.rule}: {finding.detail}"
        else:
            yield (
                f"    {finding.field}: expected {line['expected']}, published "
                f"{line['published']}; {finding.detail}"
            )
    if first.closed_by is not None:
        yield f"    closed by: {first.closed_by}"
    ticks = next((finding for finding in findings if finding.ticks), None)
    if ticks is not None:
        for tick in ticks.ticks:
            yield (
                f"      offset {tick.offset}  {iso_micros_from_us(tick.time_us)}  "
                f"price {tick.price}  size {tick.size}"
            )
        if ticks.ticks_total > len(ticks.ticks):
            yield f"      ... {ticks.ticks_total:,} ticks in all"


def _print_sessions(reports: list[SessionReport]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in ("series", "date", "session"):
        table.add_column(name, no_wrap=True)
    counts = ("expected", "real", "synthetic", "revised", "missing", "asleep")
    for name in (*counts, "offsets"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("checksum", no_wrap=True)
    for each in reports:
        offsets = "" if each.first_offset is None else f"{each.first_offset}-{each.last_offset}"
        table.add_row(
            f"{each.broker} {each.symbol}", iso_date_from_days(each.trading_date),
            str(each.session), *(f"{getattr(each, name):,}" for name in counts), offsets,
            each.checksum,
        )  # fmt: skip
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


def _print_summary(outcome: Outcome) -> None:
    counts = {
        name: sum(getattr(each, name) for each in outcome.sessions)
        for name in ("expected", "real", "synthetic", "revised", "missing", "asleep")
    }
    bars = ", ".join(f"{count:,} of {timeframe}" for timeframe, count in outcome.bars.items())
    click.echo(f"bars: {bars}")
    click.echo(
        f"minutes: {outcome.series:,} series, {len(outcome.sessions):,} sessions; "
        + ", ".join(f"{count:,} {name}" for name, count in counts.items())
    )
    ticks = outcome.accounts
    click.echo(
        f"ticks: {ticks.ticks:,} records; {ticks.in_bars:,} in finals, {ticks.open:,} in open "
        f"minutes, {ticks.late:,} late, {ticks.refused:,} rejected otherwise, "
        f"{ticks.off_session:,} off session, {ticks.out_of_range:,} out of range"
    )
    if outcome.causes:
        closed = ", ".join(f"{count:,} by {name}" for name, count in outcome.causes.items())
        click.echo(f"closed: {closed}")
    for note in outcome.notes:
        click.echo(f"note: {note}")
    differences = outcome.findings.number("difference")
    verdict = "no differences" if not differences else f"{differences:,} differences"
    click.secho(
        f"{verdict}; {outcome.findings.number('schedule'):,} explained by the schedule, "
        f"{outcome.findings.number('superseded'):,} superseded, "
        f"{outcome.findings.number('unproven'):,} unproven ({outcome.seconds:.1f} s)",
        fg="red" if differences else "green",
    )
