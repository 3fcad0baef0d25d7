"""``barstream topics``: create the topics of the settings, or check those that are there."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

import click

from barstream.cli.context import settings as settings_of

if TYPE_CHECKING:
    from barstream.config import Settings
    from barstream.kafka.topics import Creation, TopicFinding

_ASK_AGAIN_S: Final = 0.5
_STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "refusal": "bold red"}


@click.group("topics")
def command() -> None:
    """Create or check the topics of the settings."""


@command.command("create")
@click.option("--partitions", type=click.IntRange(1), help="Instead of topics.partitions.")
@click.option("--replication", type=click.IntRange(1), help="Instead of topics.replication.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3_600),
    default=0,
    metavar="SECONDS",
    help="Wait this long for a broker that does not answer yet.",
)
@click.option("--quiet", is_flag=True, help="Print only what is not as planned.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_context
def create_command(
    ctx: click.Context,
    partitions: int | None,
    replication: int | None,
    wait_s: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Create the topics that are missing; run it as often as you like, even at the same time.

    Topics that exist are checked and never changed.  An existing tick topic decides the number
    of partitions.  Exit code 1: one of them keeps a worker from starting.
    """
    given = {"topics.partitions": partitions, "topics.replication": replication}
    overrides = {name: value for name, value in given.items() if value is not None}
    creation = asyncio.run(_create(settings_of(ctx, overrides), wait_s))
    findings = [
        finding
        for finding in creation.findings
        if not quiet or finding.level.value in {"warning", "refusal"}
    ]
    _report(ctx, findings, set(creation.created), as_json=as_json)


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_context
def check_command(ctx: click.Context, as_json: bool) -> None:
    """Compare the topics with the plan; nothing is changed.

    Exit code 1: a worker would refuse to start.  Warnings leave it at 0.
    """
    from barstream.kafka.topics import check

    _report(ctx, asyncio.run(check(settings_of(ctx))), set(), as_json=as_json)


async def _create(settings: Settings, wait_s: float) -> Creation:
    """Create the topics; wait for a broker that is still starting."""
    from barstream.kafka.connection import BrokerUnreachableError
    from barstream.kafka.topics import create

    deadline = time.monotonic() + wait_s
    said = False
    while True:
        try:
            return await create(settings)
        except BrokerUnreachableError:
            if time.monotonic() >= deadline:
                raise
            if not said:
                click.echo(
                    f"waiting up to {wait_s:g} s for a broker at {settings.bootstrap}", err=True
                )
                said = True
            await asyncio.sleep(_ASK_AGAIN_S)


def _report(
    ctx: click.Context, findings: list[TopicFinding], created: set[str], *, as_json: bool
) -> None:
    if as_json:
        for finding in findings:
            row = {
                "topic": finding.topic,
                "level": finding.level.value,
                "message": finding.message,
                "mend": finding.mend or None,
                "created": finding.topic in created,
            }
            click.echo(json.dumps(row))
    elif findings:
        _print(findings, created)
    refused = any(finding.level.value == "refusal" for finding in findings)
    ctx.exit(1 if refused else 0)


def _print(findings: list[TopicFinding], created: set[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from barstream.cli.table import print_table

    table = Table("topic", "state", "details", box=None, pad_edge=False, header_style="bold")
    for finding in findings:
        level = finding.level.value
        word = "created" if level == "ok" and finding.topic in created else level
        table.add_row(
            finding.topic, Text(word, style=_STYLES[level]), Text(finding.message, overflow="fold")
        )
    print_table(table)
    console = Console()
    # Outside the table and unwrapped, so that a command can be copied.
    for mend in dict.fromkeys(finding.mend for finding in findings if finding.mend):
        console.print(Text(f"  mend: {mend}"), soft_wrap=True)
