"""A worker of 1,024 descriptors: idle clients do not end it, and too few of them are told."""

from __future__ import annotations

import resource
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.functional.records import MORNING_US, send_ticks
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until
from tests.prometheus import Prometheus

pytestmark = pytest.mark.kafka

IDLE = 1_100


def limited(descriptors: int) -> tuple[str, ...]:
    """What a command is run through so that it may have so many, and no more."""
    return ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh")


def minutes(first: int, count: int) -> list[Tick]:
    return [
        Tick("B", "X", MORNING_US + minute * MINUTE_US + 10 * SECOND_US, 1.0 + minute)
        for minute in range(first, first + count)
    ]


def starts(worker: WorkerProcess) -> list[str]:
    bars = worker.get("/bars/B/X?limit=100").get("bars", [])
    return [bar["bucket_start"][11:16] for bar in bars if bar["status"] == "final"]


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Enough for the clients, which are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * IDLE:
        pytest.skip(f"needs {2 * IDLE} file descriptors, may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * IDLE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def made(kafka: Any, tmp_path: Path) -> Iterator[Pipeline]:
    name = f"t{secrets.token_hex(4)}"
    with pipeline(kafka.bootstrap, name, tmp_path, BARS__SCHEDULE="false") as made:
        yield made


@pytest.mark.usefixtures("descriptors")
def test_a_thousand_clients_that_say_nothing_end_no_worker(made: Pipeline) -> None:
    worker = made.worker(prefix=limited(1_024))
    send_ticks(made, minutes(0, 3))
    until(lambda: len(starts(worker)) == 2, 30, "two bars are final")
    prometheus = Prometheus(f"http://{worker.host}:{worker.port}")
    assert not prometheus.fires("BarstreamHttpConnectionsCrowded")
    with ExitStack() as stack:
        for _ in range(IDLE):
            client = socket.create_connection((worker.host, worker.port), 10)
            client.sendall(b"GET /bars HTTP/1.1\r\n")
            stack.enter_context(closing(client))
        # reads, ticks and bars go on beside them
        send_ticks(made, minutes(3, 3))
        until(lambda: len(starts(worker)) == 5, 30, "five bars are final")
        open_now = len(list(Path(f"/proc/{worker.process.pid}/fd").iterdir()))
        assert prometheus.fires("BarstreamHttpConnectionsCrowded")
    assert open_now < 1_024 - 256
    assert worker.stop() == 0, worker.tail()
    said = worker.log.read_text()
    assert "error" not in said, said


def test_a_worker_that_cannot_open_its_tables_says_how_many_descriptors_it_takes(
    made: Pipeline,
) -> None:
    worker = made.worker(prefix=limited(600), wait=False)
    assert worker.process.wait(60) == 1
    said = worker.log.read_text()
    assert "the 6 tables of each of 4 partitions need 664 file descriptors" in said
    assert "this process may have 600: raise the limit to 904 (ulimit -n" in said
    assert "Traceback" not in said
    assert not list((made.directory / "w0").rglob("*.sst"))
