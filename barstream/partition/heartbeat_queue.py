"""Heartbeats waiting for their barrier."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from sys import intern
from typing import Final, NamedTuple, Self

from barstream.codecs.topics.heartbeat import decode
from barstream.model.key import is_stored_name
from barstream.model.time import END_OF_TIME_US, MINUTE_US
from barstream.rules.series import NEVER_US

FULL: Final = 100_000
#: A million ticks a second into one partition for nine years do not get there.
_NO_OFFSET: Final = 1 << 48


class QueuedHeartbeat(NamedTuple):
    """A heartbeat read from ``hb_1m``: close through minute ``minute_us`` at ``barrier``.

    ``appended_us`` is the append time of its record, by which it is evidence that an instant
    has passed; `NEVER_US` where the topic has none.
    """

    offset: int
    broker: str
    symbol: str
    minute_us: int
    barrier: int
    appended_us: int = NEVER_US

    @classmethod
    def decode(
        cls, offset: int, key: bytes | None, value: bytes, appended_us: int | None = None
    ) -> Self:
        """The heartbeat in a record.

        Raises:
            ValueError: the value is none, names no series or no minute or no barrier, or is not
                what the key says.
        """
        beat = decode(value)
        if beat.bucket_start_us % MINUTE_US or not 0 <= beat.bucket_start_us < END_OF_TIME_US:
            raise ValueError(f"{beat.bucket_start_us} us is not the start of a minute of our era")
        if not 0 <= beat.barrier < _NO_OFFSET:
            # it would hold up all heartbeats behind it, waiting for ticks that never come
            raise ValueError(f"{beat.barrier} cannot be the end of a partition")
        if key != beat.key:
            raise ValueError(f"the value is of {beat.key!r}, the key says {key!r}")
        if not (is_stored_name(beat.broker) and is_stored_name(beat.symbol)):
            raise ValueError(f"no series is called {beat.broker!r} {beat.symbol!r}")
        # as many wait as `FULL` says, and all of a series share its names
        broker, symbol = intern(beat.broker), intern(beat.symbol)
        seen_us = NEVER_US if appended_us is None else appended_us
        return cls(offset, broker, symbol, beat.bucket_start_us, beat.barrier, seen_us)


class HeartbeatQueue:
    """Heartbeats of one partition in log order, released strictly in that order.

    A worker that is hours behind has hours of heartbeats before it: no more than `FULL` are
    kept, then the partition of ``hb_1m`` is not read until half of them are gone.

    Attributes:
        next_offset: first offset of the ``hb_1m`` partition not taken yet.
        stopped: reading has been stopped because there are too many.
    """

    def __init__(self, next_offset: int = 0) -> None:
        self._queue: deque[QueuedHeartbeat] = deque()
        self.next_offset = next_offset
        self.stopped = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def resume_offset(self) -> int:
        """Where to read on after a restart: the first heartbeat that still waits."""
        return self._queue[0].offset if self._queue else self.next_offset

    @property
    def is_full(self) -> bool:
        """Whether no more are to be taken."""
        return len(self._queue) >= FULL

    @property
    def has_room(self) -> bool:
        """Whether reading may go on."""
        return len(self._queue) <= FULL // 2

    def add(self, heartbeat: QueuedHeartbeat) -> None:
        """Take the next heartbeat of the log."""
        self._queue.append(heartbeat)

    def barrier(self) -> int | None:
        """The barrier the first one waits for."""
        return self._queue[0].barrier if self._queue else None

    def release(self, position: int) -> Iterator[QueuedHeartbeat]:
        """Those whose barrier has been applied, up to the first that has to go on waiting."""
        while self._queue and self._queue[0].barrier <= position:
            yield self._queue.popleft()
