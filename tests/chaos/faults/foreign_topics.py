"""Topics that others have made, and ticks of producers that nobody here has configured."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.codecs.avro.body import encode
from barstream.kafka.connection import client_options
from barstream.kafka.partitioner import default_partition
from barstream.model.key import series_key
from barstream.model.time import MINUTE_US, SECOND_US
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.garbage import know_homes
from tests.chaos.faults.raw_records import Row, send
from tests.chaos.runs import judge
from tests.pipeline import Pipeline, until

_HOUR_US: Final = 3600 * SECOND_US
_YEAR_US: Final = 365 * 24 * _HOUR_US
_SERIES: Final = 6
_SETTLE_S: Final = 120.0
#: Since 4.0 brokers refuse what is more than an hour ahead; those before take any timestamp.
_CREATE_TIME: Final = {
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str(2**63 - 1),
}


class ForeignFault(Fault):
    """What they share: only runs of this family draw them."""

    family = "foreign_topics"


class ForeignTicks(ForeignFault):
    """A topic with CreateTime, and some ticks beside those of the feed."""

    shortest_s = 2.0
    longest_s = 4.0
    alerts = frozenset({"BarstreamRejectedFuture"})

    def prepare(self, scene: Scene) -> None:
        scene.configure({"ticks"}, _CREATE_TIME)

    def begin(self, scene: Scene) -> str:
        rows = self._rows(scene)
        send(scene.made, rows)
        scene.sent_by_faults += len(rows)
        return f"{len(rows)} ticks"

    def end(self, scene: Scene) -> None:
        """Once more: an alert is told by what a counter has grown by since it was seen."""
        rows = self._rows(scene)
        send(scene.made, rows)
        scene.sent_by_faults += len(rows)

    def stamped(self, scene: Scene) -> list[tuple[int, int | None]]:
        """(event time, timestamp of the record in ms) of ticks; None: that of the client."""
        raise NotImplementedError

    def _rows(self, scene: Scene) -> list[Row]:
        topic, partitions = scene.made.names.ticks, scene.made.settings.topics.partitions
        rows = []
        for broker, symbol in scene.feed.names[:_SERIES]:
            key = series_key(broker, symbol)
            home = default_partition(key, partitions)
            for time_us, stamp_ms in self.stamped(scene):
                tick = {
                    "broker": broker, "symbol": symbol, "time": time_us,
                    "price": round(100 + self.rng.random(), 3), "size": self.rng.random(),
                }  # fmt: skip
                rows.append(Row(topic, key, encode("tick", tick), home, stamp_ms))
        self.rng.shuffle(rows)
        return rows


class OtherClocks(ForeignTicks):
    """Producers that stamp their records by clocks that are an hour or decades off, either way."""

    name = "other_clocks"
    thing = "timestamps"

    def stamped(self, scene: Scene) -> list[tuple[int, int | None]]:
        now_us, at_us = _now_us(), scene.feed.clock_us
        ahead = [(now_us + off, (now_us + off) // 1000) for off in (_HOUR_US, 74 * _YEAR_US)]
        # of what has just happened, dated before it: by its own record it is of the future; but
        # before 1970 a timestamp is none
        back_us = (_HOUR_US, 40 * _YEAR_US, 74 * _YEAR_US)
        behind = [(at_us, (at_us - off) // 1000) for off in back_us]
        return [*ahead, *behind]


class NoTimestamps(ForeignTicks):
    """Records without a timestamp: ticks of now, and some of in an hour."""

    name = "no_timestamps"

    def stamped(self, scene: Scene) -> list[tuple[int, int | None]]:
        return [(scene.feed.clock_us, -1), (_now_us() + _HOUR_US, -1)]


class SmallMessages(ForeignFault):
    """Every topic that is written takes 64 KiB a batch, and ticks come that are larger."""

    name = "small_messages"
    shortest_s = 2.0
    longest_s = 4.0
    alerts = frozenset({"BarstreamRejectedUndecodable"})

    def prepare(self, scene: Scene) -> None:
        scene.configure(None, {"max.message.bytes": "65536"})

    def begin(self, scene: Scene) -> str:
        return f"{self._send(scene)} records of 70 to 900 kB"

    def end(self, scene: Scene) -> None:
        self._send(scene)

    def _send(self, scene: Scene) -> int:
        topic, partitions = scene.made.names.ticks, scene.made.settings.topics.partitions
        sizes = (70_000, 300_000, 900_000)
        rows = [
            Row(topic, b"k", b"\xff" * size, partition)
            for partition in self.rng.sample(range(partitions), min(3, partitions))
            for size in sizes
        ]
        send(scene.made, rows)
        scene.sent_by_faults += len(rows)
        return len(rows)


class MinIsrLost(ForeignFault):
    """All three copies must have what is acknowledged, and a broker is gone for a while."""

    name = "min_isr_lost"
    thing = "broker"
    needs = frozenset({"cluster"})
    shortest_s = 4.0
    longest_s = 8.0
    ends_workers = True

    def prepare(self, scene: Scene) -> None:
        for logical in (None, {"ticks"}):
            scene.configure(logical, {"min.insync.replicas": "3"})

    def begin(self, scene: Scene) -> str:
        if scene.cluster is None:
            raise ValueError("this fault needs a cluster of its own: scenario.cluster")
        self._cluster = scene.cluster
        self._node = self.rng.randrange(len(self._cluster.nodes))
        self._cluster.kill(self._node)
        return f"broker {self._node + 1}: no topic takes a record"

    def end(self, scene: Scene) -> None:
        self._cluster.restart(self._node)


class MisroutedFirst(ForeignFault):
    """The first tick of a series comes in a partition that none of the others comes in.

    That one is its home from then on; all others are rejected, and an alert says so.
    """

    name = "misrouted_first"
    needs = frozenset({"warm"})
    alerts = frozenset({"BarstreamRejectedPartition"})

    def precede(self, scene: Scene) -> None:
        partitions = scene.made.settings.topics.partitions
        self._name = broker, symbol = self.rng.choice(scene.feed.names[:4])
        key = series_key(broker, symbol)
        home = (default_partition(key, partitions) + 1) % partitions
        time_us = _now_us() if scene.live else scene.feed.clock_us
        tick = {"broker": broker, "symbol": symbol, "time": time_us, "price": 100.0, "size": 1.0}
        send(scene.made, [Row(scene.made.names.ticks, key, encode("tick", tick), home)])
        scene.sent_by_faults += 1
        scene.homes[symbol] = home
        # between two partitions there is no order: who sees the others first takes theirs
        if not know_homes(scene, [self._name], 30):
            raise AssertionError(f"not every worker knows where {symbol} is at home")

    def begin(self, scene: Scene) -> str:
        return f"{self._name[1]} is at home in partition {scene.homes[self._name[1]]}"


class TicksExpired(ForeignFault):
    """After the verdict: the tick topic keeps a second of what there was, and all start again."""

    name = "ticks_expired"
    # a segment with a record of 2100 is kept until then
    thing = "timestamps"
    needs = frozenset({"always_open"})

    def begin(self, scene: Scene) -> str:
        return "comes after the verdict"

    def after(self, scene: Scene) -> None:
        made = scene.made
        finals = len(made.finals())
        scene.configure({"ticks"}, {"retention.ms": "1000", "segment.ms": "1000"})
        starts = asyncio.run(_ends(made))
        self._send(scene)  # what is being written to is not deleted
        until(lambda: asyncio.run(_begins(made, starts)), 60, "the ticks are gone")
        # what was sent to make them go is not to go unread
        scene.configure({"ticks"}, {"retention.ms": "-1"})
        scene.crew.settle(_SETTLE_S)
        for slot in scene.crew.slots:
            slot.end()
        scene.crew.settle(_SETTLE_S)
        self._send(scene)
        scene.crew.settle(_SETTLE_S)
        found = judge.verify(made)
        assert (found.code, found.differences) == (0, []), found.said
        assert len(made.finals()) >= finals
        unproven = found.summary.get("unproven")
        scene.notes.append(f"all ticks expired: verify is clean, {unproven} bars unproven")

    def _send(self, scene: Scene) -> None:
        """A tick in each partition, of series that were never seen."""
        partitions = scene.made.settings.topics.partitions
        rows = []
        for partition in range(partitions):
            symbol = f"LAST{partition}"
            tick = {
                "broker": "CHX", "symbol": symbol, "time": scene.feed.clock_us - MINUTE_US,
                "price": 1.0, "size": 1.0,
            }  # fmt: skip
            key = series_key("CHX", symbol)
            rows.append(Row(scene.made.names.ticks, key, encode("tick", tick), partition))
        send(scene.made, rows)


async def _ends(made: Pipeline) -> dict[TopicPartition, int]:
    async with AIOKafkaConsumer(**client_options(made.settings)) as consumer:
        places = [
            TopicPartition(made.names.ticks, p) for p in range(made.settings.topics.partitions)
        ]
        found: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return found


async def _begins(made: Pipeline, wanted: dict[TopicPartition, int]) -> bool:
    """Whether every partition begins at the wanted offset, or after it."""
    async with AIOKafkaConsumer(**client_options(made.settings)) as consumer:
        found = await consumer.beginning_offsets(list(wanted))
        return all(found[place] >= offset for place, offset in wanted.items())


def _now_us() -> int:
    return time.time_ns() // 1000
