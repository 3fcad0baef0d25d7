"""The graces bars may have been closed with: the one in force, and those before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


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
