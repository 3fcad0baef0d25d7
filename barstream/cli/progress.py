"""A progress bar for ticks on their way: count, rate, and what else there is to say."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """Ticks a second, of late."""

    def render(self, task: Task) -> Text:
        """``12,345 ticks/s``."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} ticks/s", style="progress.data.speed")


class TickProgress:
    """Shows a feed on stderr, so that stdout stays for results.

    Args:
        what: a word or two before the bar.
        quiet: show no bar; what is said is still printed.
    """

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self._what = what
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._progress.add_task(what, start=False, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, done: int, total: int | None) -> None:
        """Ticks sent by an earlier run, and ticks to be sent in all; None: no end."""
        self._progress.start_task(self._task)
        self._progress.update(self._task, completed=done, total=total)

    def advance(self, ticks: int) -> None:
        """So many more are in Kafka."""
        self._progress.advance(self._task, ticks)

    def say(self, sentence: str) -> None:
        """Something the user should know."""
        self._console.print(
            f"{self._what}: {sentence}", highlight=False, markup=False, soft_wrap=True
        )
