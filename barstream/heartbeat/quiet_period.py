"""Schedule rows that are too new to plan by.

Every worker reads the schedule for itself, some fractions of a second apart.  A heartbeat that
was planned by a row its receiver does not have yet would close the minute without filling it,
for good; so the leader leaves a series alone until its new rows must have reached everyone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from barstream.market.universe import SeriesName, SeriesSeen

SETTLE_S: Final = 2.0


class Settling:
    """Which series had a change of schedule within the last `SETTLE_S` seconds."""

    def __init__(self) -> None:
        self._changed_s: dict[SeriesName, float] = {}

    def changed(self, series: Iterable[SeriesName], now_s: float) -> None:
        """The schedule of these series has changed."""
        self._changed_s.update(dict.fromkeys(series, now_s))

    def settled(self, rows: tuple[SeriesSeen, ...], now_s: float) -> tuple[SeriesSeen, ...]:
        """The rows whose series may be planned by the schedule there is."""
        for name, since_s in tuple(self._changed_s.items()):
            if now_s - since_s >= SETTLE_S:
                del self._changed_s[name]
        if not self._changed_s:
            return rows
        return tuple(row for row in rows if row.name not in self._changed_s)
