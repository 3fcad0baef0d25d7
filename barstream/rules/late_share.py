"""Late ticks by broker, and when they are so many that a setting is too small.

A tick is late when its minute was closed before it came: by a later tick of its series (ticks
out of order by more than the grace), or by a heartbeat (it reached Kafka later than grace and
feed delay allow).  One of them is nothing; a lasting share of a broker's ticks means that bars
lack what they should hold, and that only the operator can mend.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from barstream.model.rejection import Reason
from barstream.model.tick import Ticks
from barstream.rules.series import FOREVER_US, PartitionState

#: So long ticks are counted before their share is judged.
INTERVAL_S: Final = 60.0
#: A share of late ticks above this is told of ...
SHARE: Final = 0.01
#: ... if it is more than a few: of a thin series one tick may well come late.
AT_LEAST: Final = 10
#: A broker is told of once in so long.
AGAIN_S: Final = 300.0


@dataclass(slots=True)
class Arrivals:
    """In-session ticks of one broker."""

    ticks: int = 0
    late: int = 0
    delay_us: int | None = None
    """Longest time from event to append of a late one; None: there are no append times."""

    def add(self, other: Arrivals) -> None:
        """Count ``other`` in."""
        self.ticks += other.ticks
        self.late += other.late
        if other.delay_us is not None:
            self.delay_us = max(self.delay_us or 0, other.delay_us)


class ArrivalCounter:
    """Counts the ticks of a partition by broker, a few array operations a chunk."""

    def __init__(self) -> None:
        self._brokers: list[str] = []
        self._number: dict[str, int] = {}
        self._number_of_slot = np.empty(0, np.intp)

    def count(
        self,
        state: PartitionState,
        ticks: Ticks,
        rejected: Iterable[tuple[NDArray[np.int64], Reason]],
        into: MutableMapping[str, Arrivals],
    ) -> None:
        """Count one batch.

        Args:
            state: the series the slots of ``ticks`` point to.
            ticks: the batch as it was applied, in offset order.
            rejected: offsets of the ticks of the batch that were refused, and why.
            into: arrivals by broker, added to.
        """
        self._number_new(state)
        numbers, size = self._number_of_slot, len(self._brokers)
        total = np.bincount(numbers[ticks.slot[ticks.slot >= 0]], minlength=size)
        for offsets, reason in rejected:
            if reason not in (Reason.LATE, Reason.OFF_SESSION):
                continue
            places = np.searchsorted(ticks.offset, offsets)
            brokers = numbers[ticks.slot[places]]
            if reason is Reason.OFF_SESSION:
                total -= np.bincount(brokers, minlength=size)
                continue
            seen_us, delay_us = ticks.seen_us[places], ticks.seen_us[places] - ticks.time_us[places]
            for number in np.unique(brokers).tolist():
                mine = brokers == number
                known = delay_us[mine & (seen_us < FOREVER_US)]
                longest = int(known.max()) if len(known) else None
                self._of(number, into).add(Arrivals(0, int(mine.sum()), longest))
        for number in np.flatnonzero(total).tolist():
            self._of(number, into).ticks += int(total[number])

    def _of(self, number: int, into: MutableMapping[str, Arrivals]) -> Arrivals:
        return into.setdefault(self._brokers[number], Arrivals())

    def _number_new(self, state: PartitionState) -> None:
        new = state.series[len(self._number_of_slot) :]
        if not new:
            return
        for series in new:
            if series.broker not in self._number:
                self._number[series.broker] = len(self._brokers)
                self._brokers.append(series.broker)
        numbers = [self._number[series.broker] for series in new]
        self._number_of_slot = np.concatenate([self._number_of_slot, np.array(numbers, np.intp)])


class TooLate(NamedTuple):
    """More ticks of a broker than ``SHARE`` were late."""

    broker: str
    arrivals: Arrivals

    @property
    def share(self) -> float:
        """Of its in-session ticks, how many were late."""
        return self.arrivals.late / self.arrivals.ticks


class LatenessJudge:
    """Says of which brokers too many ticks were late, interval by interval.

    Times are seconds of any clock that does not go back.
    """

    def __init__(self) -> None:
        self._counted: dict[str, Arrivals] = {}
        self._since_s: float | None = None
        self._told_s: dict[str, float] = {}

    def add(self, arrivals: MutableMapping[str, Arrivals]) -> None:
        """Count what came since the last call."""
        for broker, some in arrivals.items():
            self._counted.setdefault(broker, Arrivals()).add(some)

    def judge(self, now_s: float) -> list[TooLate]:
        """At the end of an interval: the brokers to tell of, each once in `AGAIN_S`."""
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < INTERVAL_S:
            return []
        counted, self._counted, self._since_s = self._counted, {}, now_s
        found = [
            TooLate(broker, arrivals)
            for broker, arrivals in sorted(counted.items())
            if arrivals.late >= AT_LEAST
            and arrivals.late > SHARE * arrivals.ticks
            and now_s - self._told_s.get(broker, -AGAIN_S) >= AGAIN_S
        ]
        self._told_s.update((each.broker, now_s) for each in found)
        return found
