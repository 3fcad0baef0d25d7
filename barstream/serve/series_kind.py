"""How a series is shown: judged as the planner of heartbeats judges it, by the same function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from barstream.clock import system_clock_us
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import UNKNOWN, SeriesSeen, Standing, standing
from barstream.rules.series import PartitionState, SeriesState
from barstream.serve.reads import SeriesKind

_KIND: Final[Mapping[Standing, SeriesKind]] = {
    "active": "live",
    "historical": "historical",
    "asleep": "asleep",
    "unscheduled": "unscheduled",
}
SERIES_KINDS: Final = tuple(_KIND.values())


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
