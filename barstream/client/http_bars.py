"""Bars over HTTP, from any worker of a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

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
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)


class HttpBars:
    """A `barstream.model.bar_request.BarSource`: a worker, and through it all others.

    Args:
        url: of any worker of the service.
        token: shown to it; None: it wants none.

    Raises:
        BarstreamError: that is no such URL.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise BarstreamError(
                f"the URL of a worker must be such as http://127.0.0.1:6066, found {url!r}"
            )
        self.url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def page(self, request: BarRequest) -> BarPage:
        """See `barstream.model.bar_request.BarSource.page`."""
        status, body = await self._ask(target_of(request))
        if status != 200:
            raise _refusal(self.url, status, body)
        # hours on the UTC grid and hours of sessions have the same timeframe, and other bars
        if body["period"] != str(request.period):
            raise UnknownPeriodError(
                f"the pipeline makes bars of {body['period']}, found {request.period}; ask for "
                "what it makes, or change bars.timeframes"
            )
        bars, retained = [bar_from_json(row) for row in body["bars"]], body["retained_from"]
        return BarPage(
            bars,
            request.following(bars[-1]) if body["truncated"] else None,
            None if retained is None else us_from_iso(retained),
        )

    async def _ask(self, target: str) -> tuple[int, Mapping[str, Any]]:
        if self._session is None:
            # made here because a session belongs to the loop it is made in
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, headers=self._headers)
        try:
            async with self._session.get(URL(self.url + target, encoded=True)) as answer:
                status, text = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BarsUnavailableError(
                f"no worker answers at {self.url} ({str(error) or 'no answer in time'}); start "
                "one with `barstream worker`, or name another"
            ) from error
        try:
            body = orjson.loads(text)
        except ValueError as error:
            raise BarsUnavailableError(
                f"what answers at {self.url} is no worker of barstream; name the URL of one"
            ) from error
        return status, body if isinstance(body, dict) else {}

    async def close(self) -> None:
        """Let the connections go; another read opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


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
