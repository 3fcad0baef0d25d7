"""Who may ask: with a token set, whoever shows it; and under which names a worker answers.

A page of any site may have its name lead to this worker (DNS rebinding); a browser then takes the
worker for that site, and lets the page read what it answers, from behind every firewall.  But it
says in `Host` whom it believes to ask, so a worker answers to its own names alone.  An address is
no name that somebody else could make lead here, and who shows the token is no such page.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Final

from aiohttp import hdrs, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

#: Answered to everyone: that the process lives, and what the page needs to ask for the token.
OPEN: Final = frozenset({"/health/live", "/", "/static"})

_SCHEME: Final = "bearer"
#: A name or an address, the port left out.
_HOST: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::\d{0,5})?")
#: A name has 253 characters at most, and may have a port.
_LONGEST_HOST: Final = 260
_SHOWN_CHARACTERS: Final = 100


def token_required(token: str) -> Middleware:
    """A middleware that lets requests through that show ``token``.

    A path that does not exist is refused like one that does.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in OPEN:
            return await handler(request)
        return await handler(request) if _shows(request, token) else _refused()

    return check


def own_name_required(names: Iterable[str], token: str | None) -> Middleware:
    """A middleware that answers 421 where `Host` is a name that is none of ours.

    Loopback and every address may be asked always, and who shows the token may ask anyone.

    Args:
        names: of hosts, in any case; ``*.example.org`` is every name below, ``*`` is every name.
        token: what requests must show; None: nothing.
    """
    ours = frozenset(name.lower().rstrip(".") for name in names)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        # what is no browser may leave it out
        given = request.headers.getall(hdrs.HOST, [])
        if all(is_answered(host, ours) for host in given):
            return await handler(request)
        if token is not None and _shows(request, token):
            return await handler(request)
        return _unknown_host(", ".join(given))

    return check


def is_answered(host: str, ours: frozenset[str]) -> bool:
    """Whether a request for ``host``, as the header has it, may be answered.

    Args:
        host: with or without a port; empty: nobody in particular is asked.
        ours: in lower case, see `own_name_required`.
    """
    found = _HOST.fullmatch(host.strip()) if len(host) <= _LONGEST_HOST else None
    if found is None:
        return False
    name = found[1].lower().removesuffix(".")
    if name in ours or name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        above = name.split(".")[1:]
        return "*" in ours or any(f"*.{'.'.join(above[at:])}" in ours for at in range(len(above)))
    return True


def _shows(request: web.Request, token: str) -> bool:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    # one header exactly: of two, a proxy may have looked at the other
    return len(given) == 1 and _fits(given[0], token.encode())


def _fits(header: str, expected: bytes) -> bool:
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


def _unknown_host(host: str) -> web.Response:
    shown = host[:_SHOWN_CHARACTERS]
    return web.json_response(
        {
            "error": f"the host asked for must be a name of this worker, found {shown!r}",
            "what_to_do": "ask it by its address, or add the name to web.hosts of the workers; "
            "others are refused because a page of another site could read here by a name of its "
            "own",
        },
        status=421,
        headers={"Cache-Control": "no-store"},
    )
