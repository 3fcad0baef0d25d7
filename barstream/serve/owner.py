"""The owner of a series among the workers: who it is, and its answer when that is another one.

Reads of series that other workers hold are passed on to them, and answered as they answer; reads
of many series are asked of each worker for the partitions it holds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from yarl import URL

from barstream.client.worker_client import bearer, cause_of
from barstream.metrics import Metrics
from barstream.serve.reads import NotHereError, Owner, Placement, Reads

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


#: Who holds a partition is asked once more when it is not who it was thought to be.
TRIES: Final = 2
#: A longer body is decoded beside the event loop.
_LARGE_BODY: Final = 1 << 18

AGAIN: Final = "ask again; GET /where/BROKER/SYMBOL says where a series is, GET /health/ready of \
a worker when it answers"


class UnroutedError(Exception):
    """A read whose worker gives no answer; the message says why."""

    def __init__(self, message: str, owner: Owner, reasons: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.owner = owner
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Missing:
    """A tick partition that nobody has answered for."""

    partition: int
    url: str | None
    why: str

    def as_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"partition": self.partition, "url": self.url, "why": self.why}


@dataclass(slots=True)
class Gathered:
    """What each of the workers answered, and of which partitions there is no answer."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


Local = Callable[[frozenset[int]], Awaitable[dict[str, Any]]]


class Router:
    """Finds the worker that answers.

    Args:
        reads: of this worker.
        peers: the others.
    """

    def __init__(self, reads: Reads, peers: Peers) -> None:
        self._reads = reads
        self._peers = peers

    async def ask(self, owner: Owner, broker: str, symbol: str, target: str) -> Owner | Answer:
        """What the worker that holds a series answers, or another one that has it by then.

        Args:
            owner: of the series, which is not this worker.
            broker: normalised.
            symbol: normalised.
            target: path and query to be asked, as they came.

        Returns:
            The answer, which is never 421 or 503; the owner when it has become this worker, or
            nobody.

        Raises:
            UnroutedError: the owner gives no answer, with the reason.
        """
        deadline = asyncio.get_running_loop().time() + WITHIN_S
        for last in range(1, TRIES + 1):
            try:
                return await self._ask(owner, target, deadline)
            except UnroutedError:
                now = self._reads.owner(broker, symbol)
                if last == TRIES or now == owner:
                    raise
                if now.here or now.partition is None:
                    return now
                owner = now
        raise AssertionError("unreachable")

    async def _ask(self, owner: Owner, target: str, deadline: float) -> Answer:
        if owner.url is None or owner.url == self._reads.url:
            raise UnroutedError("no worker is known to hold it, partitions are moving", owner)
        try:
            answer = await self._peers.ask(owner.url, target, deadline)
        except PeerError as error:
            raise UnroutedError(f"{owner.url} should hold it, {error}", owner) from error
        if answer.status == 401:
            raise UnroutedError(
                f"{owner.url}, which holds it, wants another token: web.token must be the same on "
                "all workers",
                owner,
            )
        if answer.status == 421:
            body = await decoded(answer)
            if "partition" in body:
                raise UnroutedError(f"{owner.url} should hold it and does not, it is moving", owner)
            raise UnroutedError(f"{owner.url}, which holds it, refuses: {body.get('error')}", owner)
        if answer.status == 503:
            body = await decoded(answer)
            reasons = [str(reason) for reason in body.get("reasons", ())]
            said = "; ".join(reasons) or str(body.get("error", "it did not say why"))
            raise UnroutedError(
                f"{owner.url}, which holds it, is not ready: {said}", owner, reasons
            )
        return answer

    async def gather(self, target: str, local: Local) -> Gathered:
        """What all workers together answer; each of them for the partitions it holds.

        Args:
            target: path and query to be asked, as they came.
            local: the answer of this worker for some of its partitions.
        """
        deadline = asyncio.get_running_loop().time() + WITHIN_S
        for last in range(1, TRIES + 1):
            placement = self._reads.placement()
            gathered = await self._gather(placement, target, local, deadline)
            if not gathered.missing or last == TRIES:
                return gathered
            now = self._reads.placement()
            if (now.here, now.holders) == (placement.here, placement.holders):
                return gathered
        raise AssertionError("unreachable")

    async def _gather(
        self, placement: Placement, target: str, local: Local, deadline: float
    ) -> Gathered:
        gathered = Gathered()
        asked: list[tuple[str | None, frozenset[int], Awaitable[dict[str, Any]]]] = []
        if placement.here:
            asked.append((placement.url, placement.here, local(placement.here)))
        for url, part in placement.elsewhere().items():
            asked.append((url, part, self._part(url, part, target, deadline)))
        answers = await asyncio.gather(*(work for _, _, work in asked), return_exceptions=True)
        for (url, partitions, _), answer in zip(asked, answers, strict=True):
            if isinstance(answer, PeerError | NotHereError):
                gathered.missing += [Missing(each, url, str(answer)) for each in partitions]
            elif isinstance(answer, BaseException):
                raise answer
            else:
                gathered.bodies.append(answer)
        if not placement.holders:
            gathered.missing.append(Missing(0, None, "the partitions are not known yet"))
        gathered.missing.sort(key=lambda missing: missing.partition)
        return gathered

    async def _part(
        self, url: str | None, partitions: frozenset[int], target: str, deadline: float
    ) -> dict[str, Any]:
        """The answer of one worker for partitions that it must hold."""
        if url is None:
            raise PeerError("no worker is known to hold it, partitions are moving", "moved")
        answer = await self._peers.ask(url, target, deadline, partitions)
        body = await decoded(answer)
        if answer.status != 200:
            said = body.get("error", f"it answered {answer.status}")
            raise PeerError(str(said), "refused")
        if not body:
            raise PeerError("what it answered is no answer of a worker", "refused")
        return body


async def decoded(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer; empty when it is none."""
    try:
        if len(answer.body) > _LARGE_BODY:
            body = await asyncio.to_thread(json.loads, answer.body)
        else:
            body = json.loads(answer.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
