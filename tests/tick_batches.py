"""Batches of ticks taken as a partition takes them, without roll-ups and rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from barstream.model.bar import Bar
from barstream.model.finals import Change
from barstream.model.period import MINUTE
from barstream.model.rejection import Reason
from barstream.model.tick import Ticks
from barstream.partition.finals_view import FinalsView
from barstream.rules.close import close_series
from barstream.rules.late import revise
from barstream.rules.series import PartitionState, SeriesState
from barstream.rules.tick_batch import apply_ticks

Ints = NDArray[np.int64]


@dataclass
class Taken:
    """What came of batches."""

    accepted: int = 0
    finals: list[Bar] = field(default_factory=list)
    revised: list[Change] = field(default_factory=list)
    rejected: list[tuple[Ints, Reason]] = field(default_factory=list)
    merged: list[int] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)


class Partition:
    """The series of a partition and its finals.

    Args:
        state: the series.
        finals: where finals are put; None: in memory.
    """

    def __init__(self, state: PartitionState, finals: FinalsView | None = None) -> None:
        self.state = state
        self.finals = FinalsView({}) if finals is None else finals

    def take(self, ticks: Ticks) -> Taken:
        """Apply a batch."""
        taken = Taken()
        for part in apply_ticks(self.state, ticks):
            taken.accepted += 0 if part.accepted is None else len(part.accepted)
            taken.rejected += part.rejected
            taken.touched.update(part.touched)
            for slot, closings in part.closings_by_slot():
                for until_us, close_offset in closings:
                    taken.finals += self.close(self.state.series[slot], until_us, close_offset)
            if part.late is not None:
                done = revise(self.state, part.late, self.finals)
                for slot in done.changes:
                    taken.revised += done.of(slot)
                taken.merged += done.merged
                taken.touched |= done.touched
                if done.rejected:
                    taken.rejected.append((np.array(done.rejected, np.int64), Reason.LATE))
        return taken

    def close(self, series: SeriesState, until_us: int, close_offset: int) -> list[Bar]:
        """Close a series."""
        finals = close_series(self.state, series, until_us, close_offset)
        for bar in finals:
            self.finals.put(MINUTE, bar)
        return finals
