"""Real Apache Kafka for tests: one combined controller and broker, or several, in KRaft mode.

Outside pytest ``python -m tests.kafka_cluster --port 19092`` runs a broker until Ctrl-C.
All methods block; in async tests call them through ``asyncio.to_thread``.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.kafka_jars import ensure_jars, find_program, run_tool, version_asked_for
from tests.kafka_node import KafkaNode, free_ports
from tests.kafka_probe import lagging_copy, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

JVM_OPTIONS = ("-Xms256m", "-Xmx768m", "-XX:+UseG1GC")
_READY_TIMEOUT_S = 90.0
_FEATURES = "org.apache.kafka.tools.FeatureCommand"


class KafkaCluster:
    """Brokers on this machine with a temporary data directory.

    ``settings`` are broker properties laid over the defaults (``log.retention.check.interval.ms``
    and the like).  Without ``transactions`` a start waits for no coordinator of them, since these
    settings may allow none.  ``extra_listener`` adds a second client listener with that security
    protocol (``SASL_SSL``); its key store and users come from ``settings``, its address is
    `extra_bootstrap`.  ``version`` is that of Apache Kafka, by default the one asked for.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        ports: Sequence[int] | None = None,
        host: str = "127.0.0.1",
        settings: Mapping[str, str] | None = None,
        extra_listener: str | None = None,
        jvm_options: Sequence[str] = JVM_OPTIONS,
        transactions: bool = True,
        data_dir: Path | None = None,
        version: str | None = None,
    ) -> None:
        if ports is not None and len(ports) != nodes:
            raise ValueError(f"{nodes} nodes need {nodes} ports, got {len(ports)}")
        find_program("java", "run Apache Kafka for the integration tests")
        version = version or version_asked_for()
        ensure_jars(version)
        self._transactions = transactions
        self._own_data = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="barstream-kafka-"))
        self.host = host
        taken = list(ports) if ports is not None else []
        free = free_ports(host, 3 * nodes - len(taken))
        client_ports = taken or [free.pop() for _ in range(nodes)]
        controller_ports = [free.pop() for _ in range(nodes)]
        voters = ",".join(f"{i + 1}@{host}:{port}" for i, port in enumerate(controller_ports))
        self.cluster_id = secrets.token_urlsafe(16).replace("-", "a").replace("_", "b")
        self.nodes = [
            KafkaNode(
                node_id=i + 1,
                host=host,
                port=client_ports[i],
                controller_port=controller_ports[i],
                extra=(extra_listener, free[i]) if extra_listener else None,
                voters=voters,
                node_count=nodes,
                directory=self.data_dir / f"node-{i + 1}",
                settings=dict(settings or {}),
                version=version,
            )
            for i in range(nodes)
        ]
        self._jvm_options = tuple(jvm_options)

    @property
    def bootstrap(self) -> str:
        """Addresses of all nodes, running or not: ``host:port[,host:port...]``."""
        return ",".join(f"{node.host}:{node.port}" for node in self.nodes)

    @property
    def extra_bootstrap(self) -> str:
        """Address of the extra listener of the first node."""
        extra = self.nodes[0].extra
        if extra is None:
            raise ValueError("this cluster was started without extra_listener")
        return f"{self.nodes[0].host}:{extra[1]}"

    def start(self) -> Self:
        """Start every node that is not running and wait until groups and transactions work."""
        try:
            for node in self.nodes:
                if not node.running:
                    node.start(self.cluster_id, self._jvm_options)
            self._wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def stop(self, node: int = 0) -> None:
        """Stop a node in good order (SIGTERM, kill after 20 s)."""
        self.nodes[node].stop()

    def kill(self, node: int = 0) -> None:
        """Kill -9 a node and wait until it is gone."""
        self.nodes[node].kill()

    def restart(self, node: int = 0) -> None:
        """Start a node again on its data (kill -9 first when it still runs); returns when ready."""
        self.nodes[node].kill()
        self.nodes[node].start(self.cluster_id, self._jvm_options)
        self._wait_ready()

    def upgrade(self, node: int, version: str) -> None:
        """Stop a node in good order and start it at another version on its data.

        Returns when every copy is in sync again, so that the next node may go.
        """
        self.nodes[node].stop()
        self.nodes[node].version = version
        self.restart(node)
        self._wait(lambda: lagging_copy(self._live), "in sync")

    def finalize(self, version: str) -> None:
        """Raise the feature levels to those of a version that all nodes have: no way back."""
        release = version.rpartition(".")[0]
        run_tool(_FEATURES, self.bootstrap, "upgrade", "--release-version", release)

    def freeze(self, node: int = 0) -> None:
        """SIGSTOP a node: connections stay open and nothing answers."""
        self.nodes[node].signal(signal.SIGSTOP)

    def thaw(self, node: int = 0) -> None:
        """SIGCONT a frozen node."""
        self.nodes[node].signal(signal.SIGCONT)

    def close(self) -> None:
        """End all nodes and remove their data."""
        for node in self.nodes:
            # The data goes too, so nobody waits for an orderly shutdown.
            node.kill()
        if self._own_data:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def log_text(self, node: int = 0) -> str:
        """Everything the node has printed so far."""
        return self.nodes[node].log_text()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _live(self) -> str:
        return ",".join(f"{node.host}:{node.port}" for node in self.nodes if node.running)

    def _wait_ready(self) -> None:
        expected = sum(node.running for node in self.nodes)
        self._wait(lambda: probe(self._live, expected, transactions=self._transactions), "ready")

    def _wait(self, problem_of: Callable[[], str | None], what: str) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            for node in self.nodes:
                node.raise_if_died()
            problem = problem_of()
            if problem is None:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Kafka at {self._live} was not {what} within {_READY_TIMEOUT_S:.0f} s: "
                    f"{problem}\n" + self.nodes[0].log_text()[-3000:]
                )
            time.sleep(0.1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a cluster until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Run Apache Kafka for tests.")
    parser.add_argument("--port", type=int, default=9092, help="port of the first node")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--version", default=version_asked_for(), help="of Apache Kafka")
    parser.add_argument("--data-dir", type=Path, help="kept when given, else temporary")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    cluster = KafkaCluster(
        options.nodes,
        ports=[options.port + i for i in range(options.nodes)],
        settings=dict(pair.split("=", 1) for pair in options.set),
        data_dir=options.data_dir,
        version=options.version,
    )
    try:
        cluster.start()
        sys.stdout.write(f"Apache Kafka {options.version} ready: {cluster.bootstrap}\n")
        sys.stdout.write(f"pids: {' '.join(str(node.pid) for node in cluster.nodes)}\n")
        sys.stdout.flush()
        while not stop.wait(0.5):
            for node in cluster.nodes:
                node.raise_if_died()
        if options.data_dir:
            for node in cluster.nodes:
                node.stop()
    finally:
        cluster.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
