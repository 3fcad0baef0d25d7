"""What a worker prints, from its start over an outage of its broker to its end."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from barstream.broker import EmbeddedBroker
from tests.pipeline import ROOT, Pipeline, WorkerProcess, free_port, pipeline, until

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ (info|warning|error) +(.+)")
AWAY_S = 4.0
#: A worker whose port was free when it looked.
LOOKED_EARLIER = (
    "import barstream.worker; from barstream.cli import cli; "
    "barstream.worker.require_address = lambda settings: None; cli(['worker'])"
)


def lines(worker: WorkerProcess) -> list[str]:
    """The sentences of its log; every line is one."""
    text = worker.log.read_text()
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return [match[2] for match in found if match]


def started(made: Pipeline, *program: str, **env: str) -> tuple[int, str]:
    """Exit code and output of a worker that should not start."""
    done = subprocess.run(
        [sys.executable, *(program or ("-m", "barstream", "worker"))],
        cwd=ROOT, env=made.env | {f"BARSTREAM_{name}": value for name, value in env.items()},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def made(broker: EmbeddedBroker, unique: str, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline(broker.bootstrap, unique, tmp_path, TOPICS__PARTITIONS="2") as running:
        yield running


def test_a_worker_says_what_a_person_wants_to_know(
    broker: EmbeddedBroker, made: Pipeline, tmp_path: Path
) -> None:
    worker = made.worker()
    until(lambda: any(line.startswith("ready after") for line in lines(worker)), 10, "ready")
    start = lines(worker)
    assert len(start) <= 10
    expected = (
        f"barstream .+ starts app_id={made.name} data_dir=.+",
        f"brokers: {broker.bootstrap} security_protocol=PLAINTEXT",
        "bars: 1m 5m 15m 1h 1d, final after a grace of 5 s, late ticks are rejected",
        f"page: http://127.0.0.1:{worker.port}/",
        "topic .+ holds no sessions, so every tick is rejected as unscheduled: run `barstream .+",
        "partitions: 0-1 taken, .*of 2 on 1 worker",
        "leader: this worker sends the heartbeats now",
        r"ready after \d.+ s",
    )
    for pattern in expected:
        assert sum(bool(re.fullmatch(pattern, line)) for line in start) == 1, (pattern, start)

    code, said = started(made, DATA_DIR=str(tmp_path / "w0"), WEB_PORT=str(free_port()))
    assert (code, said.count("\n")) == (2, 1), said
    assert f"another one runs in {tmp_path / 'w0'} (process {worker.process.pid})" in said

    other = made.worker(directory="w1")
    until(lambda: any("on 2 workers" in line for line in lines(worker)), 30, "they share")
    assert other.stop() == 0
    until(lambda: any(line.startswith("partitions: ") and " taken, 0-1 held" in line
                      for line in lines(worker)), 30, "it has both again")  # fmt: skip
    until(lambda: worker.ready, 30, "it is ready again")
    assert lines(other)[-2:-1] == ["stopping: SIGTERM"]
    assert re.fullmatch(r"stopped after .+ s, nothing is lost", lines(other)[-1])
    assert worker.stop() == 0
    news = ("partitions: ", "leader: ", "not ready: ", "ready again ", "stopp")
    after = lines(worker)[len(start) :]
    assert [line for line in after if not line.startswith(news)] == []
    assert len(after) <= 12, after


def test_an_outage_of_the_broker_is_one_line_at_each_end(unique: str, tmp_path: Path) -> None:
    with (
        EmbeddedBroker(tmp_path / "broker") as broker,
        pipeline(broker.bootstrap, unique, tmp_path, TOPICS__PARTITIONS="1") as made,
    ):
        worker = made.worker()
        before = len(lines(worker))
        broker.stop()  # in good order: killed it would lose what it had acknowledged
        time.sleep(AWAY_S)
        broker.start()
        until(lambda: any("answers again" in line for line in lines(worker)), 30, "it is back")
        outage = [line for line in lines(worker)[before:] if "the broker" in line]
        assert outage[0].startswith(f"the broker {broker.bootstrap} does not answer, trying again")
        assert re.fullmatch(
            rf"the broker {broker.bootstrap} answers again after \d.+ s "
            r"\([\d,]+ messages of the Kafka clients left out\)",
            outage[1],
        )
        assert len(outage) == 2
        assert "logger=" not in worker.log.read_text(), "nothing of a library"
        worker.kill()


def test_a_port_that_is_taken_is_said_before_anything_is_joined(
    made: Pipeline, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        code, said = started(made, DATA_DIR=str(tmp_path / "p"), WEB_PORT=str(port))
    assert (code, said.count("\n")) == (2, 1), said
    assert f"port {port} of 127.0.0.1 must be free for the web views" in said


def test_a_port_that_is_taken_after_the_look_at_it_is_said_alike(
    made: Pipeline, tmp_path: Path
) -> None:
    """Two that start together both find it free, and one of them comes second."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        env = {"DATA_DIR": str(tmp_path / "p"), "WEB_PORT": str(port)}
        _, wanted = started(made, **env)
        code, said = started(made, "-c", LOOKED_EARLIER, **env)
    assert code == 2, said
    assert said.splitlines()[-1] == wanted.rstrip("\n"), said
    assert " error " not in said
    assert "Traceback" not in said


def test_a_data_directory_that_is_none_is_said(made: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = started(made, DATA_DIR=str(tmp_path / "file"), WEB_PORT=str(free_port()))
    assert (code, said.count("\n")) == (2, 1), said
    assert "data_dir must be a directory this user may write to" in said


def test_an_address_of_another_machine_is_said(made: Pipeline, tmp_path: Path) -> None:
    code, said = started(made, DATA_DIR=str(tmp_path / "a"), WEB__HOST="192.0.2.1")
    assert (code, said.count("\n")) == (2, 1), said
    assert "web.host must be an address of this machine" in said
