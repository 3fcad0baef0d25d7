"""Every command that needs a broker says in one sentence, and at once, that none is there."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from barstream.cli import COMMANDS, cli
from barstream.config import Settings, load_settings
from barstream.kafka import connection
from barstream.kafka.connection import BrokerUnreachableError, reach
from barstream.kafka.topics import check
from tests.pipeline import free_port

#: By command: the arguments of each way to run it that talks to Kafka.
NEEDING: Final[dict[str, list[list[str]]]] = {
    "explain": [["FX", "EURUSD", "2024-01-02T10:00"]],
    "replay": [[way, "--suffix", "x"] for way in ("run", "switch", "diff", "drop")],
    "schedule": [
        ["load", "--calendar", "FX", "--broker", "FX", "--symbol", "EURUSD", "--yes"],
        ["show", "FX", "EURUSD"],
    ],
    "series": [["drop", "FX", "EURUSD", "--yes"]],
    "ticks": [
        ["load", "FILE", "--broker", "B", "--symbol", "S", "--map", "time=time",
         "--map", "price=price"],
        ["simulate"],
    ],
    "topics": [["create"], ["check"]],
    "verify": [[]],
    "worker": [[]],
}  # fmt: skip
#: These talk to a worker, start a broker of their own, or to nobody.
WITHOUT: Final = {"bars", "broker", "config", "demo", "plan", "try"}
WITHIN_S: Final = 2.0


def test_every_command_is_one_or_the_other() -> None:
    assert NEEDING.keys() | WITHOUT == COMMANDS.keys()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings that lead to no broker."""
    monkeypatch.setenv("BARSTREAM_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("BARSTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BARSTREAM_WEB_PORT", str(free_port()))
    (tmp_path / "ticks.csv").write_text("time,price\n2024-01-02T10:00:00Z,1.5\n")
    return tmp_path


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """A worker sets up the log of the process it is in."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize(
    "arguments",
    [[name, *each] for name, ways in NEEDING.items() for each in ways],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_it_is_one_sentence_within_two_seconds(nowhere: Path, arguments: list[str]) -> None:
    given = [str(nowhere / "ticks.csv") if each == "FILE" else each for each in arguments]
    CliRunner().invoke(cli, given)  # how long the imports take is another matter
    began = time.monotonic()
    called = CliRunner().invoke(cli, given)
    assert time.monotonic() - began < WITHIN_S
    assert called.exit_code == 2, called.output
    (said,) = called.stderr.splitlines()
    assert said.startswith("barstream: a Kafka broker must answer at 127.0.0.1:")
    assert "none does (connection refused): start one" in said


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port at which a connection is never taken, as behind a firewall that drops packets."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for each in waiting:  # until the queue is full; the kernel then answers nobody
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for each in waiting:
                each.close()


def test_a_broker_behind_a_firewall_is_not_waited_for() -> None:
    with deaf_port() as port:
        settings = load_settings(env={"BARSTREAM_BOOTSTRAP": f"127.0.0.1:{port}"})
        began = time.monotonic()
        with pytest.raises(BrokerUnreachableError, match=r"none does \(no answer in time\)"):
            asyncio.run(check(settings))
        assert time.monotonic() - began < WITHIN_S


@contextmanager
def listener(answer_after_s: float | None) -> Iterator[int]:
    """A port at which connections are taken; the first who says something is answered, or not."""

    def answer() -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                if connection.recv(1):
                    time.sleep(answer_after_s or 0)
                    connection.sendall(b"!")

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        if answer_after_s is not None:
            threading.Thread(target=answer, daemon=True).start()
        yield listening.getsockname()[1]


def settings_for(*ports: int, protocol: str = "PLAINTEXT") -> Settings:
    bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports)
    security = {"BARSTREAM_KAFKA__SECURITY_PROTOCOL": protocol}
    return load_settings(env={"BARSTREAM_BOOTSTRAP": bootstrap, **security})


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_one_of_several_addresses_is_enough(protocol: str) -> None:
    with listener(0) as good, deaf_port() as deaf, listener(None) as silent:
        began = time.monotonic()
        asyncio.run(reach(settings_for(free_port(), deaf, silent, good, protocol=protocol)))
        assert time.monotonic() - began < connection._ANSWERED_WITHIN_S


def test_a_broker_that_takes_its_time_is_waited_for() -> None:
    """Longer than one that takes no connection at all."""
    with listener(connection._CONNECTED_WITHIN_S + 0.3) as slow:
        asyncio.run(reach(settings_for(slow)))


def test_what_takes_connections_and_says_nothing_is_no_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_ANSWERED_WITHIN_S", 0.5)
    with listener(None) as silent:
        told = rf"accepts connections at 127\.0\.0\.1:{silent}, but has not answered for 0.5 s"
        with pytest.raises(BrokerUnreachableError, match=told):
            asyncio.run(check(settings_for(silent, free_port())))


def test_a_name_that_stands_for_nothing_is_said() -> None:
    settings = load_settings(env={"BARSTREAM_BOOTSTRAP": "nosuch.example.invalid:9092"})
    with pytest.raises(BrokerUnreachableError, match=r"nosuch.*none does \(.*name"):
        asyncio.run(reach(settings))
