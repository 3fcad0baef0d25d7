"""Asking the other workers over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from barstream.client.worker_client import bearer, cause_of
from barstream.metrics import Metrics

#: On a request that a worker passes on: it is answered there, or refused, and never passed on.
FORWARDED: Final = "X-Barstream-Forwarded"
#: ... and the partitions an answer must be of, when it is not of one series.
PARTITIONS: Final = "X-Barstream-Partitions"
#: On every answer: the worker that gave it.
WORKER: Final = "X-Barstream-Worker"

#: For everything that a read asks of other workers, a second try included.
WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What another worker answered, as it came."""

    status: int
    body: bytes
    content_type: str
    worker: str


class PeerError(Exception):
    """Another worker gave no answer; the message says why, ``result`` in one word."""

    def __init__(self, message: str, result: str) -> None:
        super().__init__(message)
        self.result = result


class Peers:
    """The other workers, one HTTP session for all of them.

    Args:
        metrics: counts what comes back.
        token: shown to them; None: they want none.
    """

    def __init__(self, metrics: Metrics, token: str | None = None) -> None:
        self._metrics = metrics
        self._shown = {} if token is None else bearer(token)
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, url: str, target: str, deadline: float, partitions: Iterable[int] | None = None
    ) -> Answer:
        """The answer to ``GET target`` of the worker at ``url``, whatever its status.

        Args:
            url: base URL of the worker.
            target: path and query as they came, escaped.
            deadline: on the clock of the event loop.
            partitions: those the answer must be of, all of them.

        Raises:
            PeerError: no answer, or none in time.
        """
        headers = {FORWARDED: "1", **self._shown}
        if partitions is not None:
            headers[PARTITIONS] = ",".join(map(str, sorted(partitions)))
        began, result = time.perf_counter(), "gone"
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._ask(url, target, headers)
        except TimeoutError as error:
            result = "timed_out"
            raise PeerError(f"it did not answer within {WITHIN_S:g} s", result) from error
        except aiohttp.ClientError as error:
            raise PeerError(f"it cannot be reached ({cause_of(error)})", result) from error
        else:
            result = _result(answer.status)
            return answer
        finally:
            self._metrics.routed_reads.labels(result).inc()
            self._metrics.routed_read_seconds.observe(time.perf_counter() - began)

    async def _ask(self, url: str, target: str, headers: Mapping[str, str]) -> Answer:
        if self._session is None:
            # made here because a session belongs to the loop it is made in; workers are near,
            # so no proxy is asked
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0)
            )
        async with self._session.get(
            URL(url + target, encoded=True), headers=headers, allow_redirects=False
        ) as response:
            return Answer(
                response.status,
                await response.read(),
                response.headers.get("Content-Type", "application/json"),
                response.headers.get(WORKER, url),
            )

    async def close(self, _app: Any = None) -> None:
        """Let the connections go."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _result(status: int) -> str:
    if status == 421:
        return "moved"
    return "answered" if status < 500 else "refused"
