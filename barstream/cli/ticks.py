"""``barstream ticks``: a made-up feed, or ticks from a file."""

from __future__ import annotations

import click

from barstream.cli.ticks_load import load
from barstream.cli.ticks_simulate import simulate


@click.group("ticks")
def command() -> None:
    """Simulate a feed, or load ticks from files."""


command.add_command(simulate)
command.add_command(load)
