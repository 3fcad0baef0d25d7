"""Rows that are read at once: bounded over all requests, whoever asks for how much."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import pytest

from barstream.metrics import Metrics
from barstream.model.time import MINUTE_US
from barstream.serve import query, render, routes, views
from barstream.serve import quota as quotas
from barstream.serve.owner import Answer, Peers
from barstream.serve.quota import CrowdedError, RowQuota
from barstream.serve.routes import Limits
from tests.pipeline import until
from tests.prometheus import Prometheus

from .conftest import TEN_US
from .memory_reads import MemoryReads, make_bar
from .web_worker import WebWorker, web_worker

LONG_S = 600.0


def quota(most: int, *, most_waiting: int = 1_000, wait_s: float = LONG_S) -> RowQuota:
    return RowQuota(Metrics(), most, most_waiting, wait_s)


def number(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"barstream_{name}", labels) or 0


def test_no_more_than_the_quota_is_ever_taken_and_all_of_it_comes_back() -> None:
    """Whatever is asked for, in whatever order it ends, whoever gives up while it waits."""
    shared, draw = quota(100), random.Random(7)
    taken, most = 0, 0

    async def ask(rows: int) -> None:
        nonlocal taken, most
        async with shared.taken(rows):
            taken += min(rows, 100)
            most = max(most, taken)
            for _ in range(draw.randrange(5)):
                await asyncio.sleep(0)
            taken -= min(rows, 100)

    async def run() -> None:
        asking = [asyncio.create_task(ask(draw.choice([1, 10, 60, 100, 250]))) for _ in range(400)]
        for _ in range(300):
            await asyncio.sleep(0)
            draw.choice(asking).cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        async with asyncio.timeout(60), shared.taken(100):
            pass

    asyncio.run(run())
    assert 60 < most <= 100
    assert taken == 0


def test_who_comes_first_is_served_first() -> None:
    """A small request does not pass a large one, which would wait for ever."""
    shared, order = quota(10), list[str]()

    async def ask(name: str, rows: int) -> None:
        async with shared.taken(rows):
            order.append(name)
            await asyncio.sleep(0)

    async def run() -> None:
        await asyncio.gather(ask("a", 6), ask("large", 10), ask("b", 1), ask("c", 1))

    asyncio.run(run())
    assert order == ["a", "large", "b", "c"]


def test_a_request_larger_than_the_quota_has_it_to_itself() -> None:
    async def run() -> None:
        shared = quota(10)
        async with shared.taken(1_000):
            waiting = asyncio.create_task(_hold(shared, 1))
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await waiting

    asyncio.run(run())


async def _hold(shared: RowQuota, rows: int) -> None:
    async with shared.taken(rows):
        pass


def test_too_many_that_wait_and_too_long_a_wait_are_refused_and_counted() -> None:
    metrics = Metrics()
    shared = RowQuota(metrics, 10, most_waiting=1, wait_s=0.05)

    async def run() -> None:
        async with shared.taken(10):
            waiting = asyncio.create_task(_hold(shared, 1))
            await asyncio.sleep(0)
            with pytest.raises(CrowdedError, match="1 requests wait for their turn"):
                await _hold(shared, 1)
            with pytest.raises(CrowdedError, match=r"waited for 0\.05 s"):
                await waiting
            assert number(metrics, "http_rows") == 10
        await _hold(shared, 10)  # and nothing is lost

    asyncio.run(run())
    assert number(metrics, "http_reads_refused_total", why="waiting") == 1
    assert number(metrics, "http_reads_refused_total", why="late") == 1
    assert number(metrics, "http_rows") == 0


class Held:
    """Holds every answer while it is rendered."""

    def __init__(self) -> None:
        self.rendering = 0
        self._gate: asyncio.Event | None = None
        self._let_go = False

    def wrap(self, render: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def held(*arguments: Any) -> Any:
            self._gate = self._gate or asyncio.Event()
            self.rendering += 1
            if not self._let_go:
                await self._gate.wait()
            return await render(*arguments)

        return held

    def release(self, worker: WebWorker) -> None:
        """From the thread of the test."""
        self._let_go = True
        if self._gate is not None:
            worker.loop.call_soon_threadsafe(self._gate.set)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    made = Held()
    for module in (views, query):
        monkeypatch.setattr(module, "rendered", made.wrap(render.rendered))
    return made


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebWorker]:
    """Two thousand rows at once, and two requests that wait."""
    monkeypatch.setattr(quotas, "RowQuota", partial(RowQuota, most_waiting=2, wait_s=LONG_S))
    reads = MemoryReads()
    for minute in range(1_000):
        reads.add(make_bar(TEN_US + minute * MINUTE_US, 1.1))
    with web_worker(reads, limits=Limits(rows=2_000)) as running:
        yield running


Asked = Future[tuple[int, Any, bytes]]


def test_reads_wait_for_their_turn_before_anything_is_read(worker: WebWorker, held: Held) -> None:
    large = "/bars/FX/EURUSD?limit=1000"
    prometheus = Prometheus(worker.url)
    assert not prometheus.fires("BarstreamHttpReadsRefused")
    with ThreadPoolExecutor(8) as clients:
        asked: list[Asked] = [clients.submit(worker.raw, large) for _ in range(4)]
        until(lambda: held.rendering == 2, 10, "two of them are being read")
        until(lambda: waiting(worker) == 2, 10, "two wait")
        # one more is refused, and so is another view's
        for path in (large, "/bars/FX/EURUSD?limit=1", "/schedule/FX/EURUSD"):
            status, headers, body = worker.raw(path)
            assert (status, headers["Retry-After"]) == (503, "1")
            assert "too many rows are asked for at once" in json.loads(body)["error"]
        assert held.rendering == 2
        # what reads no rows is answered, and what is gathered from many
        for path in ("/health/ready", "/status", "/series"):
            assert worker.get(path)[0] == 200
        # and so is another worker, which may be waiting for what is read here
        passed_on = clients.submit(
            worker.raw, "/bars/FX/EURUSD?limit=1", headers={"X-Barstream-Forwarded": "1"}
        )
        until(lambda: held.rendering == 3, 10, "what was passed on is read")
        assert number(worker.metrics, "http_rows") == 2_001
        held.release(worker)
        assert [each.result(20)[0] for each in (*asked, passed_on)] == [200] * 5
    assert number(worker.metrics, "http_rows") == 0
    assert number(worker.metrics, "http_reads_refused_total", why="waiting") == 3
    assert prometheus.fires("BarstreamHttpReadsRefused")


@pytest.mark.parametrize("path", ["/bars", "/bars/FX", "/live", "/series"])
def test_reads_of_many_series_take_for_each_worker_that_answers(
    worker: WebWorker, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    taken: list[float] = []

    async def asked(*_: object) -> Answer:
        taken.append(number(worker.metrics, "http_rows"))
        body = b'{"bars": [], "series": [], "truncated": false, "retained_from": null, "url": "x"}'
        return Answer(200, body, "application/json", "http://two")

    monkeypatch.setattr(Peers, "ask", asked)
    worker.reads.holders = {0: worker.url, 1: "http://two"}
    assert worker.get(f"{path}?limit=100")[0] == 200
    assert worker.raw(f"{path}?limit=100", headers={"X-Barstream-Forwarded": "1"})[0] == 200
    assert taken == [200]
    assert number(worker.metrics, "http_rows") == 0


def waiting(worker: WebWorker) -> int:
    site = worker.app.web.web_app[routes.SITE]  # type: ignore[attr-defined]
    return len(site.quotas.one._waiting)


def test_nothing_is_read_for_who_has_hung_up(worker: WebWorker, held: Held) -> None:
    port = int(worker.url.rpartition(":")[2])
    with ThreadPoolExecutor(2) as clients, ExitStack() as stack:
        asked: list[Asked] = [
            clients.submit(worker.raw, "/bars/FX/EURUSD?limit=1000") for _ in range(2)
        ]
        until(lambda: held.rendering == 2, 10, "they are being read")
        impatient = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port))))
        impatient.sendall(b"GET /bars/FX/EURUSD HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: waiting(worker) == 1, 10, "a third waits")
        impatient.close()
        until(lambda: number(worker.metrics, "http_connections") <= 2, 10, "it is gone")
        held.release(worker)
        assert [each.result(20)[0] for each in asked] == [200, 200]
        gone = partial(number, worker.metrics, "http_requests_total")
        path = "/bars/{broker}/{symbol}"
        until(lambda: gone(path=path, status="499") == 1, 10, "it was not answered")
    assert held.rendering == 2
