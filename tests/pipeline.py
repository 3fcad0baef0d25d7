"""A whole pipeline on a real broker: topics, workers as processes, and what they published.

Every name is unique, so that tests do not meet.  Nothing is slept for: conditions are polled
with a deadline.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.codecs.avro.body import decode
from barstream.codecs.topics.state import POSITION_KEY, decode_position
from barstream.config import Settings, load_settings
from barstream.kafka import decompression
from barstream.kafka.topics import TopicNames
from tests.kafka_node import free_ports

ROOT = Path(__file__).parent.parent
_ANY_BYTES = 1 << 30


@dataclass(frozen=True)
class Record:
    """One committed record, as a read_committed consumer sees it."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


@dataclass
class WorkerProcess:
    """A `barstream worker` of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    host: str = "127.0.0.1"
    token: str | None = None

    def get(self, path: str) -> Any:
        """Body of a GET, decoded; error answers too."""
        shown = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        url = f"http://{self.host}:{self.port}{path}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers=shown), timeout=5
            ) as got:
                return json.load(got)
        except urllib.error.HTTPError as error:
            return json.load(error)

    @property
    def ready(self) -> bool:
        """Whether ``/health/ready`` says so."""
        try:
            return bool(self.get("/health/ready")["ready"])
        except (OSError, ValueError, KeyError):
            return False

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 40) -> int:
        """SIGTERM and wait; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def tail(self, lines: int = 40) -> str:
        """End of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass
class Pipeline:
    """Settings with unique names on one broker, and the workers started on them."""

    bootstrap: str
    name: str
    directory: Path
    options: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """Environment for a `barstream` process of this pipeline."""
        settings = {
            "BOOTSTRAP": self.bootstrap,
            "APP_ID": self.name,
            "TOPICS__TICKS": f"{self.name}-ticks",
            "TOPICS__TICKS_REJECTED": f"{self.name}-rejected",
            "TOPICS__MARKET_SCHEDULE": f"{self.name}-schedule",
            "TOPICS__SERIES_SEEN": f"{self.name}-seen",
            "TOPICS__HEARTBEATS": f"{self.name}-hb",
            "TOPICS__BASE": f"{self.name}-rate",
            **self.options,
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BARSTREAM_")}
        return kept | {f"BARSTREAM_{key}": value for key, value in settings.items()}

    @property
    def settings(self) -> Settings:
        """The same, as this process sees it."""
        return load_settings(env=self.env)

    @property
    def names(self) -> TopicNames:
        """Topic names."""
        return TopicNames.of(self.settings)

    def run(self, *arguments: str, check: bool = True, timeout_s: float = 120) -> str:
        """Output of a `barstream` command; it must succeed unless ``check`` is off."""
        done = subprocess.run(
            [sys.executable, "-m", "barstream", *arguments],
            cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(
                f"{arguments} ended {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout + done.stderr

    def worker(
        self,
        *,
        directory: str = "w0",
        wait: bool = True,
        prefix: Sequence[str] = (),
        program: Sequence[str] = ("barstream", "worker"),
        extra_env: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        tree: Path = ROOT,
    ) -> WorkerProcess:
        """Start a worker with its own data directory; by default wait until it is ready.

        ``program`` is the module that is run, and its arguments; ``host`` where its web views
        are, when that is not the loopback interface; ``tree`` the sources it is run from.
        """
        port = free_port()
        log = self.directory / f"worker-{directory}-{len(self.workers)}.log"
        env = self.env | {
            "BARSTREAM_DATA_DIR": str(self.directory / directory),
            "BARSTREAM_WEB_PORT": str(port),
            "BARSTREAM_WEB__HOST": host,
            **(extra_env or {}),
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", *program],
                cwd=tree, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        started = WorkerProcess(process, port, log, host, self.options.get("WEB__TOKEN"))
        self.workers.append(started)
        if wait:
            until(lambda: started.ready or process.poll() is not None, 60, f"{log} ready")
            assert process.poll() is None, started.tail()
        return started

    def read(self, topic: str) -> list[Record]:
        """Every committed record of a topic, by partition and offset."""
        return asyncio.run(read_topic(self.bootstrap, topic))

    def finals(self) -> list[dict[str, Any]]:
        """Every record of the finals topic, decoded; a bar written twice is here twice."""
        return [decode("bar", r.value) for r in self.read(self.names.final_1m) if r.value]

    def finals_of(self, symbol: str) -> list[dict[str, Any]]:
        """Finals of one symbol, ascending."""
        found = [bar for bar in self.finals() if bar["symbol"] == symbol]
        return sorted(found, key=lambda bar: int(bar["bucket_start"]))

    def position(self, partition: int = 0) -> int:
        """First offset of ticks that no committed row has applied."""
        rows = [
            row.value
            for row in self.read(self.names.series)
            if row.key == POSITION_KEY and row.partition == partition
        ]
        return decode_position(rows[-1] or b"").next_offset if rows else 0

    def rejected(self) -> list[Record]:
        """Every rejected tick."""
        return self.read(self.names.ticks_rejected)


@contextmanager
def pipeline(bootstrap: str, name: str, directory: Path, **options: str) -> Iterator[Pipeline]:
    """A pipeline with its topics created; its workers are killed at the end."""
    made = Pipeline(bootstrap, name, directory, options)
    made.run("topics", "create")
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.kill()


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll ``condition`` until it holds.

    Raises:
        AssertionError: it did not within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.1)


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    return free_ports("127.0.0.1", 1)[0]


async def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """Every committed record up to the last stable offset, also what no worker may unpack."""
    allowed = decompression.allowed()
    decompression.allow(_ANY_BYTES)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        if not places:
            await consumer._client.force_metadata_update()
            await consumer._client.set_topics([topic])
            places = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        records: list[Record] = []
        async with asyncio.timeout(60):
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for got in (await consumer.getmany(timeout_ms=100)).values():
                    records += [
                        Record(r.partition, r.offset, r.timestamp, r.key, r.value, dict(r.headers))
                        for r in got
                    ]
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()
        decompression.allow(allowed)
