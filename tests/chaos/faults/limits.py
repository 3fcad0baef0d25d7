"""Sizes, sockets and readers without measure: all of it is bounded, and nothing else waits for it.

What a batch of ticks may unpack to is a few MiB in these runs, so that whoever judges them can read
the bombs: `tests/functional/test_limits.py` has one of 512 MiB.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
import time
from contextlib import suppress
from typing import Final

import aiohttp

from barstream.codecs.avro.body import encode
from barstream.kafka.partitioner import default_partition
from barstream.model.key import series_key
from barstream.model.time import DAY_US
from tests.bombs import bomb
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.raw_records import Row, send, send_raw
from tests.chaos.runs.crew import Slot
from tests.pipeline import WorkerProcess, until

MOST_MIB: Final = 8
_BOMB_MIB: Final = 32
_GARBAGE_BYTES: Final = 900_000
_IDLE: Final = 1_000
_READERS: Final = 100
_STUCK: Final = 400
#: Of each of them, at once.
_REQUESTS: Final = 40
#: Of each of the busiest series, synthetic bars of two days.
_LONG_AGO_US: Final = 2 * DAY_US


class LimitFault(Fault):
    """What they share: only runs of this family draw them."""

    family = "limits"
    shortest_s = 3.0
    longest_s = 6.0


class Bombs(LimitFault):
    """Batches of kilobytes that unpack to more than is allowed, and to just less than that."""

    name = "bombs"
    alerts = frozenset({"BarstreamRejectedUndecodable"})

    def begin(self, scene: Scene) -> str:
        return f"{self._send(scene)} batches"

    def end(self, scene: Scene) -> None:
        """Once more: an alert is told by what a counter has grown by since it was seen."""
        self._send(scene)

    def _send(self, scene: Scene) -> int:
        partitions = range(scene.made.settings.topics.partitions)
        some = self.rng.sample(partitions, min(2, len(partitions)))
        topic = scene.made.names.ticks
        refused = send_raw(scene.made, topic, [(each, bomb(_BOMB_MIB)) for each in some])
        scene.refused.update(dict.fromkeys(refused, "too_large"))
        near = [(each, bomb(MOST_MIB - 1)) for each in some for _ in range(2)]
        send_raw(scene.made, topic, near)
        scene.sent_by_faults += len(refused) + len(near)
        return len(refused) + len(near)


class LargeGarbage(LimitFault):
    """Records of 900 kB that are no ticks, as many as a worker would rather not hold at once."""

    name = "large_garbage"
    alerts = frozenset({"BarstreamRejectedUndecodable"})

    def begin(self, scene: Scene) -> str:
        return f"{self._send(scene, 30)} records"

    def end(self, scene: Scene) -> None:
        self._send(scene, 3)

    def _send(self, scene: Scene, count: int) -> int:
        partitions = scene.made.settings.topics.partitions
        topic = scene.made.names.ticks
        send(
            scene.made,
            [
                Row(topic, b"k", b"\xff" * _GARBAGE_BYTES, self.rng.randrange(partitions))
                for _ in range(count)
            ],
        )
        scene.sent_by_faults += count
        return count


class FewDescriptors(LimitFault):
    """``ulimit -n 1024``: all that four partitions get, and what a worker of many must raise."""

    name = "few_descriptors"

    def prepare(self, scene: Scene) -> None:
        limit = "-n" if scene.made.settings.topics.partitions <= 4 else "-Sn"
        for slot in scene.crew.slots:
            slot.prefix = ("sh", "-c", f'ulimit {limit} 1024 && exec "$@"', "sh")

    def begin(self, scene: Scene) -> str:
        return "all workers, from the beginning"


class Sockets(LimitFault):
    """Clients of one worker that hold their connections."""

    @classmethod
    def lacks(cls) -> str | None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * (_IDLE + _STUCK)
        if hard < wanted:
            return f"{wanted} file descriptors, may have {hard}"
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        return None

    def begin(self, scene: Scene) -> str:
        self._clients: list[socket.socket] = []
        ready: list[Slot] = []

        def found() -> bool:
            ready[:] = _ready(scene)  # what is ready now may be killed before it is asked again
            return bool(ready)

        until(found, 40, "a worker is ready")
        self._slot = self.rng.choice(ready)
        self._worker = self._slot.worker
        if self._worker is not None:
            self.connect(scene, self._worker)
        return f"{len(self._clients)} at {self._slot.name}"

    def connect(self, scene: Scene, worker: WorkerProcess) -> None:
        """Make the connections."""
        raise NotImplementedError

    def connected(self, worker: WorkerProcess, said: str, window: int | None = None) -> None:
        """One more that has said this, with so much room for what it does not read."""
        client = socket.socket()
        self._clients.append(client)
        client.settimeout(2)
        if window is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        with suppress(OSError):  # the worker may be killed or frozen meanwhile
            client.connect((worker.host, worker.port))
            client.sendall(said.encode())

    def end(self, scene: Scene) -> None:
        if self._worker is None or self._slot.worker is not self._worker:
            # who was to count them is gone, by another fault of the run
            self.alerts = frozenset()
        for client in self._clients:
            client.close()


class IdleConnections(Sockets):
    """A thousand clients that connect and say nothing, or begin to ask and go no further."""

    name = "idle_connections"
    alerts = frozenset({"BarstreamHttpConnectionsCrowded"})

    def connect(self, scene: Scene, worker: WorkerProcess) -> None:
        for number in range(_IDLE):
            if worker.process.poll() is not None:
                return
            self.connected(worker, "GET /bars HTTP/1.1\r\nHost: " if number % 2 else "")


class StuckReaders(Sockets):
    """Hundreds of clients with requests that are being answered, and they read nothing of it."""

    name = "stuck_readers"
    needs = frozenset({"warm"})

    def prepare(self, scene: Scene) -> None:
        # of each kind of read 64 wait and forty are read: fewer than a worker takes by default
        scene.made.options["WEB__MAX_CONNECTIONS"] = "160"

    def precede(self, scene: Scene) -> None:
        make_history(scene)

    def connect(self, scene: Scene, worker: WorkerProcess) -> None:
        # a small window: what is not read waits at the worker and not in the kernel
        of_one = "/bars/{}/{}".format(*scene.feed.names[0])
        for number in range(_STUCK):
            if worker.process.poll() is not None:
                return
            path = of_one if number % 2 else "/bars"
            asked = f"GET {path}?limit=1000 HTTP/1.1\r\nHost: {worker.host}\r\n\r\n"
            self.connected(worker, asked * _REQUESTS, 4096)
            if number % 50 == 49:
                time.sleep(0.3)  # who has not been heard yet is idle, and makes room


class LongAnswers(LimitFault):
    """A hundred readers who ask for ten thousand bars each, again and again."""

    name = "long_answers"
    needs = frozenset({"warm"})
    alerts = frozenset({"BarstreamHttpReadsRefused"})

    def precede(self, scene: Scene) -> None:
        make_history(scene)

    def begin(self, scene: Scene) -> str:
        self._over = threading.Event()
        self._outcomes: dict[str, int] = {}
        self._reading = threading.Thread(target=asyncio.run, args=(self._read(scene),))
        self._reading.start()
        return f"{_READERS} readers"

    def end(self, scene: Scene) -> None:
        try:
            # whoever refused some may have been killed before anybody asked for its numbers
            until(lambda: _refusing(scene), 60, "a worker has refused reads")
        finally:
            self._over.set()
            self._reading.join(60)
        scene.notes.append(f"long answers: {self._outcomes}")

    async def _read(self, scene: Scene) -> None:
        timeout = aiohttp.ClientTimeout(total=30)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            await asyncio.gather(*(self._ask(scene, session) for _ in range(_READERS)))

    async def _ask(self, scene: Scene, session: aiohttp.ClientSession) -> None:
        # all ask one worker for one series: others are passed on, and wait elsewhere
        broker, symbol = scene.feed.names[0]
        while not self._over.is_set():
            workers = [slot.worker for slot in scene.crew.running if slot.worker is not None]
            outcome = "nobody"
            if workers:
                worker = workers[0]
                url = f"http://{worker.host}:{worker.port}/bars/{broker}/{symbol}"
                try:
                    async with session.get(url, params={"limit": "10000"}) as answer:
                        async for _ in answer.content.iter_any():
                            pass
                        outcome = str(answer.status)
                except (aiohttp.ClientError, TimeoutError):
                    outcome = "none"
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
            if outcome != "200":
                await asyncio.sleep(0.3)


def _refusing(scene: Scene) -> bool:
    refused = "barstream_http_reads_refused_total"
    return any(slot.numbers().get(refused) for slot in scene.crew.running)


def _ready(scene: Scene) -> list[Slot]:
    return [slot for slot in scene.crew.running if slot.numbers().get("barstream_ready")]


def make_history(scene: Scene) -> None:
    """The first tick of some series is two days old: the gap is filled with bars."""
    if scene.has_history:
        return
    scene.has_history = True
    partitions = scene.made.settings.topics.partitions
    now_us = time.time_ns() // 1000 if scene.live else scene.feed.clock_us
    rows = []
    for broker, symbol in scene.feed.names[:6]:
        key = series_key(broker, symbol)
        tick = {
            "broker": broker, "symbol": symbol, "time": now_us - _LONG_AGO_US,
            "price": 100.0, "size": 1.0,
        }  # fmt: skip
        home = default_partition(key, partitions)
        rows.append(Row(scene.made.names.ticks, key, encode("tick", tick), home))
    send(scene.made, rows)
    scene.sent_by_faults += len(rows)
