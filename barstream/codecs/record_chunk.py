"""A fetched chunk of one partition, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.topics.batch_mark import BatchMark, header_before, mark_of


@dataclass(slots=True, weakref_slot=True, eq=False)
class RecordChunk:
    """Consecutive records of one partition: what lies in [``start``, ``next_offset``).

    Aborted and control records are in the range of offsets but not among the values, so a chunk
    can be empty and still say that the partition has been read up to ``next_offset``.
    """

    topic: str
    partition: int
    start: int
    next_offset: int
    keys: list[bytes | None]
    values: list[bytes | None]
    #: Shape (n,), ascending; compaction and transactions leave gaps.
    offsets: NDArray[np.int64]
    #: Shape (n,): append time where ``append_time``, otherwise what the producer said, negative
    #: where it said nothing.
    timestamps_us: NDArray[np.int64]
    append_time: bool
    #: Set when the chunk leaves the fetcher: whether it reached the last stable offset, and when.
    at_end: bool = False
    fetched_us: int = 0
    #: Which seek of its partition it was read on from.
    seek: int = 0
    #: Set when the engine has it: what Faust skips is acknowledged by Faust as well.
    is_applied: bool = False

    #: By offset: batches that were not unpacked, each of them one record without a value here.
    too_large: Mapping[int, str] = field(default_factory=dict)
    #: What the compressed batches of these records unpacked to; 0 for those that were not.
    unpacked_bytes: int = 0
    #: Of the batches read for it, hidden ones as well, ascending; see `batch_mark`.
    headers: list[bytes] = field(default_factory=list)

    @property
    def too_large_at(self) -> Mapping[int, str]:
        """What is said of them, by position."""
        if not self.too_large:
            return self.too_large
        places = {int(offset): at for at, offset in enumerate(self.offsets.tolist())}
        return {places[at]: said for at, said in self.too_large.items() if at in places}

    @property
    def clock_us(self) -> int | None:
        """The clock at fetch, where an event time is judged by it.

        None where the timestamps are the broker's, and of a chunk read later, by whoever proves or
        explains: what the clock said to the worker stands in ``ticks_rejected``.
        """
        return self.fetched_us if self.fetched_us and not self.append_time else None

    def last_batch(self, next_offset: int) -> BatchMark | None:
        """The batch that holds the last offset below ``next_offset``; None: nothing is known."""
        header = header_before(self.headers, next_offset)
        return None if header is None else mark_of(header)

    def comes_after(self, last: BatchMark | None) -> bool:
        """Whether the leader that appended ``last`` appended what comes here as well."""
        if last is None or not self.headers:
            return True
        return mark_of(self.headers[0]).leader_epoch == last.leader_epoch

    def __len__(self) -> int:
        return len(self.values)

    def mark_applied(self) -> None:
        """The engine has it: it waits for its flush as a range of offsets, without a record."""
        self.is_applied = True
        self.keys, self.values, self.headers = [], [], []
        self.offsets = self.timestamps_us = np.empty(0, np.int64)
        self.unpacked_bytes = 0
