"""When a series slept, from what is known of its ticks; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from barstream.explain.facts import Facts, SeriesFact
from barstream.log.rules import Regime
from barstream.market.schedule import ScheduleIndex
from barstream.model.bar import Bar
from barstream.model.time import floor_minute
from barstream.rules.series import NEVER_US


class Sleep:
    """The minutes known to have ticks, and what follows from them by a schedule.

    Args:
        facts: of the bucket: finals beside it and the state of the series.
        bars: further finals of minutes or days, such as the children of an upper bar.
        regime: by whose sessions and ``inactive_after`` it slept; None: by those of now.
    """

    def __init__(
        self, facts: Facts, bars: Iterable[Bar] = (), regime: Regime[ScheduleIndex] | None = None
    ) -> None:
        self._schedule = facts.schedule_of(regime)
        self.inactive_after = facts.rules_of(regime).inactive_after
        known: dict[int, int] = {}
        beside = facts.neighbours
        others = [one.bar for one in (beside.real_before, *beside.reals_after) if one is not None]
        for bar in (*others, *bars):
            if bar is not None and not bar.synthetic:
                minute_us = bar.bucket_start_us if bar.open_time_us is None else bar.open_time_us
                known[floor_minute(minute_us)] = bar.trading_date
        if facts.row is not None:
            known |= _of_row(facts.row)
        self._minutes = sorted(known)
        self._dates = [known[minute] for minute in self._minutes]

    def since_us(self, minute_us: int) -> int | None:
        """When the series fell asleep, if it is asleep in a minute; None: awake, or not known."""
        at = bisect_right(self._minutes, minute_us) - 1
        if at < 0 or self._schedule is None:
            return None
        asleep_us = self._schedule.asleep_from(self._dates[at], self.inactive_after)
        if asleep_us is None or minute_us < floor_minute(asleep_us):
            return None
        return asleep_us

    def last_date(self, minute_us: int) -> int | None:
        """Trading date of the last tick known before a minute ends."""
        at = bisect_right(self._minutes, minute_us) - 1
        return None if at < 0 else self._dates[at]


def _of_row(row: SeriesFact) -> dict[int, int]:
    known = {bar.bucket_us: bar.trading_date for bar in row.open_bars}
    if row.last_trading_date is not None and row.watermark_us != NEVER_US:
        known[floor_minute(row.watermark_us)] = row.last_trading_date
    return known
