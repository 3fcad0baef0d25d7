"""Producers that repeat themselves, deliver in any order, or abort what they began."""

from __future__ import annotations

import asyncio
import threading
import time

from aiokafka import AIOKafkaProducer

from barstream.codecs.avro.body import encode
from barstream.kafka.connection import client_options
from barstream.kafka.partitioner import default_partition
from barstream.model.key import series_key
from barstream.model.time import SECOND_US
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.disk import clear

_ROUND_S = 0.25


class Twice(Fault):
    """A producer without idempotence that sends every batch twice: ticks, every one of them."""

    name = "sent_twice"

    def begin(self, scene: Scene) -> str:
        scene.feed.twice = True
        return "the feed sends every batch twice"

    def end(self, scene: Scene) -> None:
        scene.feed.twice = False


class Shuffled(Fault):
    """Batches come in any order, as from producers that retry with several requests on the way."""

    name = "reordered"

    def begin(self, scene: Scene) -> str:
        scene.feed.shuffled = True
        return "the feed holds batches back and sends them in any order"

    def end(self, scene: Scene) -> None:
        scene.feed.shuffled = False


class Aborted(Fault):
    """Ticks of transactions that are aborted, among others that are committed.

    The aborted ones lie an hour ahead: one of them read as a tick would close all there is.
    """

    name = "aborted"

    def begin(self, scene: Scene) -> str:
        lasts_s = self.rng.uniform(1.0, 3.0)
        committed = asyncio.run(self._produce(scene, lasts_s))
        scene.sent_by_faults += committed
        return f"{committed} ticks committed among as many aborted, in {lasts_s:.1f} s"

    async def _produce(self, scene: Scene, lasts_s: float) -> int:
        settings = scene.made.settings
        producer = AIOKafkaProducer(
            **client_options(settings), transactional_id=f"{scene.made.name}-unsure"
        )
        committed = 0
        await producer.start()
        try:
            end = time.monotonic() + lasts_s
            while time.monotonic() < end:
                for ahead_us in (3600 * SECOND_US, 0):
                    await producer.begin_transaction()
                    count = await self._send(producer, scene, ahead_us)
                    if ahead_us:
                        await producer.abort_transaction()
                    else:
                        await producer.commit_transaction()
                        committed += count
                await asyncio.sleep(_ROUND_S)
        finally:
            await producer.stop()
        return committed

    async def _send(self, producer: AIOKafkaProducer, scene: Scene, ahead_us: int) -> int:
        topic, partitions = scene.made.names.ticks, scene.made.settings.topics.partitions
        futures = []
        for broker, symbol in scene.feed.names[:6]:
            key = series_key(broker, symbol)
            tick = {
                "broker": broker, "symbol": symbol, "time": scene.feed.clock_us + ahead_us,
                "price": round(100 + self.rng.random(), 3), "size": self.rng.random(),
            }  # fmt: skip
            futures.append(
                await producer.send(
                    topic, encode("tick", tick), key=key,
                    partition=default_partition(key, partitions),
                )
            )  # fmt: skip
        await asyncio.gather(*futures)
        return len(futures)


class HangingTransaction(Fault):
    """Another program holds a transaction open in the topics of finals while a worker restores.

    It is killed and its disk is lost, so that it has to read them from the beginning.
    """

    name = "hanging_transaction"
    drawn = False
    shortest_s = 14.0
    longest_s = 14.0

    def begin(self, scene: Scene) -> str:
        self._slot = slot = self.some(scene)
        self._over = threading.Event()
        self._holding = threading.Thread(target=asyncio.run, args=(self._hold(scene),))
        self._holding.start()
        slot.wanted = False
        slot.end()
        clear(scene.directory / slot.name)
        slot.wanted = True
        return f"{slot.name} restores"

    def end(self, scene: Scene) -> None:
        self._over.set()
        self._holding.join(30)

    async def _hold(self, scene: Scene) -> None:
        producer = AIOKafkaProducer(
            **client_options(scene.made.settings), transactional_id=f"{scene.made.name}-holds"
        )
        await producer.start()
        await producer.begin_transaction()
        for partition in range(scene.made.settings.topics.partitions):
            await producer.send_and_wait(
                scene.made.names.final_1m, b"", key=b"held", partition=partition
            )
        await asyncio.to_thread(self._over.wait)
        await producer.abort_transaction()
        await producer.stop()
