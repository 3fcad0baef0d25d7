"""Rejected ticks, compared with what the ticks themselves say: each once, for the right reason."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Longs = NDArray[np.int64]


class Refusals:
    """The rows of ``ticks_rejected`` that come from one tick partition.

    Args:
        found: as `barstream.log.rejections` gives them.
        partition: of the ticks.
        begin: first offset the topic has; above 0 rows may have been deleted.
    """

    def __init__(self, found: pl.DataFrame, partition: int, begin: int) -> None:
        mine = found.filter(pl.col("tick_partition") == partition).sort("tick_offset", "offset")
        self.rows = mine
        self.offset = mine["tick_offset"].to_numpy()
        self._reasons = mine["reason"].to_list()
        self._is_late = (mine["reason"] == "late").to_numpy()
        #: Ticks below it may have had rows that retention deleted.
        self.known_from = 0
        if begin > 0:
            self.known_from = int(self.offset[0]) if len(self.offset) else 1 << 62

    def __len__(self) -> int:
        return len(self.offset)

    def holds(self, offsets: Longs) -> NDArray[np.bool_]:
        """Whether each tick has a row, shape (n,)."""
        return self._at(offsets) >= 0

    def hold_as_late(self, offsets: Longs) -> NDArray[np.bool_]:
        """Whether each tick has a row that says late, shape (n,)."""
        at = self._at(offsets)
        if not len(self.offset):
            return at >= 0
        return np.asarray((at >= 0) & self._is_late[at])

    def _at(self, offsets: Longs) -> Longs:
        """Position of the first row of each, -1 where there is none."""
        if not len(self.offset):
            return np.full(len(offsets), -1, np.int64)
        at = np.searchsorted(self.offset, offsets)
        at[at == len(self.offset)] = 0
        return np.where(self.offset[at] == offsets, at, -1)

    def between(self, begin: int, end: int) -> dict[int, list[int]]:
        """Rows of the ticks in [begin, end): positions in `rows` by tick offset."""
        first, last = np.searchsorted(self.offset, [begin, end]).tolist()
        found: dict[int, list[int]] = {}
        for position in range(first, last):
            found.setdefault(int(self.offset[position]), []).append(position)
        return found

    def offsets_of(self, reason: str) -> list[int]:
        """The ticks that have a row of this reason, ascending."""
        found: list[int] = self.rows.filter(pl.col("reason") == reason)["tick_offset"].to_list()
        return found

    def reason(self, position: int) -> str:
        """Of a row."""
        return str(self._reasons[position])

    def appended_us(self, position: int) -> int:
        """When a row was written."""
        return int(self.rows["appended_us"][position])
