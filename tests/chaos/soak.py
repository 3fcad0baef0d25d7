"""An hour at full rate, with readers and a worker killed every five minutes: does anything grow?

    python -m tests.chaos.soak --minutes 60

Live ticks of thousands of series go through two workers, three readers ask for bars all the time,
and one worker is killed again and again; the other one stays, and it is looked at.  Every five
minutes a line is printed: its memory and open files, lines that the workers have logged, and how
long after its minute a final, and after its newest tick a live bar, was in Kafka.  In the end it
is told whether the last third of the time was like the middle one, and `verify` is run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.codecs.avro import decode_batch
from barstream.core.time import MINUTE_US
from barstream.kafka import client_options
from barstream.topics import create
from tests.chaos.feed import Feed
from tests.chaos.observed import memory_mib
from tests.chaos.runs.batch import interruptible
from tests.chaos.runs.crew import Crew, Slot
from tests.chaos.runs.judge import verify
from tests.chaos.runs.reads import Reads
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline

_LOOK_S: Final = 5.0
#: Of live bars one in so many is enough to tell how late they are.
_ONE_IN: Final = 50
_OPTIONS: Final = {"BARS__SCHEDULE": "false", "KAFKA__SESSION_TIMEOUT_S": "10"}
_SETTLE_S: Final = 300.0
#: What the last third of the time may have more of than the middle one: memory of bars that are
#: open, and buffers, which both fill for an hour.
_MEMORY_RATIO: Final = 1.1
_MORE_MIB: Final = 24
_MORE_FILES: Final = 128
_RATIO: Final = 2.0
_MORE_LINES: Final = 50
_MORE_S: Final = 1.0


@dataclass
class Period:
    """What was seen in some minutes.

    Attributes:
        minutes: from the beginning to its end.
        ticks: that were acknowledged in it.
        memory_mib: the most that the worker that stays had.
        descriptors: its files, the most of them.
        log_lines: of all workers.
        kills: of the other one.
        final_s: from the end of the grace until a final was in Kafka: median, 99 %, most.
        live_s: from the newest tick of a live bar until that was in Kafka: median, 99 %, most.
        reads: answers by status.
    """

    minutes: float
    ticks: int = 0
    memory_mib: float = 0.0
    descriptors: int = 0
    log_lines: int = 0
    kills: int = 0
    final_s: tuple[float, float, float] | None = None
    live_s: tuple[float, float, float] | None = None
    reads: dict[str, int] = field(default_factory=dict)

    def line(self) -> str:
        """Of the table."""
        return (
            f"{self.minutes:5.1f} {self.ticks:11,} {self.memory_mib:7.0f} {self.descriptors:6} "
            f"{self.log_lines:6} {self.kills:5}  "
            f"{_seconds(self.final_s)}  {_seconds(self.live_s)}  "
            + " ".join(f"{status}:{count}" for status, count in sorted(self.reads.items()))
        )


HEAD: Final = (
    "  min       ticks  memory  files  lines kills  final: 50 %, 99 %, most    "
    "live: 50 %, 99 %, most     reads"
)


class Latency(threading.Thread):
    """Follows finals of minutes and some of the live bars, and keeps how late they were."""

    def __init__(self, made: Pipeline) -> None:
        super().__init__(name="latency", daemon=True)
        self._made = made
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._late: dict[str, list[float]] = {"final": [], "live": []}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._follow())
        except BaseException as error:  # noqa: BLE001  raised where it is asked for
            self.failure = error

    def stop(self) -> None:
        """Follow no more."""
        self._stopping.set()
        self.join(20)

    def take(self) -> dict[str, list[float]]:
        """Seconds since it was asked last, by kind."""
        if self.failure is not None:
            raise self.failure
        with self._lock:
            taken, self._late = self._late, {"final": [], "live": []}
        return taken

    async def _follow(self) -> None:
        names = self._made.names
        grace_us = self._made.settings.bars.grace_us
        async with AIOKafkaConsumer(
            **client_options(self._made.settings), isolation_level="read_committed",
            enable_auto_commit=False, auto_offset_reset="latest",
        ) as consumer:  # fmt: skip
            partitions = range(self._made.settings.topics.partitions)
            # of live bars one partition will do
            consumer.assign(
                [TopicPartition(names.live_1m, 0)]
                + [TopicPartition(names.final_1m, partition) for partition in partitions]
            )
            while not self._stopping.is_set():
                for place, records in (await consumer.getmany(timeout_ms=500)).items():
                    self._note(records, grace_us, is_live=place.topic == names.live_1m)

    def _note(self, records: Sequence[Any], grace_us: int, *, is_live: bool) -> None:
        some = [record for record in (records[::_ONE_IN] if is_live else records) if record.value]
        if not some:
            return
        bars = decode_batch("bar", [record.value for record in some]).to_pydict()
        written = [record.timestamp * 1000 for record in some]
        if is_live:
            # a bar that turned final is written as live once more
            late = [
                at - _us(close)
                for at, close, start in zip(
                    written, bars["close_time"], bars["bucket_start"], strict=True
                )
                if close is not None and at < _us(start) + MINUTE_US
            ]
        else:
            due = [_us(start) + MINUTE_US + grace_us for start in bars["bucket_start"]]
            late = [at - when for at, when in zip(written, due, strict=True)]
        with self._lock:
            self._late["live" if is_live else "final"] += [each / 1e6 for each in late]


class Soak:
    """The workers, the feed and the readers of one run, and what was seen of them."""

    def __init__(self, made: Pipeline, options: argparse.Namespace) -> None:
        self._made = made
        self._options = options
        self.crew = Crew(made, 2)
        self.feed = Feed(
            made, options.seed, rate=options.rate, speed=0.0, series=options.series,
            decay=1 - 2 / options.series,
        )  # fmt: skip
        self._reads = Reads(self._running, self.feed.names, options.seed, lambda: None)
        self._latency = Latency(made)
        self.periods: list[Period] = []

    def _running(self) -> list[Any]:
        return [slot.worker for slot in self.crew.running]

    def run(self) -> None:
        """As long as asked for; then all that was sent is applied."""
        try:
            self.crew.start()
            self.crew.settle(_SETTLE_S)
            self._latency.start()
            self.feed.start()
            self._reads.start()
            self._watch()
            self.feed.finish(120)
            self.crew.settle(_SETTLE_S)
        finally:
            self._reads.stop()
            self._latency.stop()
            self.feed.abandon()
            self.crew.stop()

    def _watch(self) -> None:
        options = self._options
        began = time.monotonic()
        stays, killed = self.crew.slots
        next_kill_s = options.kill_every * 60 * 0.6
        sent = lines = 0
        reads: dict[str, int] = {}
        while (minutes := (time.monotonic() - began) / 60) < options.minutes:
            period = Period(min(minutes + options.period, options.minutes))
            while (elapsed_s := time.monotonic() - began) < period.minutes * 60:
                if elapsed_s >= next_kill_s:
                    killed.end(signal.SIGKILL)
                    period.kills += 1
                    next_kill_s += options.kill_every * 60
                self.feed.check()
                _weigh(stays, period)
                time.sleep(min(_LOOK_S, max(0.0, period.minutes * 60 - elapsed_s)))
            late = self._latency.take()
            period.final_s, period.live_s = _spread(late["final"]), _spread(late["live"])
            period.ticks, sent = self.feed.sent - sent, self.feed.sent
            now_lines = _log_lines(self._made)
            period.log_lines, lines = now_lines - lines, now_lines
            now = dict(self._reads.outcomes)
            period.reads = {key: count - reads.get(key, 0) for key, count in now.items()}
            reads = now
            self.periods.append(period)
            _say(period.line())


def growths(periods: Sequence[Period]) -> list[str]:
    """What was more in the last third of the time than in the middle one, by more than it may."""
    third = len(periods) // 3
    if third == 0:
        return [f"too short to tell: three periods at least, {len(periods)} were seen"]
    before, after = periods[-2 * third : -third], periods[-third:]
    rules: tuple[tuple[str, Any, float, float], ...] = (
        ("memory (MiB)", lambda p: p.memory_mib, _MEMORY_RATIO, _MORE_MIB),
        ("open files", lambda p: p.descriptors, 1, _MORE_FILES),
        ("log lines", lambda p: p.log_lines, _RATIO, _MORE_LINES),
        ("finals, 99 % (s)", lambda p: p.final_s[1] if p.final_s else 0, _RATIO, _MORE_S),
        ("live bars, median (s)", lambda p: p.live_s[0] if p.live_s else 0, _RATIO, _MORE_S),
    )
    found = []
    for what, value, ratio, more in rules:
        was, now = max(map(value, before)), max(map(value, after))
        if now > was * ratio + more:
            found.append(f"{what}: {was:.6g} in the middle third, {now:.6g} in the last")
    return found


def _weigh(slot: Slot, period: Period) -> None:
    worker = slot.worker
    if worker is None:
        return
    with suppress(OSError):  # it has ended
        pid = worker.process.pid
        period.memory_mib = max(period.memory_mib, memory_mib(pid)[0])
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        period.descriptors = max(period.descriptors, files)


def _log_lines(made: Pipeline) -> int:
    return sum(
        sum(1 for line in log.open("rb") if line.strip()) for log in made.directory.glob("*.log")
    )


def _spread(seconds: list[float]) -> tuple[float, float, float] | None:
    if not seconds:
        return None
    p50, p99, most = np.percentile(seconds, (50, 99, 100)).tolist()
    return round(p50, 3), round(p99, 3), round(most, 3)


def _seconds(spread: tuple[float, float, float] | None) -> str:
    return " " * 24 if spread is None else "".join(f"{each:8.3f}" for each in spread)


def _us(value: Any) -> int:
    return value if isinstance(value, int) else round(value.timestamp() * 1e6)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Play one; 0 when nothing has grown, nobody ended by itself and `verify` is clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=20_000, help="ticks a second")
    parser.add_argument("--series", type=int, default=5_000)
    parser.add_argument("--kill-every", type=float, default=5, help="minutes")
    parser.add_argument("--period", type=float, default=5, help="minutes of a line of the table")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-verify", action="store_true", help="an hour of ticks takes minutes")
    parser.add_argument("--report", type=Path, help="write what was seen here, as JSON")
    options = parser.parse_args(arguments)
    interruptible()
    with KafkaCluster() as broker, tempfile.TemporaryDirectory(prefix="barstream-soak-") as place:
        made = Pipeline(broker.bootstrap, f"soak{options.seed}", Path(place), dict(_OPTIONS))
        asyncio.run(create(made.settings))
        soak = Soak(made, options)
        _say(HEAD)
        soak.run()
        problems = [
            f"{slot.name} ended by itself: {code} {words}"
            for slot in soak.crew.slots
            for code, words in slot.ended
        ]
        if not options.no_verify:
            found = verify(made, 3_600)
            _say(f"verify ended {found.code}: {json.dumps(found.summary)}")
            if found.code:
                problems += [found.said, *found.differences[:20]]
    grown = growths(soak.periods)
    if options.report:
        told = {"periods": [asdict(each) for each in soak.periods], "grown": grown}
        options.report.write_text(json.dumps(told | {"problems": problems}, indent=1))
    for line in problems:
        _say(f"PROBLEM {line}")
    _say("flat" if not grown else "not flat: " + "; ".join(grown))
    return 1 if problems or grown else 0


if __name__ == "__main__":
    sys.exit(main())
