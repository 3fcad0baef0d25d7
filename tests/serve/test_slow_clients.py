"""Clients that ask and do not read: their answers take bounded memory, and others are served."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial

import pytest

from barstream.model.time import MINUTE_US
from barstream.serve import routes
from barstream.serve.connections import Sending
from tests.pipeline import until

from .conftest import TEN_US
from .memory_reads import MemoryReads, make_bar
from .web_worker import WebWorker, web_worker

#: About 3.5 MB of JSON: more than the kernel takes for a client that does not read.
BARS = 10_000
LARGE = f"/bars/FX/EURUSD?limit={BARS}"


@pytest.fixture(scope="module")
def reads() -> MemoryReads:
    made = MemoryReads()
    for minute in range(BARS):
        made.add(make_bar(TEN_US + minute * MINUTE_US, 1.1))
    return made


def bounded(
    reads: MemoryReads, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> AbstractContextManager[WebWorker]:
    """Room for four of the large answers."""
    made = partial(Sending, most_bytes=12 << 20, look_every_s=patience_s)
    monkeypatch.setattr(routes, "Sending", made)
    return web_worker(reads)


@pytest.fixture
def worker(reads: MemoryReads, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebWorker]:
    """A second of patience."""
    with bounded(reads, monkeypatch, 1.0) as running:
        yield running


@pytest.fixture
def patient(reads: MemoryReads, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebWorker]:
    """More patience than any test has."""
    with bounded(reads, monkeypatch, 600.0) as running:
        yield running


def asking(worker: WebWorker, path: str = LARGE) -> socket.socket:
    """A client with a small buffer that has asked and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect(("127.0.0.1", int(worker.url.rpartition(":")[2])))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def status_of(client: socket.socket) -> int:
    return int(client.recv(64).split()[1])


def dropped(worker: WebWorker) -> float:
    return worker.metrics.registry.get_sample_value("barstream_http_clients_dropped_total") or 0


def test_readers_that_stand_still_are_refused_beyond_a_bound(patient: WebWorker) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(asking(patient))) for _ in range(12)]
        answers = [status_of(client) for client in clients]
        assert 2 <= answers.count(200) <= 4
        assert answers.count(503) == len(answers) - answers.count(200)
        # the small ones are given all the same
        assert patient.get("/bars/FX/EURUSD?limit=10")[0] == 200
        assert patient.get("/health/ready")[0] == 200
    assert dropped(patient) == 0


def test_readers_that_stand_still_are_let_go(worker: WebWorker) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(asking(worker))) for _ in range(3)]
        until(lambda: dropped(worker) == 3, 30, "they are let go")
        for client in clients:
            found = bytearray()
            while part := client.recv(65_536):
                found += part
            assert found.count(b"bucket_start") < BARS, "nothing is kept for them"
    assert worker.get(LARGE)[0] == 200


def test_a_slow_reader_gets_all_of_its_answer(worker: WebWorker) -> None:
    with closing(asking(worker)) as client:
        found = bytearray()
        while b"bars" not in found or not found.endswith(b"}\n"):
            found += client.recv(10_000)
    assert found.count(b"bucket_start") >= BARS
    assert dropped(worker) == 0


def test_a_client_that_goes_away_leaves_its_room_to_others(worker: WebWorker) -> None:
    for _ in range(5):
        with closing(asking(worker)) as client:
            assert status_of(client) == 200
        until(lambda: worker.get(LARGE)[0] == 200, 10, "there is room again")
