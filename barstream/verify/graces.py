"""The graces bars may have been closed with: those the log says, and those that are named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from barstream.log.rules import Regimes
from barstream.verify.hours import HoursIndex


@dataclass(frozen=True, slots=True)
class Graces:
    """When a minute may be closed at the earliest, and must be at the latest.

    Attributes:
        shortest_us: nothing closes a minute before it is over for so long.
        longest_us: what comes after it closes the minute at once.
    """

    shortest_us: int
    longest_us: int

    @classmethod
    def of(cls, now_us: int, before_us: Iterable[int] = ()) -> Self:
        """Of the grace in force and those that were."""
        every = (now_us, *before_us)
        return cls(min(every), max(every))

    @classmethod
    def in_force(cls, regimes: Regimes[HoursIndex], before_us: Iterable[int] = ()) -> list[Self]:
        """Those of each regime.

        Args:
            regimes: as the log says them.
            before_us: that were in force before it said so, or of a replay that was switched to;
                where it says so they excuse nothing.
        """
        named = tuple(before_us)
        return [cls.of(each.rules.grace_us, () if each.is_told else named) for each in regimes.all]
