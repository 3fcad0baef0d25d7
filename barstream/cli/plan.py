"""``barstream plan``: what the pipeline makes, and of what, without asking a broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from barstream.cli.context import settings as settings_of

if TYPE_CHECKING:
    from barstream.planner import Entity, Plan


@click.command("plan")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Print what the pipeline makes, and from what; no broker is asked.

    Each line is one entity: what it is for, its key, its topic, and for 1m the heartbeats that
    close it.  Numbers of partitions are those of the settings; a tick topic that exists has its
    own, which then holds for all.
    """
    from barstream.planner import plan_of

    plan = plan_of(settings_of(ctx))
    if as_json:
        for entity in (*plan.inputs, *plan.entities):
            click.echo(json.dumps(_row(entity)))
    else:
        _print(plan)


def _row(entity: Entity) -> dict[str, Any]:
    return {
        "entity": entity.name,
        "role": entity.role,
        "model": entity.model,
        "timeframe": entity.timeframe,
        "period": None if entity.period is None else str(entity.period),
        "key": list(entity.key),
        "topic": entity.topic,
        "partitions": entity.partitions,
        "like": entity.like,
        "sync": entity.sync,
        "made_of": entity.made_of,
        "retention_days": entity.retention_days,
    }


def _print(plan: Plan) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from barstream.cli.table import print_table

    entities = (*plan.inputs, *plan.entities)
    cells = {name: [cell(entity) for entity in entities] for name, cell in _COLUMNS.items()}
    console = Console()
    # in a file or a pipe nothing is gained by leaving columns out
    left_out = _fit(cells, console.width) if console.is_terminal else ()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for name in cells:
        table.add_column(name, no_wrap=True, justify=_JUSTIFY.get(name, "left"))
    for entity, *row in zip(entities, *cells.values(), strict=True):
        style = "dim" if entity.topic is None else ""
        table.add_row(*map(Text, row), style=style, end_section=entity is plan.inputs[-1])
    print_table(table)
    notes = list(plan.notes)
    if left_out:
        notes.append(f"no room for {' and '.join(left_out)}: use a wider terminal, or --json")
    for note in notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def _kept(entity: Entity) -> str:
    if entity.topic is None:
        return ""
    return "for ever" if entity.retention_days is None else f"{entity.retention_days:g} days"


_COLUMNS: Final[dict[str, Callable[[Entity], str]]] = {
    "entity": lambda entity: entity.name,
    "role": lambda entity: entity.role,
    "timeframe": lambda entity: "" if entity.period is None else str(entity.period),
    "key": lambda entity: " ".join(entity.key),
    "topic": lambda entity: entity.topic or "(when read)",
    "partitions": lambda entity: "" if entity.partitions is None else str(entity.partitions),
    "sync": lambda entity: entity.sync or "",
    "made of": lambda entity: entity.made_of or "",
    "kept": _kept,
}
_JUSTIFY: Final[dict[str, Literal["right"]]] = {"partitions": "right", "kept": "right"}
#: What can be missed first, where a terminal is narrow.
_LEAST_MISSED: Final = ("made of", "kept", "key", "partitions")
_BETWEEN: Final = 3


def _fit(cells: dict[str, list[str]], width: int) -> list[str]:
    """Take columns out until the rest fits; returns which."""
    left_out = []
    for name in _LEAST_MISSED:
        if _width(cells) > width:
            del cells[name]
            left_out.append(name)
    return left_out


def _width(cells: dict[str, list[str]]) -> int:
    widest = sum(max(map(len, [name, *column])) for name, column in cells.items())
    return widest + _BETWEEN * len(cells)
