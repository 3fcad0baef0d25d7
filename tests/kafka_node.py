"""One Kafka process: its properties, its life and its log."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.kafka_jars import LOG_CONFIG, ensure_jars, find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_FORMAT_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 20
_PR_SET_PDEATHSIG = 1


def free_ports(host: str, count: int) -> list[int]:
    """``count`` distinct ports nobody listens on.

    Taken below the ephemeral range, so that no outgoing connection of a test running at the
    same time is given one of them between this look and the broker's bind.
    """
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 400):
        if len(found) == count:
            return found
        with socket.socket() as trial:
            try:
                trial.bind((host, port))
            except OSError:
                continue
        found.append(port)
    raise RuntimeError(f"{count} free ports needed between 20000 and 32000, {len(found)} found")


@dataclass
class KafkaNode:
    """A combined controller and broker; ``extra`` is (security protocol, port) of a listener.

    ``version`` is that of the next start.
    """

    node_id: int
    host: str
    port: int
    controller_port: int
    extra: tuple[str, int] | None
    voters: str
    node_count: int
    directory: Path
    settings: dict[str, str]
    version: str
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """Whether the process exists."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id (of the last start)."""
        if self._process is None:
            raise RuntimeError(f"Kafka node {self.node_id} was never started")
        return self._process.pid

    def properties(self) -> dict[str, str]:
        """Broker properties: small internal topics, no delays, room for three copies on three."""
        copies = str(min(3, self.node_count))
        in_sync = "2" if self.node_count >= 3 else "1"
        listeners = [f"PLAINTEXT://{self.host}:{self.port}"]
        protocols = ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
        if self.extra is not None:
            listeners.append(f"EXTRA://{self.host}:{self.extra[1]}")
            protocols.append(f"EXTRA:{self.extra[0]}")
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": self.voters,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(protocols),
            "listeners": ",".join([*listeners, f"CONTROLLER://{self.host}:{self.controller_port}"]),
            "advertised.listeners": ",".join(listeners),
            "log.dirs": str(self.directory / "data"),
            "num.network.threads": "2",
            "num.io.threads": "4",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": "0",
            # The default of 6000 would make drills wait that long for every worker that is lost.
            "group.min.session.timeout.ms": "1000",
            # The default of 128 MB would be a sixth of the heap.
            "log.cleaner.dedupe.buffer.size": str(16 << 20),
            "log.cleaner.backoff.ms": "1000",
            "log.retention.check.interval.ms": "5000",
            # A single combined node waits for a controller that is going down with it.
            "controlled.shutdown.enable": "true" if self.node_count > 1 else "false",
            **self.settings,
        }

    def start(self, cluster_id: str, jvm_options: Sequence[str]) -> None:
        """Format the data directory the first time, then start the process."""
        java, jars = find_program("java", "run Apache Kafka"), ensure_jars(self.version)
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "server.properties"
        config.write_text("".join(f"{k}={v}\n" for k, v in self.properties().items()))
        base = [java, "-cp", f"{jars}/*", f"-Dlog4j2.configurationFile={LOG_CONFIG}"]
        if not (self.directory / "data" / "meta.properties").exists():
            self._format([*base, "-XX:TieredStopAtLevel=1"], config, cluster_id)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*base, *jvm_options, "kafka.Kafka", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - it only calls prctl
            )

    def stop(self) -> None:
        """SIGTERM, and kill -9 when it is still there after 20 s."""
        if self._process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill -9 and wait."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def raise_if_died(self) -> None:
        """Raise with the end of its log when a started node has ended by itself."""
        code = None if self._process is None else self._process.poll()
        if code is not None and code not in (-signal.SIGKILL, 143):
            raise RuntimeError(
                f"Kafka node {self.node_id} ended with exit code {code}:\n{self.log_text()[-3000:]}"
            )

    def log_text(self) -> str:
        """Everything printed so far, over all starts."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.directory / "kafka.log"

    def _format(self, base: list[str], config: Path, cluster_id: str) -> None:
        command = [*base, "kafka.tools.StorageTool", "format"]
        done = subprocess.run(
            [*command, "--cluster-id", cluster_id, "--config", str(config)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_FORMAT_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise RuntimeError(f"formatting {self.directory} failed:\n{done.stdout[-2000:]}")


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux, have the kernel end the broker when the test run is killed.

    The signal follows the *thread* that forked, so a broker started from a passing worker
    thread goes without.
    """
    main_thread = threading.current_thread() is threading.main_thread()
    if not sys.platform.startswith("linux") or not main_thread:
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return in_child
