"""What a verification found, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import click

from barstream.model.time import iso_date_from_days, iso_from_us, iso_micros_from_us
from barstream.verify.findings import TICKS_SHOWN, shown

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
    # what is said of ticks and of the bar of one minute stands together
    nowhere = finding.bucket_us is None
    return (
        finding.broker or "", finding.symbol or "", finding.timeframe,
        -1 if finding.bucket_us is None else finding.bucket_us,
        -1 if finding.offset is None or not nowhere else finding.offset, finding.partition,
    )  # fmt: skip


def _block(findings: list[Finding]) -> Iterable[str]:
    """A bar, or a record that is of none, and what is wrong with it: a line a sentence."""
    first = findings[0]
    names = ", ".join(
        dict.fromkeys(
            each.rule if each.field is None or each.offset is not None else each.field
            for each in findings
        )
    )
    if first.bucket_us is None:
        yield f"  partition {first.partition}: {names}"
    else:
        yield (
            f"  {first.broker} {first.symbol} {first.timeframe} {iso_from_us(first.bucket_us)} "
            f"(partition {first.partition}): {names}"
        )
    for alike in _alike(findings):
        yield f"    {_line(alike)}"
    closed_by = next((finding.closed_by for finding in findings if finding.closed_by), None)
    if closed_by is not None:
        yield f"    closed by: {closed_by}"
    ticks = {tick.offset: tick for finding in findings for tick in finding.ticks}
    for offset in sorted(ticks)[:TICKS_SHOWN]:
        tick = ticks[offset]
        yield (
            f"      offset {tick.offset}  {iso_micros_from_us(tick.time_us)}  "
            f"price {tick.price}  size {tick.size}"
        )
    count = max(len(ticks), *(finding.ticks_total for finding in findings))
    if count > TICKS_SHOWN:
        yield f"      ... {count:,} ticks in all"


def _alike(findings: list[Finding]) -> list[list[Finding]]:
    """Findings of one minute by the sentence that they have in common."""
    found: dict[tuple[Any, ...], list[Finding]] = {}
    for each in findings:
        of_tick = each.offset is not None
        said = each.published if of_tick else None
        found.setdefault((each.rule, of_tick, said, _sentence(each)), []).append(each)
    return list(found.values())


def _sentence(finding: Finding) -> str:
    """What is wrong, without the name of what it is wrong with."""
    what = finding.field if finding.offset is None else f"tick {finding.offset}"
    return finding.detail.removeprefix(f"{what} ")


def _line(alike: list[Finding]) -> str:
    first, sentence = alike[0], _sentence(alike[0])
    if first.offset is not None:
        offsets = [each.offset for each in alike]
        ticks = (
            f"tick {offsets[0]}" if len(alike) == 1
            else f"{len(alike):,} ticks, at offsets {offsets[0]} to {offsets[-1]}"
        )  # fmt: skip
        said = "" if first.expected is None else f"; published {first.published or 'none'}"
        return f"{first.rule}: {ticks}: {sentence}{said}"
    if first.field is None:
        return f"{first.rule}: {sentence}"
    values = "; ".join(
        f"{each.field} expected {shown(each.field, each.expected)}, "
        f"published {shown(each.field, each.published)}"
        for each in alike
    )
    return f"{values}: {sentence}"


def _print_sessions(reports: list[SessionReport]) -> None:
    from rich import box
    from rich.table import Table

    from barstream.cli.table import print_table

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
    print_table(table)


def _print_summary(outcome: Outcome) -> None:
    counts = {
        name: sum(getattr(each, name) for each in outcome.sessions)
        for name in ("expected", "real", "synthetic", "revised", "missing", "asleep")
    }
    bars = ", ".join(f"{count:,} of {timeframe}" for timeframe, count in outcome.bars.items())
    click.echo(f"bars: {bars}")
    click.echo(
        f"minutes: {outcome.series:,} series, {len(outcome.sessions):,} sessions; "
        f"{counts.pop('expected'):,} expected, {counts.pop('real'):,} real{_more(counts)}"
    )
    ticks = outcome.accounts
    elsewhere = {
        "in open minutes": ticks.open,
        "late": ticks.late,
        "in a second partition": ticks.elsewhere,
        "unscheduled": ticks.unscheduled,
        "rejected otherwise": ticks.refused - ticks.elsewhere - ticks.unscheduled,
        "off session": ticks.off_session,
        "withdrawn": ticks.withdrawn,
    }
    click.echo(
        f"ticks: {ticks.ticks:,} asked for; {ticks.in_bars:,} in finals{_more(elsewhere)} "
        f"({ticks.read:,} records read)"
    )
    causes = [f"{count:,} by {name}" for name, count in outcome.causes.items() if count]
    if causes:
        click.echo(f"closed: {', '.join(causes)}")
    for note in outcome.notes:
        click.echo(f"note: {note}")
    differences = outcome.findings.number("difference")
    verdict = f"{differences:,}" if differences else "no"
    others = {
        "explained by the schedule": outcome.findings.number("schedule"),
        "superseded": outcome.findings.number("superseded"),
        "unproven": outcome.findings.number("unproven"),
    }
    click.secho(
        f"{verdict} {'difference' if differences == 1 else 'differences'}{_more(others)} "
        f"({outcome.seconds:.1f} s)",
        fg="red" if differences else "green",
    )


def _more(counts: Mapping[str, int]) -> str:
    """Those that are not zero, each behind a comma."""
    return "".join(f", {count:,} {name}" for name, count in counts.items() if count)
