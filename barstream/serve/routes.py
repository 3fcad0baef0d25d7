"""The page, and putting all views on a worker's Faust app."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp import web
from faust import App
from faust.web.base import BlueprintManager

from barstream.client.worker_client import ANY_ADDRESS, local_url, url_of
from barstream.clock import system_clock_us
from barstream.errors import BarstreamError
from barstream.metrics import Metrics
from barstream.model.key import FOLDED, NameRule
from barstream.serve.access import own_name_required, token_required
from barstream.serve.connections import Connections, Sending
from barstream.serve.health import HealthLive, HealthReady, MetricsText, Status
from barstream.serve.owner import Peers, Router
from barstream.serve.query import RoutedBars
from barstream.serve.quota import Quotas
from barstream.serve.reads import Reads, Stats
from barstream.serve.site import CONNECTIONS, SENDING, SITE, ReadView, Site, errors_as_json
from barstream.serve.views import (
    AllBars,
    AllLive,
    BarsView,
    BrokerBars,
    BrokerLive,
    Live,
    Schedule,
    Series,
    Where,
)

_PASSIVE: Final = socket.AI_PASSIVE

STATIC: Final = Path(__file__).with_name("static")
#: Inline styles are the chart library's; there are no inline scripts, and no other hosts.
PAGE_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'"
)


class Page(ReadView):
    """``GET /``: the page."""

    view_name, view_path = "page", "/"

    async def get(self, _request: Any) -> Any:
        return web.FileResponse(
            STATIC / "index.html",
            headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"},
        )


class WebAddressError(BarstreamError):
    """The web views cannot be served at ``web.host`` and ``web.port``: choose others."""


VIEWS: Final = (
    BarsView, Live, Where, Schedule, AllBars, BrokerBars, AllLive, BrokerLive, Series,
    HealthLive, HealthReady, Status, MetricsText, Page,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What the clients of a worker may take of it together.

    Attributes:
        connections: open at once.
        rows: read at once, see `barstream.serve.quota.Quotas`.
    """

    connections: int = 256
    rows: int = 40_000


DEFAULT_LIMITS: Final = Limits()


def register(
    app: App,
    reads: Reads,
    stats: Callable[[], Stats],
    metrics: Metrics,
    now_us: Callable[[], int] = system_clock_us,
    *,
    token: str | None = None,
    name_rule: NameRule = FOLDED,
    hosts: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> RoutedBars:
    """Put the views on ``app``, in place of everything Faust would serve by itself.

    Call it once, after the app's settings are final (see `app_options`) and before it starts.

    Args:
        app: of the worker.
        reads: what it answers with.
        stats: numbers of the status line.
        metrics: its numbers.
        now_us: the clock.
        token: what requests must show, and what other workers are shown; None: anyone may ask.
        name_rule: how names are spelled.
        hosts: names under which this worker is asked beside its own, see `own_name_required`.
        limits: of what its clients take together.

    Returns:
        The same bars for code inside the worker; to be used on the event loop of the app.
    """
    server: Any = app.web
    # /table would hand out table contents, /router proxy without a loop guard
    server.blueprints = BlueprintManager()
    peers = Peers(metrics, token)
    router = Router(reads, peers)
    server.web_app[SITE] = Site(
        reads, stats, router, metrics, now_us, name_rule,
        Quotas(metrics, limits.rows),
    )  # fmt: skip
    server.web_app[SENDING] = Sending(metrics)
    server.web_app[CONNECTIONS] = connections = Connections(metrics, limits.connections)
    server.web_app.on_cleanup.append(peers.close)
    server.web_app.middlewares.append(errors_as_json)
    server.web_app.middlewares.append(own_name_required((*_own_names(app), *hosts), token))
    if token is not None:
        server.web_app.middlewares.append(token_required(token))
    for view in VIEWS:
        server.add_view(view)
    server.add_static("/static", STATIC)
    # Faust's own site takes connections without end
    server._create_site = lambda: connections.site(
        server._runner, app.conf.web_bind, app.conf.web_port
    )
    _refuse_in_our_words(app)
    for resource in server.web_app.router.resources():
        metrics.show_path(resource.canonical)
    return RoutedBars(reads, router, name_rule)


class SiteSettings(Protocol):
    """The section ``web`` of the settings."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def advertise_url(self) -> str | None: ...


def app_options(settings: SiteSettings) -> dict[str, Any]:
    """Settings of the Faust app for its web server: bound to one host, nothing of Faust's own."""
    host = socket.gethostname() if settings.host in ANY_ADDRESS else settings.host
    return {
        "web_bind": settings.host,
        "web_host": settings.host,
        "web_port": settings.port,
        "canonical_url": settings.advertise_url or url_of(host, settings.port),
        "web_cors_options": {},
        "web_router_enabled": False,
        "web_tables_enabled": False,
        "web_stats_enabled": False,
        "web_graph_enabled": False,
        "web_metrics_enabled": False,
    }


def require_address(settings: SiteSettings) -> None:
    """Look whether the web views can be served where the settings say.

    Raises:
        WebAddressError: something else listens there, or this machine has no such address.
    """
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=_PASSIVE)
        for family, kind, protocol, _, place in found:
            with socket.socket(family, kind, protocol) as trial:
                # as the server does: connections of an earlier worker that linger are no obstacle
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(place)
    except OSError as error:
        raise _refused(host, port, error) from error


def _refuse_in_our_words(app: App) -> None:
    """Something may have taken the port since `require_address` looked."""
    server: Any = app.web
    start = server.start_server

    async def start_server() -> None:
        try:
            await start()
        except OSError as error:
            raise _refused(app.conf.web_bind, app.conf.web_port, error) from error

    server.start_server = start_server


def _refused(host: str, port: int, error: OSError) -> WebAddressError:
    if error.errno == errno.EADDRINUSE:
        return WebAddressError(
            f"port {port} of {host} must be free for the web views, but something listens "
            "there, perhaps another worker: give this one another with --web-port or "
            "BARSTREAM_WEB_PORT"
        )
    return WebAddressError(
        f"the web views must be served at {host} port {port}, and cannot be "
        f"({(error.strerror or str(error)).lower()}): web.host must be an address of this "
        "machine, and a port below 1024 may need rights"
    )


def page_url(settings: SiteSettings) -> str:
    """Where the page is, seen from this machine."""
    return f"{local_url(settings.host, settings.port)}/"


def is_loopback(host: str) -> bool:
    """Whether an address to bind is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_names(app: App) -> list[str]:
    """What this worker is called by itself, and by the others."""
    url = app.conf.canonical_url
    named = (app.conf.web_bind, app.conf.web_host, url.host, socket.gethostname())
    return [name for name in named if name]
