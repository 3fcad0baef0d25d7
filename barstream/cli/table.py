"""Tables on stdout: a terminal has its width and its colours, a file or a pipe has whole lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

#: No line is this long: without a terminal nothing is folded or cut.
_UNBOUNDED: Final = 10_000


def print_table(table: Table) -> None:
    """Print it; where there is no terminal, unfolded and without blanks at the ends of lines."""
    console = Console()
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(width=_UNBOUNDED)
    with wide.capture() as capture:
        wide.print(table)
    for line in capture.get().splitlines():
        console.out(line.rstrip(), highlight=False)
