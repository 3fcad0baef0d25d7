"""The embedded broker: keeps what it was given, and nothing is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from barstream.broker import EmbeddedBroker, EmbeddedBrokerError, PortTakenError
from barstream.kafka.dead_members import MemberWatch
from tests.pipeline import free_port, pipeline

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")


def eventually(true: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def _send(bootstrap: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="t")
    await producer.start()
    async with producer.transaction():
        for value in values:
            await producer.send_and_wait("kept", value, partition=0)
    await producer.stop()


async def _values(bootstrap: str) -> list[bytes | None]:
    topic = TopicPartition("kept", 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        consumer.assign([topic])
        end = (await consumer.end_offsets([topic]))[topic]
        values: list[bytes | None] = []
        while await consumer.position(topic) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values += [record.value for record in records]
        return values
    finally:
        await consumer.stop()


def test_committed_records_are_there_after_it_was_stopped(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        asyncio.run(_send(broker.bootstrap, [b"one", b"two"]))
        pid = broker.pid
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with EmbeddedBroker(tmp_path) as broker:
        assert asyncio.run(_values(broker.bootstrap)) == [b"one", b"two"]


def test_a_used_port_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port}"):
            EmbeddedBroker(tmp_path, port).start()
    assert list(tmp_path.iterdir()) == []


def test_a_second_broker_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as first:
        with pytest.raises(EmbeddedBrokerError, match="already running"):
            EmbeddedBroker(tmp_path).start()
        first.check()


def test_one_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        pid = broker.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: broker.pid is None)
        with pytest.raises(EmbeddedBrokerError, match="exit code -9"):
            broker.check()


_MEMBER = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer
from barstream.kafka.client_id import client_id

async def main():
    options = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 300}
    consumer = AIOKafkaConsumer(
        "shared", bootstrap_servers=sys.argv[1], group_id="g", client_id=client_id("app"), **options
    )
    await consumer.start()
    told = None
    while True:
        await consumer.getmany(timeout_ms=100)
        held = len(consumer.assignment())
        if held != told:
            told = held
            print(held, flush=True)

asyncio.run(main())
"""


def start_member(bootstrap: str) -> subprocess.Popen[str]:
    """A member of group ``g`` in a process of its own, which prints how many partitions it has."""
    command = [sys.executable, "-u", "-c", _MEMBER, bootstrap]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def until_told(member: subprocess.Popen[str], count: int) -> None:
    assert member.stdout is not None
    deadline = threading.Timer(60, member.kill)
    deadline.start()
    try:
        assert any(int(line) == count for line in member.stdout), "not within a minute"
    finally:
        deadline.cancel()


def members_of(bootstrap: str) -> list[str]:
    """The client ids of the members of group ``g``."""

    async def ask() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            answers = await admin.describe_consumer_groups(["g"])
            return [client for answer in answers for _, client, *_ in answer.groups[0][5]]
        finally:
            await admin.close()

    return asyncio.run(ask())


@linux
def test_a_member_that_was_killed_is_taken_out_of_its_group_and_no_other(tmp_path: Path) -> None:
    """Without `MemberWatch` it stays for ever, and nobody gets its partitions."""
    with EmbeddedBroker(tmp_path) as broker:
        asyncio.run(_make("shared", 2, broker.bootstrap))
        member = start_member(broker.bootstrap)
        try:
            until_told(member, 2)
            with MemberWatch(broker.bootstrap):
                time.sleep(2.5)
                assert members_of(broker.bootstrap) == [f"app-{socket.gethostname()}-{member.pid}"]
                member.kill()
                eventually(lambda: members_of(broker.bootstrap) == [])
                member.communicate()
                member = start_member(broker.bootstrap)
                until_told(member, 2)
        finally:
            member.kill()
            member.communicate()


async def _make(topic: str, partitions: int, bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()


def start_command(data_dir: Path, port: int, *more: str) -> tuple[subprocess.Popen[str], int]:
    """``barstream broker`` in a process of its own, ready; and the pid of its broker."""
    place = ["--port", str(port), "--data-dir", str(data_dir), *more]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "barstream", "broker", *place],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(f"broker ready at 127.0.0.1:{port}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return process, int(children[0])


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stops_its_broker_on_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    process, broker = start_command(tmp_path, free_port())
    process.send_signal(number)
    assert process.communicate(timeout=20)[0].endswith("broker stopped\n")
    assert process.returncode == 0
    assert not runs(broker)


@linux
def test_a_broker_that_drains_serves_as_long_as_a_client_is_connected(tmp_path: Path) -> None:
    port = free_port()
    process, broker = start_command(tmp_path, port, "--drain", "60")
    with socket.create_connection(("127.0.0.1", port)):
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        assert runs(broker)
    assert process.communicate(timeout=20)[0].endswith("broker stopped\n")
    assert process.returncode == 0


@linux
def test_a_second_signal_ends_the_draining(tmp_path: Path) -> None:
    port = free_port()
    process, _ = start_command(tmp_path, port, "--drain", "60")
    with socket.create_connection(("127.0.0.1", port)):
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0].endswith("broker stopped\n")


@linux
def test_the_broker_writes_its_data_and_ends_when_the_command_is_killed(tmp_path: Path) -> None:
    port = free_port()
    process, broker = start_command(tmp_path, port)
    asyncio.run(_send(f"127.0.0.1:{port}", [b"one"]))
    process.kill()
    process.communicate()
    eventually(lambda: not runs(broker))
    with EmbeddedBroker(tmp_path) as again:
        assert asyncio.run(_values(again.bootstrap)) == [b"one"]


def test_an_idle_worker_stops_at_once_and_in_good_order(tmp_path: Path) -> None:
    # this broker answers an empty fetch at once, so an idle worker is mostly in a pause
    with EmbeddedBroker(tmp_path / "broker") as broker:
        options = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "2"}
        with pipeline(broker.bootstrap, "idle", tmp_path, **options) as made:
            worker = made.worker()
            time.sleep(4)  # idle: there is nothing to wait for
            began = time.monotonic()
            assert worker.stop() == 0, worker.tail()
            assert time.monotonic() - began < 15
            assert "Traceback" not in worker.log.read_text()


def test_without_its_package_it_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra, which no worker needs."""
    monkeypatch.setitem(sys.modules, "noida_db", None)

    with pytest.raises(EmbeddedBrokerError, match=r"not installed: `pip install 'barstream\[embed"):
        EmbeddedBroker(tmp_path).start()
