"""What a comparison says: a table in the terminal, a page of Markdown with a drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.chart import chart
from bench.comparison import FIGURES, Row, figures_of, ratios_of, rows_of
from bench.results import Results

PAGE: Final = "comparison.md"
DRAWING: Final = "comparison.svg"
_DRAWN: Final = (
    ("drain", "ticks_per_s"), ("drain", "cpu_us_per_tick"), ("paced", "live_p50_ms"),
    ("paced", "final_p50_ms"), ("paced", "final_p99_ms"),
)  # fmt: skip
_LEGEND: Final = (
    "Ratios to the best variant of Kafka Streams in that row, formed within each round: median "
    "(least to most). ↑ more is better, ↓ less is. Where it has no such figure, the figure itself."
)


def show(results: Results, titles: Mapping[str, str], console: Console | None = None) -> None:
    """Print the table."""
    console = console or Console()
    table = Table(caption=_LEGEND, caption_justify="left")
    table.add_column("shape")
    table.add_column("figure")
    for title in titles.values():
        table.add_column(title, justify="right")
    for shape, rows in groupby(rows_of(results.all, list(titles)), key=lambda row: row.shape):
        for number, row in enumerate(rows):
            table.add_row("" if number else shape, row.title, *row.cells)
        table.add_section()
    console.print(table)


def write(results: Results, contestants: Mapping[str, Any], directory: Path) -> None:
    """Write the page and the drawing.

    Args:
        results: what was measured.
        contestants: by name, each with a title and a note, in the order of the table.
        directory: made if it is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    titles = {name: each.title for name, each in contestants.items()}
    shapes = list(dict.fromkeys(each.shape for each in results.all))
    drawn = [each for each in FIGURES if (each.phase, each.name) in _DRAWN]
    panels = [(figure, ratios_of(results.all, figure, shapes)) for figure in drawn]
    has_drawing = any(by_shape for _, by_shape in panels)
    if has_drawing:
        (directory / DRAWING).write_text(chart(panels, titles))
    names = list(titles)
    parts = [
        "# barstream and its peers", "",
        ", ".join(f"{name} {value}" for name, value in results.settings.items()) + ".", "",
        *([f"![Ratios]({DRAWING})", ""] if has_drawing else []),
        "## Ratios", "", _LEGEND, "", _markdown(rows_of(results.all, names), titles), "",
        "## As measured", "", "Medians (least to most) on this machine; quote the ratios.", "",
        _markdown(figures_of(results.all, names), titles), "",
        "## Contestants", "", "| | |", "| --- | --- |",
        *(f"| {each.title} | {each.note} |" for each in contestants.values()),
    ]  # fmt: skip
    if failed := [each for each in results.all if each.failed]:
        parts += ["", "## Failed", ""]
        for each in failed:
            place = f"round {each.round}, {each.shape}, {each.phase}, {titles[each.contestant]}"
            parts += [f"- {place}:", "", "  ```", *_indented(each.failed or ""), "  ```"]
    (directory / PAGE).write_text("\n".join(parts) + "\n")


def _markdown(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    heads = ["shape", "figure", *titles.values()]
    lines = [_line(heads), "| --- | --- |" + " ---: |" * len(titles)]
    return "\n".join([*lines, *(_line([row.shape, row.title, *row.cells]) for row in rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
