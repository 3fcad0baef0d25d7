"""A real Faust app's web server on a loopback port, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import faust

from barstream.metrics import Metrics
from barstream.model.bar_request import BarPage, BarRequest
from barstream.model.key import FOLDED, NameRule
from barstream.serve.query import RoutedBars
from barstream.serve.routes import DEFAULT_LIMITS, Limits, app_options, register
from tests.pipeline import free_port

from .memory_reads import MemoryReads


@dataclass(frozen=True)
class Loopback:
    port: int
    host: str = "127.0.0.1"
    advertise_url: str | None = None


@dataclass
class WebWorker:
    url: str
    reads: MemoryReads
    metrics: Metrics
    app: faust.App
    bars: RoutedBars
    loop: asyncio.AbstractEventLoop
    # loopback is not for a proxy to reach
    opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(urllib.request.ProxyHandler({}))
    )

    def get(self, path: str, method: str = "GET") -> tuple[int, Any]:
        """Status and decoded JSON body."""
        status, _, body = self.raw(path, method=method)
        return status, json.loads(body) if body else None

    def page(self, request: BarRequest) -> BarPage:
        """A page as code inside the worker gets it."""
        return asyncio.run_coroutine_threadsafe(self.bars.page(request), self.loop).result(20)

    def raw(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, Any, bytes]:
        """Status, headers and body."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers or {})
        try:
            with self.opener.open(request, timeout=10) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()


@contextmanager
def web_worker(
    reads: MemoryReads,
    port: int | None = None,
    *,
    token: str | None = None,
    name_rule: NameRule = FOLDED,
    hosts: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[WebWorker]:
    """Serve ``reads`` until the block ends."""
    port = port or free_port()
    reads.url = f"http://127.0.0.1:{port}"
    metrics = Metrics()
    app = faust.App(f"web-{port}", broker="memory://", **app_options(Loopback(port)))
    bars = register(
        app,
        reads,
        lambda: reads.numbers,
        metrics,
        token=token,
        name_rule=name_rule,
        hosts=hosts,
        limits=limits,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(app.web.start(), loop).result(10)
    try:
        yield WebWorker(reads.url, reads, metrics, app, bars, loop)
    finally:
        asyncio.run_coroutine_threadsafe(app.web.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
