"""A seeded feed in a thread of its own, so that the test is free to do harm meanwhile.

Two clocks.  *History*: event time runs ``speed`` times as fast as the wall clock from a fixed
day, and the feed sends its own heartbeats as a loader does, never for a minute that one of its
later ticks can still enter; so what must come out follows from the topics alone, whenever
workers die.  *Live*: event time is the wall clock and the workers' leader sends heartbeats.

Its producer may misbehave for a while: everything twice (`Feed.twice`), or batches held back and
sent in any order (`Feed.shuffled`), as far as the promise about heartbeats leaves room.  And it may
rest (`Feed.resting`): neither a tick nor a heartbeat, while time goes on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Final

import numpy as np
from aiokafka.errors import KafkaError
from numpy.typing import NDArray

from barstream.codecs.avro.body import encode_batch
from barstream.feeds.bulk_producer import BulkSender, Routes, bulk_writer
from barstream.heartbeat.producer import Due, LoaderHeartbeats
from barstream.kafka.cluster import Cluster
from barstream.model.time import MINUTE_US, SECOND_US, us_from_iso
from tests.pipeline import Pipeline

BROKER: Final = "CHX"
_START_US: Final = us_from_iso("2024-03-04T10:00:00Z")
_STEP_S: Final = 0.05
#: Ticks of history come up to so much out of order: many of them late by their watermark.
_BACK_US: Final = 90 * SECOND_US
_LIVE_BACK_US: Final = 300_000
#: While batches are held back, ticks are younger by what a batch may wait, and some more.
_HELD_US: Final = 20 * SECOND_US
_LIVE_HELD_US: Final = 200_000
_SHUFFLED_BACK_US: Final = _BACK_US - 2 * _HELD_US

Batch = tuple[int, NDArray[np.int64], list[bytes | None]]
"""The clock when it was made, series and values."""


class Feed(threading.Thread):
    """Ticks of ``series`` series, busy and thin ones, into the topic of ``made``.

    Args:
        made: the pipeline.
        seed: of everything random here.
        rate: ticks a second.
        speed: seconds of event time a second of wall clock; 0: live.
        series: how many series.
        decay: each has so many ticks for every one of the series before it.
    """

    def __init__(
        self,
        made: Pipeline,
        seed: int,
        *,
        rate: int = 3000,
        speed: float = 20.0,
        series: int = 16,
        decay: float = 0.6,
    ) -> None:
        super().__init__(name="feed", daemon=True)
        self._made = made
        self._rng = np.random.default_rng(seed)
        self._rate = rate
        self._speed = speed
        self._names = [(BROKER, f"S{number:02d}") for number in range(series)]
        weights = decay ** np.arange(series)
        self._weights = weights / weights.sum()
        self._prices = 100 + 10 * self._rng.random(series)
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._failure: BaseException | None = None
        self._held: list[Batch] = []
        self._made_ticks = 0
        self.sent = 0
        self.twice = False
        self.shuffled = False
        self.resting = False
        self.clock_us = _START_US

    @property
    def names(self) -> list[tuple[str, str]]:
        """(broker, symbol) of the series, busiest first."""
        return list(self._names)

    @property
    def ended(self) -> bool:
        """Whether it was stopped, or failed."""
        return not self.is_alive()

    def run(self) -> None:
        try:
            asyncio.run(self._feed())
        except BaseException as error:  # noqa: BLE001  raised again where it is seen
            self._failure = error

    def finish(self, timeout_s: float = 60) -> None:
        """Stop, wait until all is acknowledged and (history) the closing heartbeats are sent."""
        self._stopping.set()
        self.join(timeout_s)
        assert not self.is_alive(), "the feed does not end"
        self.check()

    def abandon(self) -> None:
        """Stop, whatever becomes of what was not acknowledged yet."""
        self._stopping.set()
        self._abandoned.set()
        if self.ident is not None:
            self.join(20)

    def check(self) -> None:
        """Raise what ended the feed, if anything did."""
        if self._failure is not None:
            raise self._failure

    async def _feed(self) -> None:
        settings = self._made.settings
        cluster = Cluster(settings)
        routes = Routes.of(self._names, settings.topics.partitions)
        partition = routes.partition.tolist()
        # it has to outlast the longest outage of its broker
        writer = bulk_writer(cluster, request_timeout_ms=300_000)
        names = self._made.names
        async with (
            LoaderHeartbeats(cluster, names.ticks, names.heartbeats, _now_us) as beats,
        ):
            await writer.start()
            sender = BulkSender(writer, names.ticks, routes)
            began = time.monotonic()
            closed_us = _START_US - MINUTE_US
            clock_us = _START_US
            while not self._stopping.is_set():
                await asyncio.sleep(_STEP_S)
                elapsed = time.monotonic() - began
                count = int(elapsed * self._rate) - self._made_ticks
                clock_us = _START_US + int(elapsed * self._speed * 1e6)
                self.clock_us = clock_us if self._speed else _now_us()
                if self.resting:
                    self._made_ticks += count
                    continue
                await self._release(sender, self.clock_us)
                await self._send(sender, count, clock_us)
                due_us = (clock_us - _BACK_US) // MINUTE_US * MINUTE_US - MINUTE_US
                if self._speed and due_us > closed_us + 2 * MINUTE_US:
                    await sender.flush()  # the barrier must cover what was sent
                    if await self._beat(beats, self._due(partition, due_us)):
                        closed_us = due_us
            if self._abandoned.is_set():
                return
            await self._release(sender, None)
            await sender.flush()
            last = self._due(partition, clock_us // MINUTE_US * MINUTE_US)
            while self._speed and not await self._beat(beats, last):
                if self._abandoned.is_set():
                    return
                await asyncio.sleep(1)
            await writer.stop()

    async def _beat(self, beats: LoaderHeartbeats, due: list[Due]) -> bool:
        try:
            await beats.send(due)
        except KafkaError:  # no broker for a while; sending them again is harmless
            return False
        return True

    def _due(self, partition: list[int], minute_us: int) -> list[Due]:
        return [Due(*name, at, minute_us) for name, at in zip(self._names, partition, strict=True)]

    async def _send(self, sender: BulkSender, count: int, clock_us: int) -> None:
        if count <= 0:
            return
        rng = self._rng
        self._made_ticks += count
        who = rng.choice(len(self._names), count, p=self._weights)
        back = rng.exponential(_LIVE_BACK_US / 6 if not self._speed else _BACK_US / 12, count)
        most = _SHUFFLED_BACK_US if self.shuffled else _BACK_US
        back = np.minimum(back, most if self._speed else _LIVE_BACK_US).astype(np.int64)
        time_us = (clock_us if self._speed else _now_us()) - back
        self._prices += rng.normal(0, 0.01, len(self._prices))
        values: list[bytes | None] = list(
            encode_batch("tick", self._columns(who, time_us, rng.random(count)))
        )
        for at in np.flatnonzero(rng.random(count) < 0.001).tolist():
            values[at] = b"\xff" * 7
        copies = 2 if self.twice else 1
        for _ in range(copies):
            if self.shuffled and rng.random() < 0.6:
                self._held.append((self.clock_us, who, values))
            else:
                await self._deliver(sender, who, values)

    async def _release(self, sender: BulkSender, clock_us: int | None) -> None:
        """Send what was held back long enough, in any order; None: all of it.

        Before the heartbeats of the same round, which would make the rest of it late.
        """
        longest_us = _HELD_US if self._speed else _LIVE_HELD_US
        ready = [
            batch
            for batch in self._held
            if clock_us is None or clock_us - batch[0] > longest_us * self._rng.random()
        ]
        self._held = [batch for batch in self._held if all(batch is not each for each in ready)]
        for at in self._rng.permutation(len(ready)).tolist():
            _, who, values = ready[at]
            await self._deliver(sender, who, values)

    async def _deliver(
        self, sender: BulkSender, who: NDArray[np.int64], values: list[bytes | None]
    ) -> None:
        await sender.send(who, values)
        self.sent += len(values)

    def _columns(
        self, who: NDArray[np.int64], time_us: NDArray[Any], noise: NDArray[np.float64]
    ) -> dict[str, Any]:
        return {
            "broker": [BROKER] * len(who),
            "symbol": [self._names[at][1] for at in who.tolist()],
            "time": time_us,
            "price": np.round(self._prices[who] + noise / 10, 4),
            # tenths and thirds: sums that depend on their order unless they are exact
            "size": np.round(noise * 9, 1) + noise / 3,
        }


def _now_us() -> int:
    return time.time_ns() // 1000
