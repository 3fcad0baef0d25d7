"""Every peer of the benchmark makes the bars that a trader would: one small log, one expectation.

Two of them run with every test; `make peers` runs all, and builds what they need.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import fastavro
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from barstream.codecs.avro.body import encode
from barstream.model.key import series_key, split_series_key
from barstream.model.time import MINUTE_US
from bench.peers.catalogue import PEERS, ROOT, KafkaUnavailableError, Peer, ensure_built
from bench.peers.records import BAR_SCHEMA

#: They start in seconds and stand for the others: one in Java, one in Python.
ALWAYS: Final = ("kafka_streams_live", "plain_faust")
ALL: Final = os.environ.get("BARSTREAM_PEERS") == "1"
PARTITIONS: Final = 2
GRACE_MS: Final = 5_000
#: What comes out of order does so by less than the grace, also across the series of a partition.
JITTER_US: Final = 4_000_000
START_US: Final = 1_700_000_040_000_000 // MINUTE_US * MINUTE_US
MINUTES: Final = 5
SERIES: Final = tuple(series_key("SIM", f"S{number}") for number in range(6))
LATE: Final = SERIES[0]
DEADLINE_S: Final = 90.0

Bar = tuple[float, float, float, float, float, int]
#: Bars by key of the series and minute, in microseconds.
Bars = dict[tuple[bytes, int], Bar]


@dataclass
class Feed:
    """Records by partition, in order, and the bars they make."""

    records: list[list[tuple[bytes, bytes]]] = field(
        default_factory=lambda: [[] for _ in range(PARTITIONS)]
    )
    ticks: dict[tuple[bytes, int], list[tuple[int, int, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    bad: int = 0

    def tick(self, series: bytes, time_us: int, price: float, size: float) -> None:
        row = self.row(series, time_us, price, size)
        place = self.send(series, encode("tick", row))
        if not (series == LATE and time_us < START_US):
            minute = time_us // MINUTE_US * MINUTE_US
            self.ticks[series, minute].append((time_us, place, price, size))

    def broken(self, series: bytes, value: bytes) -> None:
        self.bad += 1
        self.send(series, value)

    def send(self, series: bytes, value: bytes) -> int:
        log = self.records[SERIES.index(series) % PARTITIONS]
        log.append((series, value))
        return len(log)

    @staticmethod
    def row(series: bytes, time_us: int, price: float, size: float) -> dict[str, Any]:
        broker, symbol = split_series_key(series)
        return {"broker": broker, "symbol": symbol, "time": time_us, "price": price, "size": size}

    def bars(self) -> Bars:
        made: Bars = {}
        for key, ticks in self.ticks.items():
            prices = [price for _, _, price, _ in sorted(ticks)]
            volume = math.fsum(size for *_, size in ticks)
            made[key] = (prices[0], max(prices), min(prices), prices[-1], volume, len(ticks))
        return made


def feed() -> Feed:
    """Some 2,000 ticks of five minutes, then two closing ticks of each series."""
    made, rng = Feed(), random.Random(7)
    end = START_US + MINUTES * MINUTE_US
    times = sorted(rng.randrange(START_US, end) // 1000 * 1000 for _ in range(2_000))
    for number, due_us in enumerate(times):
        series = rng.choice(SERIES)
        out_of_order = rng.random() < 0.1
        time_us = max(START_US, due_us - rng.randrange(JITTER_US)) if out_of_order else due_us
        price, size = rng.randrange(80, 120) / 4, rng.randrange(40) / 4
        for _ in range(2 if rng.random() < 0.02 else 1):
            made.tick(series, time_us, price, size)
        if rng.random() < 0.05:  # another price at the same time: the offset decides
            made.tick(series, time_us, price + 1, size)
        if number % 100 == 50:
            whole = encode("tick", made.row(series, time_us, price, size))
            made.broken(series, rng.choice(garbage(whole)))
    made.tick(LATE, START_US - MINUTE_US, 1.0, 1.0)
    for minutes in (10, 20):
        for number, series in enumerate(SERIES):
            made.tick(series, end + minutes * MINUTE_US, 1_000.0 + number, 0.0)
    return made


def garbage(whole: bytes) -> list[bytes]:
    numbers = Feed.row(SERIES[1], START_US, 1.0, 1.0)
    return [
        b"", b"\xff\xff\xff\x7fgarbage", whole[:-1], whole + b"\0",
        # the encoder of barstream takes what is no tick as well: its decoder is who refuses
        encode("tick", numbers | {"price": math.nan}),
        encode("tick", numbers | {"size": -1.0}),
        encode("tick", numbers | {"time": -1}),
    ]  # fmt: skip


@dataclass(frozen=True)
class Log:
    """A topic of ticks that has been filled, and what they make."""

    bootstrap: str
    topic: str
    feed: Feed


async def make_topic(bootstrap: str, name: str, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        made = await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=config)])
        assert [code for _, code, *_ in made.topic_errors] == [0]
    finally:
        await admin.close()


async def fill(bootstrap: str, topic: str, made: Feed) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for partition, records in enumerate(made.records):
            for key, value in records:
                await producer.send(topic, value, key=key, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


@pytest.fixture(scope="module")
def log(kafka: Any) -> Log:
    topic = f"peers-{random.SystemRandom().randrange(1 << 30)}"
    made = feed()
    asyncio.run(make_topic(kafka.bootstrap, topic))
    asyncio.run(fill(kafka.bootstrap, topic, made))
    return Log(kafka.bootstrap, topic, made)


@pytest.fixture
def start(log: Log, unique: str, tmp_path: Path) -> Iterator[Callable[[Peer, str], PeerProcess]]:
    running: list[PeerProcess] = []

    def started(peer: Peer, bars: str) -> PeerProcess:
        line = peer.arguments(
            bootstrap=log.bootstrap, ticks=log.topic, bars=bars, app_id=unique, state=tmp_path,
            grace_ms=GRACE_MS,
        )  # fmt: skip
        output = tmp_path / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(line, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        running.append(PeerProcess(process, output))
        return running[-1]

    yield started
    for each in running:
        each.process.kill()
        each.process.wait(20)


@dataclass
class PeerProcess:
    process: subprocess.Popen[bytes]
    output: Path

    def said(self) -> list[dict[str, Any]]:
        """Its own lines of standard output."""
        lines = self.output.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"event"')]

    def check(self) -> None:
        assert self.process.poll() is None, self.output.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0, self.output.read_text(errors="replace")[-3000:]


class Reader:
    """The bars of a topic as they come, committed ones only."""

    def __init__(self) -> None:
        self.bars: Bars = {}
        self.records = 0
        self._schema = fastavro.parse_schema(json.loads(BAR_SCHEMA.read_text()))

    def take(self, key: bytes, value: bytes) -> None:
        body = BytesIO(value)
        row: Any = fastavro.schemaless_reader(body, self._schema, None)
        assert body.tell() == len(value)
        assert split_series_key(key) == (row["broker"], row["symbol"])
        start_us = round(row["bucket_start"].timestamp() * 1_000_000)
        names = ("open", "high", "low", "close", "volume", "tick_count")
        open_, high, low, close, volume, count = (row[name] for name in names)
        self.bars[key, start_us] = (open_, high, low, close, volume, count)
        self.records += 1

    async def read(self, log: Log, topic: str, wanted: Bars, peer: PeerProcess) -> None:
        """Until the bars that are wanted are there, and a moment longer."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=log.bootstrap, isolation_level="read_committed"
        )
        await consumer.start()
        try:
            places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            deadline = time.monotonic() + DEADLINE_S
            while time.monotonic() < deadline:
                peer.check()
                was = self.records
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        self.take(record.key, record.value)
                if self.records == was and wanted.items() <= self.bars.items():
                    return
        finally:
            await consumer.stop()


def expected(peer: Peer, made: Feed) -> Bars:
    """What is there in the end; the second closing ticks have nothing after them to close them."""
    bars = made.bars()
    if peer.emits == "final":
        last = max(start for _, start in bars)
        bars = {key: bar for key, bar in bars.items() if key[1] != last}
    return bars


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                not ALL and name not in ALWAYS, reason="all peers: run with make peers"
            ),
        )
        for name in PEERS
    ],
)
def test_a_peer_makes_the_bars_of_a_trader(
    name: str, log: Log, start: Callable[[Peer, str], PeerProcess], unique: str
) -> None:
    peer = PEERS[name]
    try:
        ensure_built([name])
    except KafkaUnavailableError as error:
        if os.environ.get("CI") == "true" or os.environ.get("BARSTREAM_REQUIRE_KAFKA") == "1":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    topic = f"{unique}-bars"
    config = {"message.timestamp.type": "LogAppendTime"}
    asyncio.run(make_topic(log.bootstrap, topic, **config))
    process = start(peer, topic)
    wanted, reader = expected(peer, log.feed), Reader()
    asyncio.run(reader.read(log, topic, wanted, process))
    # Flink looks at the time every 50 ms: what is late depends on how fast it reads.
    stray = {key for key in reader.bars if key == (LATE, START_US - MINUTE_US)}
    assert not stray or name == "flink"
    assert {key: bar for key, bar in reader.bars.items() if key not in stray} == wanted
    if peer.emits == "final":
        assert reader.records == len(reader.bars)
    process.stop()
    said = process.said()
    assert [line["event"] for line in said] == ["assigned", "ended"]
    assert said[1]["skipped"] == log.feed.bad
