"""Bars as lines of a terminal: columns aligned, minutes without a tick dim, open bars marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from barstream.model.bar_fields import PRICES

Bar = Mapping[str, Any]

#: A bar is open whether or not its feed is live: the last one of a file from the past is not.
_MARKS: Final = {"live": "● open", "synthetic": "no tick", "final": ""}
_CLOCK_TIME, _DATE = 16, 10
#: What a terminal has at the least, and the longest mark of a bar that was not revised.
_COLUMNS: Final = 80
_MARK: Final = max(map(len, _MARKS.values()))


def decimals_of(bars: Iterable[Bar], names: Sequence[str] = PRICES, least: int = 2) -> int:
    """How many decimals the fields ``names`` (prices) need: ``least`` to 8."""
    decimals = least
    for bar in bars:
        for name in names:
            # the shortest text of a float is its digits as quoted, up to noise beyond the 8th
            fraction = f"{bar[name]:.8f}".rstrip("0").partition(".")[2]
            decimals = max(decimals, len(fraction))
    return decimals


class BarLines:
    """Lines of one width, fitted to the first ``bars``; wider values push their own line only.

    Args:
        bars: of one timeframe, at least one.
        by_date: they are of days, weeks or months, which begin with a trading date.
        columns: of the terminal; where there is room, the vwap is printed as well.
    """

    def __init__(
        self, bars: Sequence[Bar], *, by_date: bool = False, columns: int = _COLUMNS
    ) -> None:
        self._first = "trading date" if by_date else "time (UTC)"
        self._start = _DATE if by_date else _CLOCK_TIME
        self.decimals = decimals_of(bars)
        # an open bar is written as those that are closed, whatever its sum has by then
        closed = [bar for bar in bars if bar["status"] != "live"]
        self._volume_decimals = decimals_of(closed or bars, ("volume",), 0)
        price_width = max([7, *(len(self._price(bar[name])) for bar in bars for name in PRICES)])
        volume_width = max([7, *(len(self._volume(bar["volume"])) for bar in bars)])
        count_width = max([5, *(len(_count(bar)) for bar in bars)])
        start_width = max(len(self._first), self._start)
        self._widths = (start_width, *[price_width] * 4, volume_width, count_width)
        wider = (*self._widths[:-1], price_width, count_width)
        self._has_vwap = sum(wider) + 2 * len(wider) + _MARK <= columns
        if self._has_vwap:
            self._widths = wider

    def header(self) -> Text:
        """The names of the columns."""
        names = (self._first, *PRICES, "volume", *(["vwap"] if self._has_vwap else []), "ticks")
        return Text(self._line(names), style="bold")

    def line(self, bar: Bar) -> Text:
        """One bar."""
        cells = (
            f"{bar['bucket_start'][: self._start].replace('T', ' ')}",
            *(self._price(bar[name]) for name in PRICES),
            self._volume(bar["volume"]),
            *([self._vwap(bar["vwap"])] if self._has_vwap else []),
            _count(bar),
        )
        kind = "live" if bar["status"] == "live" else "synthetic" if bar["synthetic"] else "final"
        line = Text(self._line(cells), style="dim" if kind == "synthetic" else "")
        if kind == "final" and bar["close"] != bar["open"]:
            start = sum(self._widths[:4]) + 2 * 4
            colour = "green" if bar["close"] > bar["open"] else "red"
            line.stylize(colour, start, start + self._widths[4])
        mark = _MARKS[kind] + (f" revision {bar['revision']}" if bar["revision"] else "")
        return line.append(f"  {mark}", style="cyan" if kind == "live" else "") if mark else line

    def _line(self, cells: Sequence[str]) -> str:
        first, *rest = cells
        numbers = (cell.rjust(width) for cell, width in zip(rest, self._widths[1:], strict=True))
        return "  ".join((first.ljust(self._widths[0]), *numbers))

    def _price(self, price: float) -> str:
        return f"{price:.{self.decimals}f}"

    def _vwap(self, price: float | None) -> str:
        return "" if price is None else self._price(price)

    def _volume(self, volume: float) -> str:
        return f"{volume:,.{self._volume_decimals}f}"


def _count(bar: Bar) -> str:
    return f"{bar['tick_count']:,}"
