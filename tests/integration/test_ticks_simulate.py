"""``ticks simulate`` on real Kafka: the counts it prints are what a worker would find."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barstream.clock import system_clock_us
from barstream.codecs.ticks.decoder import TickDecoder
from barstream.feeds.column_encoder import tick_encoder
from barstream.feeds.progress import Silent
from barstream.feeds.simulated_ticks import Simulation, SimulationRules
from barstream.feeds.simulation import SimulatedFeed
from barstream.kafka.cluster import Cluster
from barstream.kafka.partitioner import default_partition
from barstream.kafka.topics.names import TopicNames
from barstream.model.key import series_key
from barstream.model.time import SECOND_US
from tests.integration.loads import PARTITIONS, create_topics, read_all, settings_for
from tests.pipeline import until

pytestmark = pytest.mark.kafka

SHARES = (
    "--bad-share=0.06",
    "--late-share=0.02",
    "--duplicate-share=0.01",
    "--out-of-order-share=0.05",
)


def simulate(bootstrap: str, unique: str, *arguments: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BARSTREAM_")}
    environment |= {
        "BARSTREAM_BOOTSTRAP": bootstrap,
        "BARSTREAM_TOPICS__TICKS": f"{unique}-ticks",
        "PYTHONPATH": str(root),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "barstream", "ticks", "simulate", "--json", *arguments],
        stdout=subprocess.PIPE, text=True, env=environment, cwd=root,
    )  # fmt: skip


def test_the_counts_are_what_the_decoder_finds(kafka: Any, unique: str) -> None:
    async def read() -> None:
        await create_topics(settings)

    settings = settings_for(kafka.bootstrap, unique)
    asyncio.run(read())
    process = simulate(
        kafka.bootstrap, unique, "--fast", "--count=30000", "--series=40", "--rate=500", *SHARES
    )
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    counts = json.loads(said)
    records = asyncio.run(read_all(kafka.bootstrap, TopicNames.of(settings).ticks))
    assert counts["ticks"] == len(records) == 30_000
    stamps = np.array([record.appended_us for record in records])
    found = TickDecoder(settings.ticks).decode([record.value for record in records], stamps)
    reasons = Counter(rejected.reason for rejected in found.rejected)
    for reason in ("undecodable", "invalid", "future"):
        assert reasons[reason] == counts["rejected"][reason] > 0  # type: ignore[index]
    assert counts["late"] > 0
    assert len(found) == 30_000 - sum(reasons.values())
    for record in records[:200]:
        assert record.partition == default_partition(record.key, PARTITIONS)
    assert records[0].key.startswith(series_key("SIM", ""))


def test_a_feed_by_the_clock_stamps_ticks_with_now_and_stops_in_good_order(
    kafka: Any, unique: str
) -> None:
    settings = settings_for(kafka.bootstrap, unique)
    asyncio.run(create_topics(settings))
    topic = TopicNames.of(settings).ticks
    process = simulate(kafka.bootstrap, unique, "--rate=300")
    # not after a time: on a busy machine it may not even have begun
    until(lambda: len(asyncio.run(read_all(kafka.bootstrap, topic))) > 100, 60, "some ticks")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    records = asyncio.run(read_all(kafka.bootstrap, topic))
    assert json.loads(said)["ticks"] == len(records) > 100
    stamps = np.array([record.appended_us for record in records])
    found = TickDecoder(settings.ticks).decode([record.value for record in records], stamps)
    delays = (stamps - found.time_us) / 1e6
    assert delays.min() > -0.5
    assert delays.max() < 2.5


def test_a_feed_that_goes_on_with_a_past_leaves_no_stretch_out(kafka: Any, unique: str) -> None:
    """
    ::

        the past           | made up at once  | by the clock
        x x x x x x x x x x|x x x x x x x x x S x x x x     S: a tick of every series
                           4 s ago           now
    """
    settings = settings_for(kafka.bootstrap, unique)
    rules = SimulationRules(series=4, rate_per_s=300, intraday=False)
    until_us = system_clock_us() - 4 * SECOND_US
    past = Simulation(rules).step(until_us - 10 * SECOND_US, until_us, until_us)

    class Reached(Silent):
        """Sets an event when so many ticks are in Kafka."""

        def __init__(self, ticks: int) -> None:
            self.reached = asyncio.Event()
            self._left = ticks

        def advance(self, ticks: int) -> None:
            self._left -= ticks
            if self._left <= 0:
                self.reached.set()

    async def send() -> None:
        watcher = Reached(len(past) + 4 * 300 + 100)
        topic = TopicNames.of(settings).ticks
        await create_topics(settings)
        feed = SimulatedFeed(
            Simulation(rules),
            broker="SIM",
            partitions=PARTITIONS,
            encoder=await tick_encoder(settings.ticks, topic),
            cluster=Cluster(settings),
            watcher=watcher,
        )
        sent = asyncio.Event()
        task = asyncio.create_task(feed.onward(past, until_us, sent.set))
        async with asyncio.timeout(20):
            await sent.wait()
            await watcher.reached.wait()
            feed.stop()
            await task

    asyncio.run(send())
    records = asyncio.run(read_all(kafka.bootstrap, TopicNames.of(settings).ticks))
    stamps = np.array([record.appended_us for record in records])
    found = TickDecoder(settings.ticks).decode([record.value for record in records], stamps)
    times, counts = np.unique(found.time_us, return_counts=True)
    [snapshot_us, *_] = times[counts >= 4]
    between = times[(times >= until_us - SECOND_US) & (times <= snapshot_us)]
    assert snapshot_us >= until_us + 4 * SECOND_US
    assert np.diff(between).max() < SECOND_US / 2
