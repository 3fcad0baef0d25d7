"""Asking a worker over HTTP, as the command line does."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from barstream.errors import BarstreamError, with_advice

PAGE_LIMIT: Final = 5000


class WorkerUnreachableError(BarstreamError):
    """No worker answers at the URL; start one, or name the URL of one that runs."""

    def __init__(self, url: str, reason: object) -> None:
        if isinstance(reason, OSError) and reason.strerror:
            # what the system calls it, without its number
            reason = reason.strerror.lower()
        super().__init__(
            f"no worker answers at {url} ({reason}); start one with `barstream worker`, or name "
            "another with --url"
        )


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

    Args:
        url: of the worker.
        timeout_s: for one answer.
        token: shown to it; None: it wants none.

    Raises:
        BarstreamError: that is no such URL.
    """

    def __init__(self, url: str, timeout_s: float = 30.0, *, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise BarstreamError(
                f"the URL of a worker must be such as http://127.0.0.1:6066, found {url!r}"
            )
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._token = token
        # a worker is near; a proxy for the wide world does not know it
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, query: Mapping[str, object | None]) -> dict[str, Any]:
        """The JSON object at ``path``; parameters that are None are left out.

        Raises:
            WorkerUnreachableError: no worker answers, or what answers is none.
            WorkerRefusedError: any answer but 200.
        """
        given = {name: value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        status, body = self._ask(target)
        if status != 200:
            raise WorkerRefusedError(status, body)
        return body

    def _ask(self, target: str) -> tuple[int, dict[str, Any]]:
        try:
            with self._opener.open(self._request(target), timeout=self._timeout_s) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        except (urllib.error.URLError, HTTPException, OSError) as error:
            raise WorkerUnreachableError(self.url, getattr(error, "reason", error)) from error
        try:
            body = json.loads(text)
        except ValueError as error:
            raise WorkerUnreachableError(self.url, "what answers there is no worker") from error
        return status, body if isinstance(body, dict) else {}

    def _request(self, target: str) -> urllib.request.Request:
        request = urllib.request.Request(self.url + target)  # noqa: S310 - http or https, see above
        if self._token is not None:
            # to this host alone: where it redirects to has no business with the token
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return request

    def latest(
        self, broker: str, symbol: str, timeframe: str, limit: int, to: str | None
    ) -> tuple[list[dict[str, Any]], bool]:
        """The latest ``limit`` bars before ``to``, ascending, and whether there are older ones."""
        body = self.get(
            _bars_path(broker, symbol),
            {"timeframe": timeframe, "order": "desc", "limit": limit, "to": to},
        )
        return body["bars"][::-1], body["truncated"]

    def since(
        self, broker: str, symbol: str, timeframe: str, start: str, to: str | None
    ) -> Iterator[dict[str, Any]]:
        """Every bar from ``start`` on, ascending, asked for page by page."""
        next_from: str | None = start
        while next_from:
            query = {"timeframe": timeframe, "from": next_from, "to": to, "limit": PAGE_LIMIT}
            body = self.get(_bars_path(broker, symbol), query)
            yield from body["bars"]
            next_from = body.get("next_from")


def _bars_path(broker: str, symbol: str) -> str:
    return f"/bars/{quote(broker, safe='')}/{quote(symbol, safe='')}"
