"""The command line: one module per command, imported only when that command runs.

``barstream --help`` therefore needs neither Faust nor numpy and answers at once.  A new command
is a module ``barstream/cli/<name>.py`` with a click command, and a line in `COMMANDS` and
`SUMMARIES`.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Final

import click

from barstream.cli.command_group import LazyGroup
from barstream.cli.context import Invocation
from barstream.errors import BarstreamError
from barstream.garbage_collection import collect_rarely

#: Name to ``module:attribute``.
COMMANDS: Final[dict[str, str]] = {
    "bars": "barstream.cli.bars:command",
    "broker": "barstream.cli.broker:command",
    "config": "barstream.cli.config:command",
    "demo": "barstream.cli.demo:command",
    "explain": "barstream.cli.explain:command",
    "plan": "barstream.cli.plan:command",
    "replay": "barstream.cli.replay:command",
    "schedule": "barstream.cli.schedule:command",
    "series": "barstream.cli.series:command",
    "ticks": "barstream.cli.ticks:command",
    "topics": "barstream.cli.topics:command",
    "try": "barstream.cli.trial:command",
    "verify": "barstream.cli.verify:command",
    "worker": "barstream.cli.worker:command",
}

#: What ``--help`` says of each, so that it need not import them.
SUMMARIES: Final[dict[str, str]] = {
    "bars": "Print or follow the bars of a series.",
    "broker": "Run the embedded Kafka-compatible broker.",
    "config": "Print the settings in force and where each comes from.",
    "demo": "Broker, topics, schedule, feed and worker in one go.",
    "explain": "Explain why a bar is what it is, or why there is none.",
    "plan": "Print what the pipeline makes, and from what.",
    "replay": "Derive bars anew into shadow topics, and compare them.",
    "schedule": "Load or show market sessions.",
    "series": "Take a series back, or move it to another partition.",
    "ticks": "Simulate a feed, or load ticks from files.",
    "topics": "Create or check the topics.",
    "try": "See the bars of your own files, in one go.",
    "verify": "Check every bar against the ticks.",
    "worker": "Run a worker: ticks in, bars out.",
}


@click.command(cls=LazyGroup, commands=COMMANDS, summaries=SUMMARIES)
@click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings file; by default BARSTREAM_CONFIG, or barstream.toml if there is one.",
)
@click.version_option(package_name="barstream", message="%(package)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Gap-free market-data bars from a Kafka topic of ticks."""
    ctx.obj = Invocation(config)


def main() -> None:
    """Entry point of the console script and of ``python -m barstream``."""
    collect_rarely()  # of what is imported, too, nothing is garbage
    try:
        cli(prog_name="barstream")
    except Exception:  # noqa: BLE001  Python would end with 1: an answer of `verify` and `replay`
        traceback.print_exc()
        sys.exit(BarstreamError.exit_code)
