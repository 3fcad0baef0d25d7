"""Connections of clients: how many a worker holds at once, how long one may take, and how much.

Each is a descriptor, and a process without descriptors opens neither tables nor a way to its
brokers: a thousand sockets that ask for nothing must not end a worker.  So their number is bounded.
Beyond it room is made by closing the one that has not asked for the longest time; a newcomer is
refused only where all of them are being answered.  And who has begun to ask has to come to an end.

An answer is whole in memory until its client has read it.  A client that asks and does not read
would keep it there, and each such connection another one.  So large answers have a common bound,
beyond it they are refused, and a client that reads next to nothing is let go.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

from aiohttp import web
from yarl import URL

from barstream.metrics import Metrics

log = logging.getLogger(__name__)

#: For a whole request, from the connection or its first byte on.
ASK_WITHIN_S: Final = 10.0
#: Between two requests: longer than any scrape interval in use, and than proxies keep theirs.
KEEP_S: Final = 75.0
#: A file is on its way for a while after the view has answered with it.
FILE_S: Final = 10.0
#: Taken from the kernel in one turn of the event loop, so that their number cannot outrun us.
BACKLOG: Final = 64
#: ... and waiting there while the loop is busy; beyond that a client tries again after a second.
_WAITING: Final = 1_024
_LOOK_EVERY_S: Final = 1.0

#: Answers up to this fit the buffers of a connection; their number is bounded by that of sockets.
SMALL_BYTES: Final = 64 << 10
MOST_WAITING_BYTES: Final = 64 << 20
#: In so many seconds a client has to read so much of what is left.
LOOK_EVERY_S: Final = 10.0
LEAST_READ_BYTES: Final = 64 << 10

_REFUSAL: Final = (
    json.dumps(
        {
            "error": "all connections of this worker are being answered",
            "what_to_do": "ask again, keep connections open for several requests, or raise "
            "web.max_connections",
        }
    ).encode()
    + b"\n"
)
_REFUSED: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Cache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_REFUSAL), _REFUSAL)
)


class ClientConnection(asyncio.Protocol):
    """One of them: all it hears goes to aiohttp's protocol, unless it is refused.

    Attributes:
        idle_from_s: since when it may be closed to make room; None while it is answered.
        asking_from_s: since when its client has to ask; None: it need not.
        has_spoken: whether a part of a request came since it is idle.
    """

    def __init__(self, connections: Connections, http: asyncio.Protocol) -> None:
        self.idle_from_s: float | None = None
        self.asking_from_s: float | None = None
        self.has_spoken = False
        self._connections = connections
        self._http: asyncio.Protocol | None = http

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it in, or refuse it."""
        self.transport = cast("asyncio.Transport", transport)
        if self._http is not None and self._connections.take(self):
            self._http.connection_made(transport)
        else:
            self._http = None
            self.transport.write(_REFUSED)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        if self._http is None:
            return
        if self.idle_from_s is not None:
            self.has_spoken = True
            if self.asking_from_s is None:
                self.asking_from_s = self._connections.now_s()
        self._http.data_received(data)

    def is_silent(self) -> bool:
        """Whether its client has said nothing, read or not, since it is idle."""
        if self.has_spoken:
            return False
        waiting = select.poll()
        waiting.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not waiting.poll(0)

    def eof_received(self) -> bool | None:
        """Its client will say no more."""
        return None if self._http is None else self._http.eof_received()

    def pause_writing(self) -> None:
        """Its client does not read."""
        if self._http is not None:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        """Its client reads again."""
        if self._http is not None:
            self._http.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self._connections.lost(self)
        if self._http is not None:
            self._http.connection_lost(error)


class Connections:
    """Those of one worker.

    Args:
        metrics: counts them, and those that were closed.
        most: held at once.
        ask_within_s: for a whole request.
        keep_s: between two requests.
    """

    def __init__(
        self,
        metrics: Metrics,
        most: int,
        ask_within_s: float = ASK_WITHIN_S,
        keep_s: float = KEEP_S,
    ) -> None:
        self._metrics = metrics
        self._most = most
        self._ask_within_s = ask_within_s
        self._keep_s = keep_s
        self._held: dict[asyncio.BaseTransport, ClientConnection] = {}
        #: Those that are not answered now, the one for longest first.
        self._idle: dict[ClientConnection, None] = {}
        self._looking: asyncio.TimerHandle | None = None

    def now_s(self) -> float:
        """On the clock of the event loop."""
        return asyncio.get_running_loop().time()

    def take(self, connection: ClientConnection) -> bool:
        """Hold a new one; False when all that are held are being answered."""
        now_s = self.now_s()
        if len(self._held) >= self._most and not self._make_room(now_s):
            self._metrics.http_connections_closed.labels("refused").inc()
            return False
        connection.idle_from_s = connection.asking_from_s = now_s
        self._held[connection.transport] = connection
        self._idle[connection] = None
        self._metrics.http_connections.set(len(self._held))
        if self._looking is None:
            self._look()
        return True

    def lost(self, connection: ClientConnection) -> None:
        """One is gone, or was never held."""
        self._held.pop(connection.transport, None)
        self._idle.pop(connection, None)
        self._metrics.http_connections.set(len(self._held))

    @contextmanager
    def answering(self, transport: asyncio.BaseTransport | None) -> Iterator[Callable[[], None]]:
        """While a request is answered its connection stays.

        Yields:
            To be called when the answer is a file, which is sent later.
        """
        connection = None if transport is None else self._held.get(transport)
        if connection is not None:
            connection.idle_from_s = connection.asking_from_s = None
            connection.has_spoken = False
            self._idle.pop(connection, None)
        later_s = 0.0

        def is_file() -> None:
            nonlocal later_s
            later_s = FILE_S

        try:
            yield is_file
        finally:
            if connection is not None and connection.transport in self._held:
                connection.idle_from_s = self.now_s() + later_s
                self._idle[connection] = None

    def _make_room(self, now_s: float) -> bool:
        """Close a connection: of a client that has said nothing, else of one that is asking."""
        idle = [each for each in self._idle if (each.idle_from_s or 0) <= now_s]
        chosen = next((each for each in idle if each.is_silent()), idle[0] if idle else None)
        if chosen is not None:
            self._close(chosen, "idle")
        return chosen is not None

    def _close(self, connection: ClientConnection, why: str) -> None:
        self._metrics.http_connections_closed.labels(why).inc()
        self.lost(connection)
        # nothing is on its way to this client, and what it sends is of no interest
        connection.transport.abort()

    def _look(self) -> None:
        """Close those whose client has not asked in time; go on while there are any."""
        now_s = self.now_s()
        for connection in tuple(self._idle):
            asking_s, idle_s = connection.asking_from_s, connection.idle_from_s or now_s
            if asking_s is not None and now_s - asking_s >= self._ask_within_s:
                self._close(connection, "slow")
            elif now_s - idle_s >= self._keep_s and connection.is_silent():
                self._close(connection, "kept")
        self._looking = (
            asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look) if self._held else None
        )

    def site(self, runner: web.BaseRunner, host: str, port: int) -> web.BaseSite:
        """Where they come in."""
        return _Site(self, runner, host, port)


class _Site(web.BaseSite):
    """As aiohttp's own, with our protocol before its."""

    def __init__(
        self, connections: Connections, runner: web.BaseRunner, host: str, port: int
    ) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._connections = connections
        self._address = (host, port)

    @property
    def name(self) -> str:
        """Its URL."""
        host, port = self._address
        return str(URL.build(scheme="http", host=host, port=port))

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened at.
        """
        await super().start()
        host, port = self._address
        http: Any = self._runner.server
        self._server = await asyncio.get_running_loop().create_server(
            lambda: ClientConnection(self._connections, http()), host, port, backlog=self._backlog
        )
        for listening in self._server.sockets:
            # what waits in the kernel is no descriptor yet, and asyncio has one number for both
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(_WAITING)


class Sending:
    """Sends answers, within bounds.

    Args:
        metrics: counts clients that were let go.
        most_bytes: of large answers on their way together.
        look_every_s: how long a client may take to read `LEAST_READ_BYTES`.
    """

    def __init__(
        self,
        metrics: Metrics,
        most_bytes: int = MOST_WAITING_BYTES,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._metrics = metrics
        self._most_bytes = most_bytes
        self._look_every_s = look_every_s
        self._waiting_bytes = 0

    def has_room(self, size: int) -> bool:
        """Whether an answer of so many bytes may be sent now; a small one always."""
        return size <= SMALL_BYTES or self._waiting_bytes + size <= self._most_bytes

    async def send(self, request: web.Request, response: web.StreamResponse, size: int) -> None:
        """Send an answer that is whole; return when the client has read it or was let go.

        Args:
            request: what is answered.
            response: the answer.
            size: of its body, in bytes.
        """
        if not size:
            return  # a file, or nothing: aiohttp sends it
        self._waiting_bytes += size
        writing, left = None, size
        try:
            await response.prepare(request)
            writing = asyncio.ensure_future(response.write_eof())
            while not (await asyncio.wait({writing}, timeout=self._look_every_s))[0]:
                transport = request.transport
                before, left = left, 0 if transport is None else transport.get_write_buffer_size()
                if transport is not None and before - left < min(LEAST_READ_BYTES, before):
                    self._metrics.http_clients_dropped.inc()
                    transport.abort()
                    break
            with suppress(ConnectionError):
                await writing
        except ConnectionError as error:
            log.debug("client gone: path=%s %r", request.path, error)
        finally:
            self._waiting_bytes -= size
            if writing is not None:
                writing.cancel()
