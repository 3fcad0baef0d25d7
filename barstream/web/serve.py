"""Putting the views on a worker's Faust app."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final, Protocol

from faust import App
from faust.web.base import BlueprintManager

from barstream.clock import system_clock_us
from barstream.metrics import Metrics
from barstream.web.access import token_required
from barstream.web.health import STATIC, HealthLive, HealthReady, MetricsText, Page, Status
from barstream.web.many import AllBars, AllLive, BrokerBars, BrokerLive, Series
from barstream.web.peers import Peers
from barstream.web.reads import Reads
from barstream.web.routing import Router
from barstream.web.sending import Sending
from barstream.web.site import SENDING, SITE, Site, errors_as_json
from barstream.web.source import RoutedBars
from barstream.web.views import Bars, Live, Schedule, Where

VIEWS: Final = (
    Bars, Live, Where, Schedule, AllBars, BrokerBars, AllLive, BrokerLive, Series,
    HealthLive, HealthReady, Status, MetricsText, Page,
)  # fmt: skip


def register(
    app: App,
    reads: Reads,
    metrics: Metrics,
    now_us: Callable[[], int] = system_clock_us,
    *,
    token: str | None = None,
) -> RoutedBars:
    """Put the views on ``app``, in place of everything Faust would serve by itself.

    Call it once, after the app's settings are final (see `app_options`) and before it starts.

    Args:
        app: of the worker.
        reads: what it answers with.
        metrics: its numbers.
        now_us: the clock.
        token: what requests must show, and what other workers are shown; None: anyone may ask.

    Returns:
        The same bars for code inside the worker; to be used on the event loop of the app.
    """
    server: Any = app.web
    # /table would hand out table contents, /router proxy without a loop guard
    server.blueprints = BlueprintManager()
    peers = Peers(metrics, token)
    router = Router(reads, peers)
    server.web_app[SITE] = Site(reads, router, metrics, now_us)
    server.web_app[SENDING] = Sending(metrics)
    server.web_app.on_cleanup.append(peers.close)
    server.web_app.middlewares.append(errors_as_json)
    if token is not None:
        server.web_app.middlewares.append(token_required(token))
    for view in VIEWS:
        server.add_view(view)
    server.add_static("/static", STATIC)
    for resource in server.web_app.router.resources():
        metrics.show_path(resource.canonical)
    return RoutedBars(reads, router)


class WebSettings(Protocol):
    """The section ``web`` of the settings."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def advertise_url(self) -> str | None: ...


def app_options(settings: WebSettings) -> dict[str, Any]:
    """Settings of the Faust app for its web server: bound to one host, nothing of Faust's own."""
    return {
        "web_bind": settings.host,
        "web_host": settings.host,
        "web_port": settings.port,
        "canonical_url": settings.advertise_url or _base_url(settings.host, settings.port),
        "web_cors_options": {},
        "web_router_enabled": False,
        "web_tables_enabled": False,
        "web_stats_enabled": False,
        "web_graph_enabled": False,
        "web_metrics_enabled": False,
    }


def is_loopback(host: str) -> bool:
    """Whether an address to bind is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _base_url(host: str, port: int) -> str:
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - a wildcard is no address to be found at
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
