"""The HTTP client of a worker, and through it of all others: for programs and for commands."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

import aiohttp
import orjson
from yarl import URL

from barstream.codecs.topics.bar_json import bar_from_json
from barstream.errors import BarstreamError, with_advice
from barstream.model.bar_request import (
    BarPage,
    BarRequest,
    BarsUnavailableError,
    UnknownPeriodError,
    UnknownSeriesError,
    target_of,
)
from barstream.model.time import us_from_iso

#: A worker gives up on the others after five seconds, and a page takes far less.
WITHIN: Final = aiohttp.ClientTimeout(total=30, connect=5)
#: For a person who waits, and may be far away.
PATIENT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=30)
#: Wildcards: no address to be found at.
ANY_ADDRESS: Final = ("", "0.0.0.0", "::")  # noqa: S104


class WorkerUnreachableError(BarstreamError):
    """No worker answers at the URL; start one, or name the URL of one that runs.

    Attributes:
        reason: why; None: what answers there is no worker.
    """

    def __init__(self, url: str, reason: Exception | None) -> None:
        if reason is None:
            why = "what answers there is no worker"
        elif isinstance(reason, aiohttp.ServerDisconnectedError):
            why = "Remote end closed connection without response"
        else:
            why = cause_of(reason)
        super().__init__(
            f"no worker answers at {url} ({why}); start one with `barstream worker`, or name "
            "another with --url"
        )
        self.reason = reason


class WorkerRefusedError(BarstreamError):
    """The worker understood and refused; the message is its own and says what to do.

    Attributes:
        status: of HTTP; 404 for a series without bars, 503 while it cannot be read.
    """

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        error = str(body.get("error", f"the worker answered {status}"))
        super().__init__(with_advice(error, body.get("what_to_do")))
        self.status = status
        self.body = body


class WorkerClient:
    """Reads from the worker at ``url``, which asks the others for what they hold.

    It is a `barstream.model.bar_request.BarSource`.  Workers are near: no proxy is asked.

    Args:
        url: of any worker of the service.
        token: shown to it; None: it wants none.
        timeout: for one answer.

    Raises:
        BarstreamError: that is no such URL.
    """

    def __init__(
        self, url: str, token: str | None = None, timeout: aiohttp.ClientTimeout = WITHIN
    ) -> None:
        try:
            parts = urlsplit(url)
            is_one = parts.scheme in ("http", "https") and parts.netloc and parts.port != 0
        except ValueError:  # there is no such port
            is_one = False
        if not is_one:
            raise BarstreamError(
                f"the URL of a worker must be such as http://127.0.0.1:6066, found {url!r}"
            )
        self.url = url.rstrip("/")
        # it does not follow a redirect to another host, which has no business with the token
        self._headers = {} if token is None else bearer(token)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, query: Mapping[str, object | None]) -> Mapping[str, Any]:
        """The JSON object at ``path``; parameters that are None are left out.

        Raises:
            WorkerUnreachableError: no worker answers, or what answers is none.
            WorkerRefusedError: any answer but 200.
        """
        given = {name: value for name, value in query.items() if value is not None}
        status, body = await self._ask(f"{path}?{urlencode(given)}" if given else path)
        if status != 200:
            raise WorkerRefusedError(status, body)
        return body

    async def page(self, request: BarRequest) -> BarPage:
        """See `barstream.model.bar_request.BarSource.page`."""
        try:
            status, body = await self._ask(target_of(request))
        except WorkerUnreachableError as error:
            raise BarsUnavailableError(
                f"what answers at {self.url} is no worker of barstream; name the URL of one"
                if error.reason is None
                else f"no worker answers at {self.url} "
                f"({str(error.reason) or 'no answer in time'}); start one with `barstream "
                "worker`, or name another"
            ) from error
        if status != 200:
            raise _refusal(self.url, status, body)
        # hours on the UTC grid and hours of sessions have the same timeframe, and other bars
        if body["period"] != str(request.period):
            raise UnknownPeriodError(
                f"the pipeline makes bars of {body['period']}, found {request.period}; ask for "
                "what it makes, or change bars.timeframes"
            )
        return page_of(request, body)

    async def _ask(self, target: str) -> tuple[int, Mapping[str, Any]]:
        if self._session is None:
            # made here because a session belongs to the loop it is made in
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        try:
            async with self._session.get(URL(self.url + target, encoded=True)) as answer:
                status, text = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise WorkerUnreachableError(self.url, error) from error
        try:
            body = orjson.loads(text)
        except ValueError as error:
            raise WorkerUnreachableError(self.url, None) from error
        return status, body if isinstance(body, dict) else {}

    async def close(self) -> None:
        """Let the connections go; another read opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await self.close()


def page_of(request: BarRequest, body: Mapping[str, Any]) -> BarPage:
    """The answer of a worker as a page of bars."""
    bars, retained = [bar_from_json(row) for row in body["bars"]], body["retained_from"]
    return BarPage(
        bars,
        request.following(bars[-1]) if body["truncated"] else None,
        None if retained is None else us_from_iso(retained),
    )


def bearer(token: str) -> dict[str, str]:
    """The header that shows ``token``."""
    return {"Authorization": f"Bearer {token}"}


def cause_of(error: Exception) -> str:
    """Why a worker cannot be reached, as the system calls it.

    The libraries in between put calls and addresses around it.
    """
    cause = getattr(error, "os_error", error)
    if isinstance(cause, socket.gaierror):  # the resolver has numbers of its own
        return (cause.strerror or str(cause)).lower()
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno).lower()
    if isinstance(cause, TimeoutError):
        return "timed out"
    return str(error)


def local_url(host: str, port: int) -> str:
    """Base URL of a worker that is bound to ``host``, as this machine asks it."""
    return url_of("127.0.0.1" if host in ANY_ADDRESS else host, port)


def url_of(host: str, port: int) -> str:
    """Base URL of a host, by its name or its address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refusal(url: str, status: int, body: Mapping[str, Any]) -> BarstreamError:
    error = str(body.get("error", f"{url} answered {status}"))
    message = with_advice(error, body.get("what_to_do"))
    if status == 404 and "why" in body:
        return UnknownSeriesError(message)
    if status == 400 and body.get("parameter") == "timeframe":
        return UnknownPeriodError(f"{message}; add it to bars.timeframes of the pipeline")
    missing = [(row["partition"], row["url"]) for row in body.get("missing", ())]
    if body.get("partition") is not None:
        missing.append((body["partition"], body.get("url")))
    if status in (421, 503):
        return BarsUnavailableError(message, missing)
    return BarstreamError(message)
