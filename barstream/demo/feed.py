"""The demo's feed: first the tape, as fast as Kafka takes it, then the market by the clock."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Self

from barstream.demo.sandbox import Sandbox
from barstream.demo.tape import Tape
from barstream.demo.venue import BROKER
from barstream.errors import BarstreamError
from barstream.feeds.column_encoder import tick_encoder
from barstream.feeds.progress import Silent
from barstream.feeds.simulated_ticks import Simulation, SimulationRules
from barstream.feeds.simulation import SimulatedFeed
from barstream.kafka.clients import KafkaError
from barstream.kafka.cluster import Cluster

WRONG_EVERY_S: Final = 120.0
"""Between two late ticks, and between two that are rejected, pass so many seconds on average."""
_LARGEST_SHARE: Final = 0.02
_POLL_S: Final = 0.02


class FeedFailedError(BarstreamError):
    """The demo's feed could not go on: the message says why, the broker's log may say more."""


class DemoFeed:
    """A feed in this process; leaving the context ends it.

    Args:
        sandbox: where it sends.
        rate_per_s: ticks over all series, on average over a day.
    """

    def __init__(self, sandbox: Sandbox, rate_per_s: float) -> None:
        self._sandbox = sandbox
        self._rate_per_s = rate_per_s
        self._feed: SimulatedFeed | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, tape: Tape, seed: int) -> None:
        """Send the tape and go live; returns when the tape is in Kafka, or the sandbox stops.

        Raises:
            FeedFailedError: the broker did not take it.
            BarstreamError: another part ended.
        """
        settings = self._sandbox.settings
        cluster = Cluster(settings)
        share = min(_LARGEST_SHARE, 1 / (WRONG_EVERY_S * self._rate_per_s))
        rules = SimulationRules(
            series=len(tape.market.symbols),
            rate_per_s=self._rate_per_s,
            seed=seed,
            grace_us=settings.bars.grace_us,
            out_of_order_share=0.03,
            duplicate_share=0.002,
            late_share=share,
            bad_share=share,
        )
        self._feed = SimulatedFeed(
            Simulation(rules, tape.market),
            broker=BROKER,
            partitions=settings.topics.partitions,
            encoder=await tick_encoder(settings.ticks, cluster.names.ticks),
            cluster=cluster,
            watcher=Silent(),
        )
        sent = asyncio.Event()
        self._task = asyncio.create_task(self._feed.onward(tape.ticks, tape.until_us, sent.set))
        while not sent.is_set() and not self._sandbox.stopped:
            self._sandbox.check()
            self.check()
            await self._sandbox.sleep(_POLL_S)

    def check(self) -> None:
        """Raise when the feed has ended by itself.

        Raises:
            FeedFailedError: with the reason.
        """
        if self._task is None or not self._task.done():
            return
        error = self._task.exception()
        if isinstance(error, KafkaError):
            raise FeedFailedError(
                f"the demo's feed must go on, but the broker refused its ticks: {error!r}"
            ) from error
        self._task.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._feed is not None and self._task is not None:
            self._feed.stop()
            # What it failed of is said by `check`, or does not matter at the end.
            with suppress(KafkaError):
                await self._task
