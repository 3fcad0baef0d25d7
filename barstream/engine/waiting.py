"""Heartbeats waiting for their barrier."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple


class Waiting(NamedTuple):
    """A heartbeat read from ``hb_1m``: close through minute ``minute_us`` at ``barrier``."""

    offset: int
    broker: str
    symbol: str
    minute_us: int
    barrier: int


class WaitingHeartbeats:
    """Heartbeats of one partition in log order, released strictly in that order.

    Attributes:
        next_offset: first offset of the ``hb_1m`` partition not taken yet.
    """

    def __init__(self, next_offset: int = 0) -> None:
        self._queue: deque[Waiting] = deque()
        self.next_offset = next_offset

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def resume_offset(self) -> int:
        """Where to read on after a restart: the first heartbeat that still waits."""
        return self._queue[0].offset if self._queue else self.next_offset

    def add(self, heartbeat: Waiting) -> None:
        """Take the next heartbeat of the log."""
        self._queue.append(heartbeat)

    def barrier(self) -> int | None:
        """The barrier the first one waits for."""
        return self._queue[0].barrier if self._queue else None

    def release(self, position: int) -> Iterator[Waiting]:
        """Those whose barrier has been applied, up to the first that has to go on waiting."""
        while self._queue and self._queue[0].barrier <= position:
            yield self._queue.popleft()
