"""What the demo shows: a calm status, and each final bar as it appears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from rich.console import Console

from barstream.core.bars import Bar
from barstream.core.time import datetime_from_us

_HEADER: Final = (
    f"{'minute':>6}  {'series':<12} {'open':>10} {'high':>10} {'low':>10} {'close':>10} "
    f"{'volume':>9} {'ticks':>5}"
)
_HEADER_EVERY: Final = 40


def local_clock(ts_us: int, *, seconds: bool = False) -> str:
    """The time of day on the user's clock: ``21:05``, ``21:05:07``."""
    local: datetime = datetime_from_us(ts_us).astimezone()
    return f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"


class DemoScreen:
    """Lines on stdout; colours only on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._bars = 0

    def say(self, sentence: str, style: str = "") -> None:
        """One line."""
        self._console.print(sentence, style=style or None, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """A step of the start: a spinner while it runs, a line when it is done."""
        with self._console.status(what):
            yield
        self.say(f"  {what}: ready", "dim")

    def bar(self, bar: Bar) -> None:
        """One final bar."""
        if self._bars % _HEADER_EVERY == 0:
            self.say(_HEADER, "bold")
        self._bars += 1
        prices = " ".join(f"{price:>10.7g}" for price in (bar.open, bar.high, bar.low, bar.close))
        line = (
            f"{local_clock(bar.bucket_start_us):>6}  {bar.symbol:<12} {prices} "
            f"{bar.volume:>9.2f} {bar.tick_count:>5}"
        )
        if bar.synthetic:
            self.say(f"{line}  no tick: filled", "dim")
        else:
            self.say(line)
