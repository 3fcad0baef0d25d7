"""Ticks as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Ticks:
    """Decoded ticks of one partition, one array entry a tick, all of shape (n,).

    ``slot`` is the slot of the series in the state of its partition, -1 for a series without a
    schedule.  ``seen_us`` is the time by which the feed is judged live: the append time in
    Kafka, or `FOREVER_US` where that says nothing about the feed.

    ``placed_us`` is the time that decides minute and watermark: the event time, but of a tick
    within the close tolerance of its session the last instant of that.  It is the event time
    itself before ticks are judged, and where there is no tolerance: then nothing is copied.
    """

    slot: NDArray[np.int32]
    time_us: NDArray[np.int64]
    price: NDArray[np.float64]
    size: NDArray[np.float64]
    offset: NDArray[np.int64]
    seen_us: NDArray[np.int64]
    _placed_us: NDArray[np.int64] | None = None

    @property
    def placed_us(self) -> NDArray[np.int64]:
        return self.time_us if self._placed_us is None else self._placed_us

    def __len__(self) -> int:
        return len(self.slot)

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Ticks:
        """The chosen ticks, in the order given."""
        return Ticks(
            self.slot[which],
            self.time_us[which],
            self.price[which],
            self.size[which],
            self.offset[which],
            self.seen_us[which],
            None if self._placed_us is None else self._placed_us[which],
        )

    def placed(self, placed_us: NDArray[np.int64]) -> Ticks:
        """The same ticks, placed; shape (n,)."""
        return self if placed_us is self.time_us else replace(self, _placed_us=placed_us)
