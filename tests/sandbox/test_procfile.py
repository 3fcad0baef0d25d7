"""The Procfile as a reader of the README runs it: `honcho start`, then Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from barstream.broker import EmbeddedBroker
from tests.pipeline import ROOT, free_port, until

HONCHO: Final = Path(sys.executable).parent / "honcho"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / ".venv" / "bin" / "barstream").exists(),
        reason="the Procfile runs what `make install` makes in .venv",
    ),
]


class Honcho:
    """`honcho start` with ports and a directory of its own."""

    def __init__(self, place: Path, bootstrap: str, *arguments: str) -> None:
        self.web_port = two_free_ports()
        self._log = place / "honcho.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("BARSTREAM_")}
        own = {
            "BARSTREAM_BOOTSTRAP": bootstrap,
            "BARSTREAM_DATA_DIR": str(place),
            "BARSTREAM_WEB_PORT": str(self.web_port),
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [HONCHO, "start", *arguments],
                cwd=ROOT, env=kept | own, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self._log.read_text()

    def ready(self, number: int) -> bool:
        """Whether a worker answers so, at the port its number gives it."""
        assert self.process.poll() is None, self.said
        url = f"http://127.0.0.1:{self.web_port + number - 1}/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(json.load(answer)["ready"])
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> float:
        """Ctrl-C; how many seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        return time.monotonic() - began


def two_free_ports() -> int:
    """The first of two ports beside each other."""
    while True:
        port = free_port()
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@pytest.fixture
def honcho(tmp_path: Path) -> Iterator[Callable[..., Honcho]]:
    started: list[Honcho] = []

    def start(*arguments: str) -> Honcho:
        started.append(Honcho(tmp_path, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.terminate()
            each.process.wait(20)


def test_a_broker_and_two_workers_come_up_in_any_order_and_end_in_good_order(
    honcho: Callable[..., Honcho], tmp_path: Path
) -> None:
    """All three start at once: workers wait for the broker, and both make the topics."""
    all_of_it = honcho(f"127.0.0.1:{free_port()}", "-c", "worker=2")

    until(lambda: all(map(all_of_it.ready, (1, 2))), 60, "two workers ready")
    assert {path.name for path in tmp_path.iterdir()} >= {"broker", "worker-1", "worker-2"}

    # honcho kills what is left 5 s after the first has ended
    assert all_of_it.stop() < 10, all_of_it.said
    for name in ("broker.1", "worker.1", "worker.2"):
        assert f"{name} stopped (rc=0)" in all_of_it.said
    assert "Traceback" not in all_of_it.said
    assert "SIGKILL" not in all_of_it.said


def test_a_worker_alone_uses_the_kafka_of_the_settings(
    honcho: Callable[..., Honcho], tmp_path: Path
) -> None:
    with EmbeddedBroker(tmp_path / "other") as own:
        workers = honcho(own.bootstrap, "worker")
        until(lambda: workers.ready(1), 60, "the worker ready")
        workers.stop()
    assert "broker.1" not in workers.said
    assert "worker.1 stopped (rc=0)" in workers.said
    assert not (tmp_path / "broker").exists()


def test_a_broker_that_cannot_start_ends_all_of_it_and_says_why(
    honcho: Callable[..., Honcho],
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        failed = honcho(f"127.0.0.1:{port}")
        assert failed.process.wait(30) == 2, failed.said
    assert f"port {port}" in failed.said
    assert "Traceback" not in failed.said
