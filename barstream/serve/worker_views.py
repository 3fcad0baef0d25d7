"""Views about the worker itself: health, status, metrics and the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from barstream.runtime.lifecycle import schedule_command
from barstream.serve.site import ReadView, time_text

if TYPE_CHECKING:
    from barstream.runtime.agreement import Other

STATIC: Final = Path(__file__).with_name("static")
#: Inline styles are the chart library's; there are no inline scripts, and no other hosts.
PAGE_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'"
)


class HealthLive(ReadView):
    """``GET /health/live``: the process answers."""

    view_name, view_path = "health_live", "/health/live"

    async def get(self, _request: Any) -> Any:
        return self.answer({"live": True})


class HealthReady(ReadView):
    """``GET /health/ready``: 200 when reads are answered, 503 with the reasons until then."""

    view_name, view_path = "health_ready", "/health/ready"

    async def get(self, request: Any) -> Any:
        readiness = self.site(request).reads.ready()
        body = {
            "ready": readiness.ready,
            "reasons": list(readiness.reasons),
            "progress": dict(readiness.progress),
        }
        return self.answer(body, 200 if readiness.ready else 503)


class Status(ReadView):
    """``GET /status``: the status line of the page; answered while recovering, too."""

    view_name, view_path = "status", "/status"

    async def get(self, request: Any) -> Any:
        site = self.site(request)
        readiness, stats = site.reads.ready(), site.reads.stats()
        return self.answer(
            {
                "now": time_text(site.now_us()),
                "app_id": stats.app_id,
                "ready": readiness.ready,
                "reasons": list(readiness.reasons),
                "progress": dict(readiness.progress),
                "timeframes": [period.timeframe for period in site.reads.periods],
                "leader": stats.leader,
                "partitions": list(stats.partitions),
                "standbys": [
                    {"partition": partition, "rows_behind": behind}
                    for partition, behind in sorted(stats.standbys.items())
                ],
                "lag": stats.lag,
                "ticks": stats.ticks,
                "rejected": dict(stats.rejected),
                "unscheduled": [_named(each) for each in stats.unscheduled],
                "respelled": [
                    {
                        **_named(each.series),
                        "spellings": [_named(each.first), _named(each.other)],
                    }
                    for each in stats.respelled
                ],
                "what_to_do": schedule_command(stats.unscheduled),
                "scheduled_series": stats.scheduled_series,
                "last_heartbeat": time_text(stats.last_heartbeat_us),
                "rules": dict(stats.rules),
                "version": stats.version,
                "other_workers": [_worker(each) for each in stats.others],
            }
        )


def _worker(other: Other) -> dict[str, Any]:
    return {
        "url": other.member.url,
        "client": other.member.client,
        "version": other.version,
        "settings": other.settings,
        "differences": [
            {"setting": each.name, "here": each.here, "there": each.there}
            for each in other.differences
        ],
    }


def _named(series: tuple[str, str]) -> dict[str, str]:
    return {"broker": series[0], "symbol": series[1]}


class MetricsText(ReadView):
    """``GET /metrics``: Prometheus text, or OpenMetrics when asked for."""

    view_name, view_path = "metrics", "/metrics"

    async def get(self, request: Any) -> Any:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(self.site(request).metrics.scraped())
        return web.Response(body=body, headers={"Content-Type": content_type})


class Page(ReadView):
    """``GET /``: the page."""

    view_name, view_path = "page", "/"

    async def get(self, _request: Any) -> Any:
        return web.FileResponse(
            STATIC / "index.html",
            headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"},
        )
