"""Answers on their way to clients: how much of them may wait in memory, and for how long.

An answer is whole in memory until its client has read it.  A client that asks and does not read
would keep it there, and each such connection another one.  So large answers have a common bound,
beyond it they are refused, and a client that reads next to nothing is let go.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from aiohttp import web

from barstream.metrics import Metrics

log = logging.getLogger(__name__)

#: Answers up to this fit the buffers of a connection; their number is bounded by that of sockets.
SMALL_BYTES: Final = 64 << 10
MOST_WAITING_BYTES: Final = 64 << 20
#: In so many seconds a client has to read so much of what is left.
LOOK_EVERY_S: Final = 10.0
LEAST_READ_BYTES: Final = 64 << 10


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

    def has_room(self, response: web.StreamResponse) -> bool:
        """Whether this answer may be sent now; a small one always."""
        size = _size(response)
        return size <= SMALL_BYTES or self._waiting_bytes + size <= self._most_bytes

    async def send(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send an answer that is whole; return when the client has read it or was let go."""
        size = _size(response)
        if not size:
            return  # a file, or nothing: aiohttp sends it
        self._waiting_bytes += size
        try:
            await response.prepare(request)
            await self._written(request, response)
        except ConnectionError as error:
            log.debug("client gone: path=%s %r", request.path, error)
        finally:
            self._waiting_bytes -= size

    async def _written(self, request: web.Request, response: web.StreamResponse) -> None:
        writing = asyncio.ensure_future(response.write_eof())
        left = _size(response)
        try:
            while not (await asyncio.wait({writing}, timeout=self._look_every_s))[0]:
                transport = request.transport
                before, left = left, 0 if transport is None else transport.get_write_buffer_size()
                if transport is not None and before - left < min(LEAST_READ_BYTES, before):
                    self._metrics.http_clients_dropped.inc()
                    transport.abort()
                    break
            with suppress(ConnectionError):
                await writing
        finally:
            writing.cancel()


def _size(response: web.StreamResponse) -> int:
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, bytes | bytearray) else 0
