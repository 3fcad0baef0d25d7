"""``barstream config``: the settings in force and where each comes from."""

from __future__ import annotations

import json

import click

from barstream.cli.context import settings


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--changed", is_flag=True, help="Print only what is set somewhere.")
@click.pass_context
def command(ctx: click.Context, as_json: bool, changed: bool) -> None:
    """Print the settings in force and where each comes from; secrets are masked."""
    from barstream.config.inventory import rows
    from barstream.config.mask import shown
    from barstream.config.settings import DEFAULT

    listed = [row for row in rows(settings(ctx)) if not changed or row.source != DEFAULT]
    if as_json:
        for row in listed:
            click.echo(json.dumps(row._asdict()))
        return

    from rich.table import Table
    from rich.text import Text

    from barstream.cli.table import print_table

    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for row in listed:
        style = "dim" if row.source == DEFAULT else ""
        table.add_row(row.name, Text(shown(row.value), overflow="fold"), row.source, style=style)
    print_table(table)
