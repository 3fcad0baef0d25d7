"""How many rows are read at once for all requests together, and how many requests wait for theirs.

A read of ten thousand bars holds ten megabytes until it is text, and a hundred of them come in one
second.  So a request says what it may take before anything is read, waits for its turn, and is
refused where too many wait already.  Reads of many series, and reads that other workers have passed
on, have quotas of their own: the former wait for other workers while they hold theirs, and what one
worker waits for must not wait for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from barstream.metrics import Metrics

#: Requests that wait, of one quota.  Each holds a connection while it does: those of all three
#: quotas must leave some for probes and scrapers.
MOST_WAITING: Final = 64
#: Less than the thirty seconds that clients mostly wait; another worker gives up before.
WAIT_S: Final = 20.0


class CrowdedError(Exception):
    """Too much is being read already; the message says so, and to ask again helps."""


class ClientGoneError(Exception):
    """Who asked has hung up while the request waited for its turn: nothing is read for nobody."""


@dataclass(slots=True)
class _Waiting:
    rows: int
    turn: asyncio.Future[None]


class RowQuota:
    """Rows that may be read at once; who comes first is served first.

    Args:
        metrics: counts what is read, and who is refused.
        most: rows; a request that asks for more has all of them to itself.
        most_waiting: requests.
        wait_s: for how long one waits.
    """

    def __init__(
        self,
        metrics: Metrics,
        most: int,
        most_waiting: int = MOST_WAITING,
        wait_s: float = WAIT_S,
    ) -> None:
        self._metrics = metrics
        self._most = most
        self._most_waiting = most_waiting
        self._wait_s = wait_s
        self._free = most
        self._waiting: deque[_Waiting] = deque()

    @asynccontextmanager
    async def taken(self, rows: int) -> AsyncIterator[None]:
        """While so many rows are read and made an answer.

        Raises:
            CrowdedError: too many requests wait, or this one has waited for too long.
        """
        rows = min(rows, self._most)
        if self._waiting or rows > self._free:
            await self._turn(rows)
        else:
            self._free -= rows
        self._metrics.http_rows.inc(rows)
        try:
            yield
        finally:
            self._metrics.http_rows.dec(rows)
            self._free += rows
            if self._waiting:
                self._admit()

    async def _turn(self, rows: int) -> None:
        """Wait until so many are free for this request, and take them."""
        if len(self._waiting) >= self._most_waiting:
            raise self._crowded(
                "waiting", f"{len(self._waiting)} requests wait for their turn to be read"
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(rows, turn)
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as error:
            if turn.cancelled():
                with suppress(ValueError):  # it may have been passed over already
                    self._waiting.remove(waiting)
                self._admit()
            else:
                # its turn came as it gave up
                self._free += rows
                self._admit()
            if isinstance(error, TimeoutError):
                raise self._crowded(
                    "late", f"it waited for {self._wait_s:g} s for its turn to be read"
                ) from None
            raise

    def _admit(self) -> None:
        while self._waiting and self._waiting[0].rows <= self._free:
            first = self._waiting.popleft()
            if not first.turn.done():
                self._free -= first.rows
                first.turn.set_result(None)

    def _crowded(self, why: str, said: str) -> CrowdedError:
        self._metrics.http_reads_refused.labels(why).inc()
        return CrowdedError(f"too many rows are asked for at once: {said}")


class Quotas:
    """Those of one worker, each of as many rows.

    Attributes:
        one: for reads of one series that is here.
        many: for reads of many series, which ask other workers too.
        passed_on: for what other workers ask.
    """

    def __init__(self, metrics: Metrics, most: int) -> None:
        self.one = RowQuota(metrics, most)
        self.many = RowQuota(metrics, most)
        self.passed_on = RowQuota(metrics, most)
