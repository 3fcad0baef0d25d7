"""What the demo shows: the steps of its start with their seconds, then final bars as a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from barstream.model.bar import Bar
from barstream.model.bar_fields import PRICES
from barstream.model.period import Period
from barstream.model.time import datetime_from_us
from barstream.plurals import counted

_HEADER_EVERY: Final = 60


class DemoScreen:
    """Lines on stdout; colours only on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def say(self, sentence: str, style: str = "") -> None:
        """One line."""
        self._console.print(sentence, style=style or None, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """A step of the start: a spinner while it runs, a line with its seconds when it is done.

        What is handed out takes words for the end of that line.
        """
        began, words = time.monotonic(), ""

        def told(text: str) -> None:
            nonlocal words
            words = text

        with self._console.status(what):
            yield told
        self.say(f"  {what:<16} {time.monotonic() - began:5.1f} s   {words}".rstrip(), "dim")


@dataclass(frozen=True, slots=True)
class FinalBar:
    """A final bar as it came from its topic."""

    period: Period
    bar: Bar

    @property
    def end_us(self) -> int:
        """End of its bucket, exclusive."""
        return self.period.advance(self.bar.bucket_start_us)


class FinalsTable:
    """Final bars in columns whose widths never change.

    Args:
        screen: where the lines go.
        periods: of the bars, the shortest first.
        decimals: of the prices of each symbol; its order is that of the lines of one time.
    """

    def __init__(
        self, screen: DemoScreen, periods: Sequence[Period], decimals: Mapping[str, int]
    ) -> None:
        self._screen = screen
        self._periods = {period: number for number, period in enumerate(periods)}
        self._decimals = dict(decimals)
        self._order = {symbol: number for number, symbol in enumerate(decimals)}
        self._symbol_width = max(map(len, decimals), default=0)
        self._lines = 0
        self._rejected: Mapping[str, int] = {}

    def begin(self, rejected: Mapping[str, int]) -> None:
        """What was rejected before is no news."""
        self._rejected = dict(rejected)

    def bars(self, finals: Sequence[FinalBar]) -> None:
        """Bars that became final together: short ones first, then by time."""
        for final in sorted(finals, key=self._place):
            if self._lines % _HEADER_EVERY == 0:
                self._screen.say(self._header().rstrip(), "bold")
            self._lines += 1
            bar = final.bar
            style = "yellow" if bar.revision else "dim" if bar.synthetic else ""
            self._screen.say(self._line(final).rstrip(), style)

    def rejected(self, counts: Mapping[str, int]) -> None:
        """Ticks rejected so far, by reason; says something when there are new ones."""
        new = {
            reason: count - self._rejected.get(reason, 0)
            for reason, count in sorted(counts.items())
            if count > self._rejected.get(reason, 0)
        }
        self._rejected = {**self._rejected, **counts}
        for reason, count in new.items():
            so_far = f", {counts[reason]:,} so far" if counts[reason] > count else ""
            self._screen.say(f"{'':<12}{counted(count, 'tick')} rejected: {reason}{so_far}", "red")

    def _place(self, final: FinalBar) -> tuple[int, int, int]:
        bar = final.bar
        return (
            self._periods[final.period],
            bar.bucket_start_us,
            self._order.get(bar.symbol, len(self._order)),
        )

    def _header(self) -> str:
        return self._columns("UTC", "bar", "series", PRICES, "volume", "ticks", "")

    def _line(self, final: FinalBar) -> str:
        bar = final.bar
        decimals = self._decimals.get(bar.symbol, 2)
        start = datetime_from_us(bar.bucket_start_us)
        return self._columns(
            f"{start:%H:%M}" if final.period.is_intraday else f"{start:%m-%d}",
            str(final.period),
            bar.symbol,
            [f"{price:.{decimals}f}" for price in (bar.open, bar.high, bar.low, bar.close)],
            f"{bar.volume:,.0f}",
            f"{bar.tick_count:,}",
            _note(bar),
        )

    def _columns(
        self,
        start: str,
        period: str,
        symbol: str,
        prices: Sequence[str],
        volume: str,
        ticks: str,
        note: str,
    ) -> str:
        shown = " ".join(f"{price:>9}" for price in prices)
        width = max(6, self._symbol_width)
        return f"{start:<5}  {period:<3}  {symbol:<{width}} {shown} {volume:>11} {ticks:>9}  {note}"


def _note(bar: Bar) -> str:
    """What is special about a bar, in words."""
    if bar.synthetic:
        return "no tick, revised" if bar.revision else "no tick"
    return f"revised: {counted(bar.revision, 'late tick')}" if bar.revision else ""
