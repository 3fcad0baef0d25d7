"""A worker looked at from outside while it works: memory, answers, and whether its lag is true."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.codecs.topics.state import POSITION_KEY, decode_position
from barstream.kafka.connection import client_options
from tests.pipeline import Pipeline, WorkerProcess

_LAG: Final = re.compile(
    r'^barstream_lag_records\{partition="(\d+)",topic="([^"]+)"\} (\S+)', re.MULTILINE
)
_TICKS: Final = re.compile(r"^barstream_ticks_total\{[^}]*\} (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """One look: what the worker said between ``before_ms`` and ``after_ms``, and what was true.

    ``lag`` and ``ends`` are of the tick topic, by partition; an end is the range in which it lay
    while the worker answered.
    """

    before_ms: float
    after_ms: float
    answer_s: float
    rss_mib: float
    peak_mib: float
    ticks: float
    lag: dict[int, int]
    ends: dict[int, tuple[int, int]]


@dataclass
class Observer:
    """Looks at a worker every ``every_s`` seconds, in a thread of its own, while it is entered."""

    made: Pipeline
    worker: WorkerProcess
    every_s: float = 0.5
    samples: list[Sample] = field(default_factory=list)
    #: Answers to /health/live that took longest, or failed (infinite).
    health_s: list[float] = field(default_factory=list)
    failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            asyncio.run(self._observe())
        except BaseException as error:  # noqa: BLE001  the test that reads the samples raises it
            self.failure = error

    async def _observe(self) -> None:
        consumer = AIOKafkaConsumer(**client_options(self.made.settings), enable_auto_commit=False)
        await consumer.start()
        topic = self.made.names.ticks
        places = [TopicPartition(topic, p) for p in range(self.made.settings.topics.partitions)]
        base = f"http://127.0.0.1:{self.worker.port}"
        timeout = aiohttp.ClientTimeout(total=60)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                while not self._stop.is_set() and self.worker.process.poll() is None:
                    began = time.monotonic()
                    self.health_s.append(await self._health(session, base))
                    await self._look(session, base, consumer, places)
                    await asyncio.sleep(max(0.0, self.every_s - (time.monotonic() - began)))
        finally:
            await consumer.stop()

    async def _health(self, session: aiohttp.ClientSession, base: str) -> float:
        began = time.monotonic()
        try:
            async with session.get(f"{base}/health/live") as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return float("inf")
        return time.monotonic() - began

    async def _look(
        self,
        session: aiohttp.ClientSession,
        base: str,
        consumer: AIOKafkaConsumer,
        places: list[TopicPartition],
    ) -> None:
        low: dict[TopicPartition, int] = await consumer.end_offsets(places)
        before = time.time()
        try:
            async with session.get(f"{base}/metrics") as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return
        after = time.time()
        high: dict[TopicPartition, int] = await consumer.end_offsets(places)
        rss, peak = memory_mib(self.worker.process.pid)
        lag = {
            int(partition): int(float(value))
            for partition, topic, value in _LAG.findall(text)
            if topic == self.made.names.ticks
        }
        self.samples.append(
            Sample(
                before * 1000, after * 1000, after - before, rss, peak,
                sum(float(value) for value in _TICKS.findall(text)), lag,
                {tp.partition: (low[tp], high[tp]) for tp in places},
            )
        )  # fmt: skip

    def untrue_lags(self, slack_s: float = 0.0) -> list[str]:
        """Every lag shown that cannot have been true, told by the position rows in the log.

        What was applied when the worker answered is at least the last position committed before,
        and at most the second one committed after: the first may belong to a flush that had
        begun already.  ``slack_s``: the end offset may be so much older than the answer.
        """
        rows = positions(self.made)
        found: list[str] = []
        for number, sample in enumerate(self.samples):
            for partition, shown in sample.lag.items():
                stamps = [stamp for stamp, _ in rows[partition]]
                before = bisect_left(stamps, sample.before_ms - 1) - 1
                after = bisect_left(stamps, sample.after_ms + 1) + 1
                applied = rows[partition][before][1] if before >= 0 else 0
                later = rows[partition][after][1] if after < len(stamps) else None
                end = sample.ends[partition]
                floor = self._end_before(number, partition, sample.before_ms - 1000 * slack_s)
                low = 0 if later is None else max(0, floor - later)
                if not low <= shown <= end[1] - applied:
                    found.append(
                        f"[{partition}] shown {shown}, true {low} to {end[1] - applied} "
                        f"(end {floor} to {end[1]}, applied {applied} to {later})"
                    )
        return found

    def _end_before(self, number: int, partition: int, ms: float) -> int:
        """The end offset as it was at ``ms`` or, at least, at some look before."""
        while number >= 0 and self.samples[number].before_ms > ms:
            number -= 1
        return self.samples[number].ends[partition][0] if number >= 0 else 0


def positions(made: Pipeline) -> dict[int, list[tuple[int, int]]]:
    """By partition: (append time in ms, next offset of ticks) of every position row in the log."""
    found: dict[int, list[tuple[int, int]]] = {
        partition: [] for partition in range(made.settings.topics.partitions)
    }
    for record in made.read(made.names.series):
        if record.key == POSITION_KEY and record.value is not None:
            row = decode_position(record.value)
            found[record.partition].append((record.timestamp_ms, row.next_offset))
    return found


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory of a process now and at its peak."""
    text = Path(f"/proc/{pid}/status").read_text()
    found: dict[str, Any] = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", text, re.MULTILINE))
    return int(found.get("VmRSS", 0)) / 1024, int(found.get("VmHWM", 0)) / 1024
