"""Putting the views on a worker's Faust app."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from faust import App
from faust.web.base import BlueprintManager

from barstream.clock import system_clock_us
from barstream.metrics import Metrics
from barstream.web.health import STATIC, HealthLive, HealthReady, MetricsText, Page, Status
from barstream.web.reads import Reads
from barstream.web.site import SITE, Site, errors_as_json
from barstream.web.views import Bars, Live, Schedule, Series

VIEWS: Final = (
    Bars, Live, Series, Schedule, HealthLive, HealthReady, Status, MetricsText, Page,
)  # fmt: skip


def register(
    app: App,
    reads: Reads,
    metrics: Metrics,
    now_us: Callable[[], int] = system_clock_us,
) -> None:
    """Put the views on ``app``, in place of everything Faust would serve by itself.

    Call it once, after the app's settings are final (see `app_options`) and before it starts.
    """
    server: Any = app.web
    # /table would hand out table contents, /router proxy without a loop guard
    server.blueprints = BlueprintManager()
    server.web_app[SITE] = Site(reads, metrics, now_us)
    server.web_app.middlewares.append(errors_as_json)
    for view in VIEWS:
        server.add_view(view)
    server.add_static("/static", STATIC)


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


def _base_url(host: str, port: int) -> str:
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - a wildcard is no address to be found at
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
