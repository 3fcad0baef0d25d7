"""Many connections: they are bounded, those that ask are answered, and the worker stays whole."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial

import pytest

from barstream.model.time import MINUTE_US
from barstream.serve import routes
from barstream.serve.connections import Connections, Sending
from barstream.serve.routes import Limits
from tests.pipeline import until
from tests.prometheus import Prometheus

from .conftest import TEN_US, an_hour
from .memory_reads import MemoryReads, make_bar
from .web_worker import WebWorker, web_worker

MOST = 16
ASK = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Longer than any test.
LONG_S = 600.0


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WebWorker]]:
    """A worker that holds so many, and gives its clients so long to ask and between requests."""
    with ExitStack() as stack:

        def started(
            most: int = MOST,
            *,
            reads: MemoryReads | None = None,
            ask_within_s: float = LONG_S,
            keep_s: float = LONG_S,
        ) -> WebWorker:
            made = partial(Connections, ask_within_s=ask_within_s, keep_s=keep_s)
            monkeypatch.setattr(routes, "Connections", made)
            monkeypatch.setattr(routes, "Sending", partial(Sending, look_every_s=LONG_S))
            return stack.enter_context(web_worker(reads or an_hour(), limits=Limits(most)))

        yield started


def connected(worker: WebWorker, *, said: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", int(worker.url.rpartition(":")[2])), 10)
    client.sendall(said)
    return client


def is_closed(client: socket.socket) -> bool:
    """Whether the worker has hung up; waits up to the time-out of the client."""
    try:
        return client.recv(1000) == b""
    except ConnectionError:
        return True


def closed(worker: WebWorker, why: str) -> float:
    found = worker.metrics.registry.get_sample_value
    return found("barstream_http_connections_closed_total", {"why": why}) or 0


def held(worker: WebWorker) -> float | None:
    return worker.metrics.registry.get_sample_value("barstream_http_connections")


@pytest.mark.parametrize(
    "said",
    [b"", b"GET /bars HTTP/1.1\r\nHost: ", ASK],
    ids=["says nothing", "begins to ask", "has asked once"],
)
def test_clients_that_ask_for_nothing_keep_nobody_out(
    serving: Callable[..., WebWorker], said: bytes
) -> None:
    worker = serving()
    prometheus = Prometheus(worker.url)
    assert not prometheus.fires("BarstreamHttpConnectionsCrowded")
    with ExitStack() as stack:
        idle = []
        for _ in range(8 * MOST):
            idle.append(stack.enter_context(closing(connected(worker, said=said))))
            if said == ASK:
                assert b" 200 " in idle[-1].recv(1000)
        for _ in range(3):
            assert worker.get("/bars/FX/EURUSD?limit=10")[0] == 200
            assert worker.get("/health/ready")[0] == 200
        assert (held(worker) or 0) <= MOST
        assert closed(worker, "idle") >= 7 * MOST
        assert is_closed(idle[0])  # the ones that came first go first
    assert closed(worker, "refused") == 0
    assert prometheus.fires("BarstreamHttpConnectionsCrowded")
    assert not prometheus.fires("BarstreamHttpConnectionsRefused")


def test_a_client_that_is_answered_is_not_closed_for_another(
    serving: Callable[..., WebWorker],
) -> None:
    """Large answers, of which the clients take what the kernel holds and no more."""
    reads = MemoryReads()
    for minute in range(10_000):
        reads.add(make_bar(TEN_US + minute * MINUTE_US, 1.1))
    asked = b"GET /bars/FX/EURUSD?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    worker = serving(2, reads=reads)
    prometheus = Prometheus(worker.url)
    assert not prometheus.fires("BarstreamHttpConnectionsRefused")
    with ExitStack() as stack:
        busy = []
        for _ in range(2):
            client = stack.enter_context(closing(socket.socket()))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(10)
            client.connect(("127.0.0.1", int(worker.url.rpartition(":")[2])))
            client.sendall(asked)
            assert client.recv(15).split()[1] == b"200"
            busy.append(client)
        with closing(connected(worker)) as refused:
            said = everything(refused)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in said
        assert b"web.max_connections" in said
        assert closed(worker, "refused") == 1
        # the answer under way comes to its end, and then there is room again
        found = bytearray()
        while not found.endswith(b"}]}\n"):
            found += busy[0].recv(65_536)
        assert found.count(b"bucket_start") == 10_000
        until(lambda: b" 200 " in answered(worker), 10, "there is room")
        assert prometheus.fires("BarstreamHttpConnectionsRefused")


def answered(worker: WebWorker) -> bytes:
    with closing(connected(worker, said=ASK)) as client:
        return client.recv(1000)


def everything(client: socket.socket) -> bytes:
    found = bytearray()
    while part := client.recv(65_536):
        found += part
    return bytes(found)


def test_who_does_not_come_to_an_end_of_asking_is_let_go(
    serving: Callable[..., WebWorker],
) -> None:
    """A byte now and then is no sign of life: the whole request has to come in time."""
    worker = serving(ask_within_s=1.0)
    with closing(connected(worker)) as silent, closing(connected(worker, said=b"GET /")) as slow:
        slow.settimeout(0.2)

        def dropped() -> bool:
            try:
                slow.sendall(b"a")
                return is_closed(slow)
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        until(dropped, 20, "it is let go")
        assert is_closed(silent)
    assert closed(worker, "slow") == 2


def test_a_connection_is_kept_for_the_next_request(serving: Callable[..., WebWorker]) -> None:
    worker = serving()
    with closing(connected(worker)) as client:
        for _ in range(3):
            client.sendall(ASK)
            assert b" 200 " in client.recv(1000)


def test_a_connection_is_not_kept_for_ever(serving: Callable[..., WebWorker]) -> None:
    worker = serving(keep_s=1.0)
    with closing(connected(worker, said=ASK)) as client:
        assert b" 200 " in client.recv(1000)
        assert is_closed(client)
    assert (closed(worker, "kept"), closed(worker, "slow")) == (1, 0)


def test_who_has_asked_is_answered_whoever_comes_after(serving: Callable[..., WebWorker]) -> None:
    """A file too, which is sent when the view is done with it."""
    worker = serving()
    ask = b"GET /static/page.css HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        client = stack.enter_context(closing(connected(worker, said=ask)))
        for _ in range(3 * MOST):
            stack.enter_context(closing(connected(worker)))
        head, _, body = everything(client).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_who_has_begun_to_ask_is_not_closed_for_the_time_before(
    serving: Callable[..., WebWorker],
) -> None:
    """Between two requests there are seconds, and a request has its own from its first byte on."""
    worker = serving(keep_s=2.0)
    with closing(connected(worker, said=ASK[:10])) as client:
        time.sleep(4)
        client.sendall(ASK[10:])
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
