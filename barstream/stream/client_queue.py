"""What waits for one client: finals in their order, of open bars the newest, and an end."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

from barstream.stream.cursor import Cursor
from barstream.stream.event import StreamEvent
from barstream.stream.position import StreamRecord

EndReason = Literal["too_slow", "shutdown"]


class ClientQueue:
    """Events of one client, bounded: a reader that stops is told where to go on.

    Finals are never dropped but by an end, whose event carries the cursor of what was handed out,
    so a client that resumes there has lost nothing.  An open bar is state: a newer one takes its
    place, a final of its bucket or a later one removes it.

    Args:
        cursor: where the client is.
        limit: bytes of finals that may wait.
    """

    def __init__(self, cursor: Cursor, limit: int) -> None:
        self._cursor = cursor
        self._limit = limit
        self._finals: deque[StreamEvent] = deque()
        self._size = 0
        self._live: dict[tuple[str, tuple[str, str]], tuple[int, StreamEvent]] = {}
        self._final_until: dict[tuple[str, tuple[str, str]], int] = {}
        self._end: StreamEvent | None = None
        self._is_over = False

    @property
    def cursor(self) -> Cursor:
        """Of a client that has read all that `pop` gave."""
        return self._cursor

    @property
    def is_ended(self) -> bool:
        """Whether nothing more is taken: what is left to pop is the end's event."""
        return self._end is not None or self._is_over

    def __len__(self) -> int:
        return 1 if self._end is not None else len(self._finals) + len(self._live)

    def put_finals(self, period: str, records: Sequence[StreamRecord], cursor: Cursor) -> None:
        """Records of a span, and where the client is when it has them; there may be none."""
        if self.is_ended:
            return
        for record in records:
            self._finals.append(record.event)
            self._size += len(record.event.data)
            if record.event.name == "bar":
                self._forget_live(period, record)
        if self._finals:
            self._finals[-1] = self._finals[-1]._replace(cursor=cursor)
        else:
            self._cursor = cursor
        if self._size > self._limit:
            self.end("too_slow")

    def put_live(
        self, period: str, series: tuple[str, str], bucket_us: int, event: StreamEvent
    ) -> None:
        """An open bar as it is now; one whose bucket is final already comes too late."""
        key = period, series
        if not self.is_ended and bucket_us > self._final_until.get(key, -1):
            self._live[key] = bucket_us, event

    def end(self, why: EndReason) -> None:
        """Nothing more but why, and from where to go on; the first end counts."""
        if self.is_ended:
            return
        self._finals.clear()
        self._live.clear()
        self._end = StreamEvent(why, b"{}", self._cursor)

    def pop(self) -> StreamEvent | None:
        """What is to be sent next, finals first; None: nothing waits."""
        if self._end is not None:
            last, self._end, self._is_over = self._end, None, True
            return last
        if self._finals:
            event = self._finals.popleft()
            self._size -= len(event.data)
            self._cursor = event.cursor or self._cursor
            return event
        if self._live:
            return self._live.pop(next(iter(self._live)))[1]
        return None

    def _forget_live(self, period: str, record: StreamRecord) -> None:
        key = period, record.series
        until_us = max(record.bucket_us, self._final_until.get(key, -1))
        self._final_until[key] = until_us
        if key in self._live and self._live[key][0] <= until_us:
            del self._live[key]
