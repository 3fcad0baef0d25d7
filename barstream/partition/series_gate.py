"""Which series of a partition take ticks: those at home in it, scheduled, and not too many."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.market.schedule import MarketScheduleProvider
from barstream.model.rejection import Reason
from barstream.model.tick import Ticks
from barstream.rules.series import NEVER_US, PartitionState
from barstream.rules.series_limit import are_new, fills, taken

_UNSCHEDULED: Final = -1
_ELSEWHERE: Final = -2
_BEYOND: Final = -3
_UNSCHEDULED_SHOWN: Final = 20
_STRAYS_SHOWN: Final = 100

PartitionOf = Callable[[str, str], int | None]
"""Where the ticks of a series are seen, as far as is known."""


class SeriesGate:
    """Gives series their slots in a partition, and refuses what has no place in it.

    Args:
        partition: number of the tick partition.
        state: the series there are.
        provider: the schedule, ready.
        partition_of: where a series is seen, to refuse its ticks from a second partition.
        max_series: so many are taken at most, see `barstream.rules.series_limit`; None: any number.
    """

    def __init__(
        self,
        partition: int,
        state: PartitionState,
        provider: MarketScheduleProvider,
        partition_of: PartitionOf,
        max_series: int | None,
    ) -> None:
        self._partition = partition
        self._state = state
        self._provider = provider
        self._partition_of = partition_of
        self._max_series = max_series
        #: As many series were taken as may be: ticks of others are rejected.
        self.is_full = False
        #: One of those others.
        self.one_too_many: tuple[str, str] | None = None
        #: Series refused for want of a schedule, the latest last, a few of them.
        self.unscheduled: dict[tuple[str, str], None] = {}
        #: The home of series whose ticks come in this partition as well; the first few.
        self.strays: dict[tuple[str, str], int] = {}

    def slots(self, names: Iterable[tuple[str, str]]) -> NDArray[np.int32]:
        """The slot of each series, negative for one whose ticks are refused; shape (names,)."""
        return np.array([self._slot(*name) for name in names], np.int32)

    def _slot(self, broker: str, symbol: str) -> int:
        home = self._partition_of(broker, symbol)
        if home is not None and home != self._partition:
            if len(self.strays) < _STRAYS_SHOWN:
                self.strays[broker, symbol] = home
            return _ELSEWHERE
        known = self._state.get(broker, symbol)
        # only an accepted tick makes a home: what was refused left no row, and would be forgotten
        if known is not None and known.schedule is not None and known.first_tick_us != NEVER_US:
            return known.slot
        if self._provider.index.for_series(broker, symbol) is None:
            self.unscheduled.pop((broker, symbol), None)
            self.unscheduled[broker, symbol] = None
            if len(self.unscheduled) > _UNSCHEDULED_SHOWN:
                del self.unscheduled[next(iter(self.unscheduled))]
            return _UNSCHEDULED
        self.unscheduled.pop((broker, symbol), None)
        if known is None and self.is_full and self._provider.index.always_open:
            self.one_too_many = broker, symbol
            return _BEYOND  # nothing is kept of names without end
        return self._state.slot(broker, symbol)

    def refuse(self, ticks: Ticks) -> tuple[Ticks, list[tuple[NDArray[np.int64], Reason]]]:
        """Ticks of the series that are taken, and the offsets of the others, each with why."""
        refused: list[tuple[NDArray[np.int64], Reason]] = []
        elsewhere = ticks.slot == _ELSEWHERE
        if elsewhere.any():
            refused.append((ticks.offset[elsewhere], Reason.PARTITION))
            ticks = ticks.take(~elsewhere)
        if self.is_full:
            new = are_new(self._state, ticks)
            if new.any():
                other = self._state.series[int(ticks.slot[new][0])]
                self.one_too_many = other.broker, other.symbol
            beyond = new | (ticks.slot == _BEYOND)
            refused.append((ticks.offset[beyond], Reason.TOO_MANY_SERIES))
            ticks = ticks.take(~beyond)
        return ticks, refused

    def filled_by(self, ticks: Ticks, count: int) -> int | None:
        """Which of the first ``count`` ticks takes the last place there is for a series."""
        limit = self._max_series
        # most partitions are far below it, and their chunks pay nothing for it
        if self.is_full or limit is None or len(self._state) < limit:
            return None
        return fills(self._state, ticks.take(slice(None, count)), limit)

    def became_full(self) -> bool:
        """Whether from here on no other series is taken, which was not so before."""
        limit = self._max_series
        if self.is_full or limit is None or len(self._state) < limit or taken(self._state) < limit:
            return False
        self.is_full = True
        return True

    def took_over(self) -> None:
        """Count anew: series may have been dropped since, or the limit be another one."""
        self.is_full = self._max_series is not None and taken(self._state) >= self._max_series

    @property
    def fullness(self) -> float:
        """How many series it has taken, of those it may; 0 where it may take any number."""
        return 0.0 if self._max_series is None else taken(self._state) / self._max_series
