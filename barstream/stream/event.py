"""An event of a stream, and its two spellings: server-sent events and NDJSON."""

from __future__ import annotations

from typing import Literal, NamedTuple

from barstream.stream.cursor import Cursor

EventName = Literal[
    "hello", "bar", "withdrawn", "caught_up", "heartbeat", "reset", "too_slow", "shutdown"
]


class StreamEvent(NamedTuple):
    """What a client is told.

    Attributes:
        name: unknown ones are ignored by clients.
        data: a JSON object on one line; spelled once for all clients of a worker.
        cursor: where a client is that has read up to here; None: in the midst of a batch.
    """

    name: EventName
    data: bytes
    cursor: Cursor | None = None

    def server_sent(self) -> bytes:
        """As ``text/event-stream`` has it."""
        identity = b"" if self.cursor is None else b"\nid: %b" % str(self.cursor).encode()
        return b"event: %b\ndata: %b%b\n\n" % (self.name.encode(), self.data, identity)

    def json_line(self) -> bytes:
        """As ``application/x-ndjson`` has it: the object with ``type``, and ``id`` if any."""
        head = b'{"type":"%b"' % self.name.encode()
        if self.cursor is not None:
            head += b',"id":"%b"' % str(self.cursor).encode()
        return head + (b"}" if self.data == b"{}" else b"," + self.data[1:]) + b"\n"
