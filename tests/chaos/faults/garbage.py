"""Records that nobody should have written, into every topic that a worker reads."""

from __future__ import annotations

import time
from collections.abc import Sequence

from barstream.codecs.avro.body import encode
from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import encode as encode_heartbeat
from barstream.kafka.partitioner import default_partition
from barstream.model.key import series_key
from barstream.model.time import MINUTE_US, SECOND_US
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.raw_records import Row, send
from tests.pipeline import WorkerProcess


def _tick(symbol: str, time_us: int, price: float, size: float = 1.0) -> bytes:
    return encode(
        "tick",
        {"broker": "CHX", "symbol": symbol, "time": time_us, "price": price, "size": size},
    )


class GarbageTicks(Fault):
    """Ticks that are none: undecodable, without a value, not finite, from the future, elsewhere."""

    name = "garbage_ticks"

    def begin(self, scene: Scene) -> str:
        topic, partitions = scene.made.names.ticks, scene.made.settings.topics.partitions
        knows_homes = know_homes(scene, scene.feed.names[:4])
        at_us, ahead_us = scene.feed.clock_us, time.time_ns() // 1000 + 3600 * SECOND_US
        rows: list[Row] = []
        for broker, symbol in scene.feed.names[:4]:
            key = series_key(broker, symbol)
            home = default_partition(key, partitions)
            values: list[bytes | None] = [
                self.rng.randbytes(self.rng.randrange(1, 40)) + b"\xff" * 12,
                b"\xff", b"{}", None,
                _tick(symbol, at_us, float("nan")), _tick(symbol, at_us, float("inf")),
                _tick(symbol, at_us, 1.0, -5.0), _tick(symbol, ahead_us, 1.0),
                _tick(symbol, -(1 << 60), 1.0),
            ]  # fmt: skip
            rows += [Row(topic, key, value, home) for value in values]
            if knows_homes:
                rows.append(Row(topic, key, _tick(symbol, at_us, 1.0), (home + 1) % partitions))
        self.rng.shuffle(rows)
        send(scene.made, rows)
        scene.sent_by_faults += len(rows)
        return f"{len(rows)} records into the ticks"


def know_homes(scene: Scene, names: Sequence[tuple[str, str]], timeout_s: float = 10) -> bool:
    """Whether every worker that runs knows where series, (broker, symbol), are at home.

    The partition of a series is the one its first tick is seen in.  Between two partitions there
    is no order, so before that is known everywhere a tick in a second one may be the first.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        workers = [slot.worker for slot in scene.crew.running if slot.worker is not None]
        if workers and all(_knows(worker, *name) for worker in workers for name in names):
            return True
        time.sleep(0.3)
    return False


def _knows(worker: WorkerProcess, broker: str, symbol: str) -> bool:
    try:
        return worker.get(f"/where/{broker}/{symbol}").get("partition") is not None
    except (OSError, ValueError, AttributeError):
        return False


class GarbageElsewhere(Fault):
    """The same for heartbeats (also some of minutes that are not over), universe and schedule."""

    name = "garbage_elsewhere"

    def begin(self, scene: Scene) -> str:
        names, partitions = scene.made.names, scene.made.settings.topics.partitions
        soon_us = (time.time_ns() // 1000 // MINUTE_US + 10) * MINUTE_US
        rows: list[Row] = []
        for broker, symbol in scene.feed.names[:4]:
            key = series_key(broker, symbol)
            early = HeartbeatRecord(broker, symbol, soon_us, 0, soon_us, "planner")
            home = default_partition(key, partitions)
            rows += [
                Row(names.heartbeats, early.key, encode_heartbeat(early), home),
                Row(names.heartbeats, self.rng.randbytes(9), self.rng.randbytes(30), home),
                Row(names.heartbeats, self.rng.randbytes(9), None, home),
                Row(names.series_seen, key, b"\xff" * 20),
                Row(names.series_seen, self.rng.randbytes(5), self.rng.randbytes(20)),
                Row(names.market_schedule, self.rng.randbytes(8), self.rng.randbytes(20)),
                Row(names.market_schedule, key + b"\0" + b"2024-13-44\0x", b"{}"),
            ]
        self.rng.shuffle(rows)
        send(scene.made, rows)
        return f"{len(rows)} records into heartbeats, universe and schedule"
