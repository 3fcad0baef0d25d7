"""Who may ask: with a token set, whoever shows it; the rest is told so and nothing else."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

#: Answered to everyone: that the process lives, and what the page needs to ask for the token.
OPEN: Final = frozenset({"/health/live", "/", "/static"})

_SCHEME: Final = "bearer"


def bearer(token: str) -> dict[str, str]:
    """The header that shows ``token``."""
    return {hdrs.AUTHORIZATION: f"Bearer {token}"}


def token_required(token: str) -> Middleware:
    """A middleware that lets requests through that show ``token``.

    A path that does not exist is refused like one that does.
    """
    expected = token.encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in OPEN:
            return await handler(request)
        given = request.headers.getall(hdrs.AUTHORIZATION, [])
        # one header exactly: of two, a proxy may have looked at the other
        if len(given) == 1 and _shows(given[0], expected):
            return await handler(request)
        return _refused()

    return check


def _shows(header: str, expected: bytes) -> bool:
    scheme, _, shown = header.partition(" ")
    # headers are bytes of any kind; comparing must neither fail nor say by its time how much fits
    found = shown.strip().encode("utf-8", "surrogateescape")
    return hmac.compare_digest(found, expected) and scheme.lower() == _SCHEME


def _refused() -> web.Response:
    return web.json_response(
        {
            "error": "this service wants a token, and none or a wrong one was shown",
            "what_to_do": "send Authorization: Bearer TOKEN with the token in web.token of the "
            "workers; barstream commands take it from BARSTREAM_WEB__TOKEN",
        },
        status=401,
        headers={hdrs.WWW_AUTHENTICATE: 'Bearer realm="barstream"', "Cache-Control": "no-store"},
    )
