"""A progress bar for ticks on their way: count, rate, and what else there is to say."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Self

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

#: Without a terminal a line comes so often: whoever waits for long wants to know that it goes on.
_LINE_EVERY_S: Final = 10.0


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
        lines: where there is no terminal for a bar, say now and then how far it is.
        line_every_s: how often.
    """

    def __init__(
        self,
        what: str,
        *,
        quiet: bool = False,
        lines: bool = False,
        line_every_s: float = _LINE_EVERY_S,
    ) -> None:
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
        self._begun_s = time.monotonic()
        self._line_every_s = line_every_s
        self._ended = threading.Event()
        self._lines: threading.Thread | None = None
        if lines and not quiet and not self._console.is_terminal:
            self._lines = threading.Thread(target=self._say_lines, daemon=True)

    def __enter__(self) -> Self:
        self._progress.start()
        if self._lines is not None:
            self._lines.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._lines is not None:
            self._lines.join()
        self._progress.stop()

    def _say_lines(self) -> None:
        # a thread: what is waited for may be silent for long, or in another process
        while not self._ended.wait(self._line_every_s):
            task = self._progress.tasks[0]
            of = "" if task.total is None else f" of {task.total:,.0f}"
            self.say(f"{task.completed:,.0f}{of} ticks, {time.monotonic() - self._begun_s:.0f} s")

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
