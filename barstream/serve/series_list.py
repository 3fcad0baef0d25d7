"""What the series list says of a series: its kind, and its prices.

Its kind is judged as the planner of heartbeats judges it, by the same function.  The newest price
stands in its state.  Decimals, and what that price is compared to, take a few seeks in the local
stores; they are looked up once and kept, until the trading date turns or a final is revised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from weakref import WeakKeyDictionary

from barstream.clock import system_clock_us
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import UNKNOWN, SeriesSeen, Standing, standing
from barstream.model.period import MINUTE, Period
from barstream.model.time import END_OF_TIME_US, MINUTE_US, floor_minute
from barstream.partition.finals_view import span
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import PartitionState, SeriesState
from barstream.serve.reads import Reference, SeriesKind

_KIND: Final[Mapping[Standing, SeriesKind]] = {
    "active": "live",
    "historical": "historical",
    "asleep": "asleep",
    "unscheduled": "unscheduled",
}
SERIES_KINDS: Final = tuple(_KIND.values())

#: What a mid of two doubles adds to their decimals is behind it: 1.1215600000000001 is 1.12156.
_SIGNIFICANT: Final = 10
_MOST_DECIMALS: Final = 12
#: So many different prices show how many decimals a series has ...
_ENOUGH_PRICES: Final = 16
#: ... taken from at most so many finals of each period.
_FINALS: Final = 8


class Kinds:
    """The kind of a series now, wherever it is.

    Args:
        provider: the market schedule.
        inactive_after: trading dates without a tick after which a series is asleep.
        clock: microseconds since the epoch.
    """

    def __init__(
        self,
        provider: MarketScheduleProvider,
        inactive_after: int,
        clock: Callable[[], int] = system_clock_us,
    ) -> None:
        self._provider = provider
        self._inactive_after = inactive_after
        self._clock = clock

    def of_row(self, row: SeriesSeen) -> SeriesKind:
        """The kind of a series by its row of the universe."""
        schedule = self._provider.index.for_series(row.broker, row.symbol)
        return _KIND[standing(row, schedule, self._clock(), self._inactive_after)]

    def of_state(self, partition: int, state: PartitionState, series: SeriesState) -> SeriesKind:
        """The kind of a series held here: its state knows more than its latest row."""
        seen = series.last_trading_date
        return self.of_row(
            SeriesSeen(
                series.broker,
                series.symbol,
                partition,
                series.first_tick_us,
                UNKNOWN if seen is None else seen,
                state.is_live(series),
                int(state.closed_until_us[series.slot]),
            )
        )


def decimals_of(price: float) -> int:
    """How many decimals a price needs, 0 to 12, read to ten significant digits."""
    text = f"{price:.{_SIGNIFICANT}g}"
    if "e" in text:
        text = f"{Decimal(text):f}"
    return min(len(text.partition(".")[2]), _MOST_DECIMALS)


@dataclass(slots=True)
class _Known:
    """What was looked up of a series, and what it holds for."""

    decimals: int
    newest: float | None = None
    trading_date: int | None = None
    revisions: int = -1
    reference: Reference | None = None


class Prices:
    """Prices of the series that are here.

    Args:
        periods: of the bars there are, the shortest first.
    """

    def __init__(self, periods: Sequence[Period]) -> None:
        self._periods = periods
        # a partition that went and came back has another engine
        self._known: WeakKeyDictionary[PartitionMachine, dict[tuple[str, str], _Known]] = (
            WeakKeyDictionary()
        )

    def newest(self, series: SeriesState) -> float | None:
        """The close of its newest bar, open or final: the price of its newest tick."""
        open_bars = series.open_bars
        return open_bars[max(open_bars)].close if open_bars else series.previous_close

    def decimals(self, engine: PartitionMachine, series: SeriesState) -> int:
        """How many decimals its prices need: of its latest bars and of all shown since."""
        known = self._of(engine, series)
        newest = self.newest(series)
        if newest is not None and newest != known.newest:
            known.newest = newest
            known.decimals = max(known.decimals, decimals_of(newest))
        return known.decimals

    def reference(self, engine: PartitionMachine, series: SeriesState) -> Reference | None:
        """What its newest price is compared to.

        The close of the trading date before that of its newest tick; where there is none, the
        open of that date; None when neither is kept any more.
        """
        name = series.broker, series.symbol
        trading_date, schedule = series.last_trading_date, series.schedule
        if trading_date is None or schedule is None:
            return None
        known, revisions = self._of(engine, series), engine.book.revisions(*name)
        if (known.trading_date, known.revisions) == (trading_date, revisions):
            return known.reference
        open_us = schedule.start_of_dates(trading_date, trading_date + 1)
        if open_us is None:
            return None
        # the minute of an open inside it is of the new date: no two sessions share a minute
        open_us = floor_minute(open_us)
        reference, until_us = self._look_up(engine, series, trading_date, open_us)
        if engine.state.closed_until_us[series.slot] >= until_us:
            known.trading_date, known.revisions = trading_date, revisions
            known.reference = reference
        return reference

    def _look_up(
        self, engine: PartitionMachine, series: SeriesState, trading_date: int, open_us: int
    ) -> tuple[Reference | None, int]:
        """The reference, and until when all must be closed for it to stand."""
        name, book = (series.broker, series.symbol), engine.book
        # at the turn of a date its last minutes wait for grace
        waiting = [bucket_us for bucket_us in series.open_bars if bucket_us < open_us]
        if waiting:
            last = series.open_bars[max(waiting)]
            return Reference("close", last.close, last.trading_date), open_us
        if (before := book.before(MINUTE, *name, open_us)) is not None:
            return Reference("close", before.close, before.trading_date), open_us
        if (book.retained_from_us(MINUTE, *name) or 0) > open_us:
            return None, open_us
        if (first := book.first(MINUTE, *name)) is not None:
            until_us = first.bucket_start_us + MINUTE_US
            return Reference("open", first.open, trading_date), until_us
        if series.open_bars:
            first_us = min(series.open_bars)
            until_us = first_us + MINUTE_US
            return Reference("open", series.open_bars[first_us].open, trading_date), until_us
        return None, open_us

    def _of(self, engine: PartitionMachine, series: SeriesState) -> _Known:
        kept, name = self._known.setdefault(engine, {}), (series.broker, series.symbol)
        known = kept.get(name)
        if known is None:
            known = kept[name] = _Known(self._first_decimals(engine, series))
        return known

    def _first_decimals(self, engine: PartitionMachine, series: SeriesState) -> int:
        """From the longest bars on: their prices lie apart also where minutes have no tick."""
        prices: set[float] = set()
        for bar in series.open_bars.values():
            prices |= {bar.open, bar.high, bar.low, bar.close}
        first, end = span(series.broker, series.symbol, 0, END_OF_TIME_US)
        for period in reversed(self._periods):
            for _, final in engine.book.rows(period, first, end, _FINALS, descending=True):
                prices |= {final.open, final.high, final.low, final.close}
            if len(prices) >= _ENOUGH_PRICES:
                break
        return max(map(decimals_of, prices), default=0)
