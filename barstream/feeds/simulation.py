"""``ticks simulate``: a made-up market on its way into Kafka, as fast as possible or by a clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.clock import system_clock_us
from barstream.feeds.bulk_producer import BulkSender, Routes, bulk_writer
from barstream.feeds.encoder import ColumnEncoding, NumberField, TickEncoder
from barstream.feeds.progress import Watcher
from barstream.feeds.simulated_series import Kind
from barstream.feeds.simulated_ticks import MAX_STEP_TICKS, SimulatedTicks, Simulation
from barstream.kafka.cluster import Cluster
from barstream.model.time import SECOND_US

STEP_S: Final = 0.1
LONGEST_STEP_US: Final = SECOND_US
"""After a pause (a suspended machine) ticks go on from now: old ones would all be late."""
_OUTSTANDING: Final = 32
"""Batches on their way before the feed waits, so that encoding and sending overlap."""
_NO_TICK: Final = b"\xff\xff\xff\xff\x0f"
"""As Avro a text of negative length, as JSON no UTF-8, as Confluent framing no magic byte."""


class SimulatedFeed:
    """Sends what a `Simulation` makes up.

    Args:
        simulation: the market.
        broker: name of the venue its ticks carry.
        partitions: how many the tick topic has.
        encoder: ticks to record values.
        cluster: where the topics are.
        watcher: is told of the progress.
    """

    def __init__(
        self,
        simulation: Simulation,
        *,
        broker: str,
        partitions: int,
        encoder: TickEncoder,
        cluster: Cluster,
        watcher: Watcher,
    ) -> None:
        self._simulation = simulation
        self._names = tuple((broker, symbol) for symbol in simulation.market.symbols)
        self._encoder = encoder
        self._watcher = watcher
        self._garbage = np.random.default_rng(simulation.rules.seed)
        self._writer = bulk_writer(cluster)
        self._sender = BulkSender(
            self._writer, cluster.names.ticks, Routes.of(self._names, partitions)
        )
        self._stop = asyncio.Event()
        self._counts: Counter[Kind] = Counter()
        self._sent: Counter[Kind] = Counter()
        self._left: int | None = None

    @property
    def counts(self) -> dict[Kind, int]:
        """Ticks acknowledged so far, by kind."""
        return {kind: self._counts[kind] for kind in Kind}

    def stop(self) -> None:
        """End after the step under way."""
        self._stop.set()

    async def fast(self, start_us: int, count: int) -> None:
        """``count`` ticks as fast as Kafka takes them, event times from ``start_us`` on.

        Raises:
            KafkaError: ticks were not acknowledged.
        """
        self._left = count
        self._watcher.begin(0, count)
        async with self._writer:
            for ticks in self._simulation.fast(start_us, system_clock_us()):
                await self._send(ticks, flush=self._sender.outstanding >= _OUTSTANDING)
                if self._ended:
                    break
            await self._flush()

    async def by_clock(
        self, start_us: int | None, speed: float, count: int | None, seconds: float | None
    ) -> None:
        """Ticks as time goes by, until ``count`` ticks, ``seconds``, or `stop`.

        Args:
            start_us: where the event clock begins; None: event time is the wall clock.
            speed: event time per wall time, used with ``start_us``.
            count: how many ticks; None: no limit.
            seconds: how long; None: no limit.

        Raises:
            KafkaError: ticks were not acknowledged.
        """
        self._left = count
        self._watcher.begin(0, count)
        async with self._writer:
            await self._by_clock(start_us, speed, seconds)

    async def onward(
        self, past: SimulatedTicks, until_us: int, on_sent: Callable[[], None]
    ) -> None:
        """``past`` as fast as Kafka takes it, then on by the wall clock until `stop`.

        Between the two stands a tick of every series, so that each is live at once, also one
        that is quiet then.

        Args:
            past: ticks that end at ``until_us``, in order of delivery.
            until_us: from here on the simulation goes on: no stretch is left out.
            on_sent: called when the past is acknowledged.

        Raises:
            KafkaError: ticks were not acknowledged.
        """
        self._watcher.begin(0, None)
        async with self._writer:
            for start in range(0, len(past), MAX_STEP_TICKS):
                if self._ended:
                    return
                await self._send(past.part(start, start + MAX_STEP_TICKS), flush=False)
            await self._flush()
            on_sent()
            now_us = system_clock_us()
            await self._send(self._simulation.step(until_us, now_us, now_us))
            await self._send(self._simulation.snapshot(now_us))
            await self._by_clock(None, 1.0, None)

    async def _by_clock(self, start_us: int | None, speed: float, seconds: float | None) -> None:
        began_us = system_clock_us()
        at_us = began_us if start_us is None else start_us
        while not self._ended:
            await self._sleep(STEP_S)
            now_us = system_clock_us()
            if seconds is not None and now_us - began_us > seconds * SECOND_US:
                return
            if start_us is None:
                end_us, at_us = now_us, max(at_us, now_us - LONGEST_STEP_US)
            else:
                end_us = start_us + int((now_us - began_us) * speed)
            if end_us > at_us:
                await self._send(self._simulation.step(at_us, end_us, now_us))
                at_us = end_us

    @property
    def _ended(self) -> bool:
        return self._stop.is_set() or self._left == 0

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _send(self, ticks: SimulatedTicks, *, flush: bool = True) -> None:
        if self._left is not None:
            ticks = ticks.part(0, self._left)
            self._left -= len(ticks)
        if not len(ticks):
            return
        await self._sender.send(ticks.series, self._values(ticks))
        found = np.bincount(self._kinds(ticks), minlength=len(Kind)).tolist()
        self._sent.update(dict(zip(Kind, found, strict=True)))
        if flush:
            await self._flush()

    async def _flush(self) -> None:
        await self._sender.flush()
        self._counts.update(self._sent)
        self._watcher.advance(self._sent.total())
        self._sent.clear()

    def _kinds(self, ticks: SimulatedTicks) -> NDArray[np.int8]:
        """What the ticks are once encoded: a format without NaN makes garbage of it."""
        if self._encoder.takes_nan:
            return ticks.kind
        return np.where(ticks.kind == Kind.INVALID, Kind.UNDECODABLE, ticks.kind).astype(np.int8)

    def _values(self, ticks: SimulatedTicks) -> list[bytes]:
        fields = self._encoder.fields  # what is made up may be made up to fit
        values = self._encoder.encode(
            ColumnEncoding(
                names=self._names,
                series=ticks.series,
                time_us=ticks.time_us,
                price=fields.prices.get("price", NumberField()).nearest(ticks.price),
                bid=fields.prices.get("bid", NumberField()).nearest(ticks.bid),
                ask=fields.prices.get("ask", NumberField()).nearest(ticks.ask),
                size=fields.size.nearest(ticks.size),
            )
        )
        for row in np.flatnonzero(self._kinds(ticks) == Kind.UNDECODABLE).tolist():
            values[row] = _NO_TICK + self._garbage.bytes(12)
        return values
