"""An hour at full rate, with readers and a worker killed every five minutes: does anything grow?

    python -m tests.chaos.soak --minutes 60 --report docs/soak.md

Live ticks of thousands of series go through two workers, three readers ask for bars all the time,
and one worker is killed again and again; the other one stays.  Every five minutes a line is
printed; in the end `verify` is run, and it is told whether each of the rules of
`tests.chaos.soak_report` held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.codecs.avro.body import decode_batch
from barstream.kafka.connection import client_options
from barstream.kafka.topics import create
from barstream.model.time import MINUTE_US
from tests.chaos.feed import Feed
from tests.chaos.observation import memory_mib
from tests.chaos.runs.batch import interruptible
from tests.chaos.runs.crew import Crew, Slot
from tests.chaos.runs.judge import verify
from tests.chaos.runs.reads import Reads
from tests.chaos.soak_report import HEAD, Kill, Look, Period, Soak, Spread, findings, line, page
from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import version_asked_for
from tests.pipeline import ROOT, Pipeline

_LOOK_S: Final = 5.0
#: How often it is asked whether a killed worker has caught up, and for how long.
_ASK_S: Final = 1.0
_GIVEN_UP_S: Final = 180.0
#: Of live bars one in so many is enough to tell how late they are.
_ONE_IN: Final = 50
_OPTIONS: Final = {
    "BARS__SCHEDULE": "false", "KAFKA__SESSION_TIMEOUT_S": "10",
    # full before the first third is over, so that what grows after it is something else
    "STORAGE__BLOCK_CACHE_MB": "16", "STORAGE__WRITE_BUFFER_MB": "16",
}  # fmt: skip
_SETTLE_S: Final = 300.0
_VERIFY_S: Final = 3_600
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


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


class Cores:
    """CPU time by who takes it, since it was asked last."""

    def __init__(self, broker_pid: int, slots: Sequence[Slot]) -> None:
        self._broker_pid = broker_pid
        self._slots = slots
        self._before: dict[int, float] = {}
        self._taken: dict[str, float] = {}
        self._asked_s = time.monotonic()

    def look(self) -> None:
        """Add what was taken since the last look; of a process that has ended since then, none."""
        for part, pid in self._processes():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                now_s = (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
                more_s = max(0.0, now_s - self._before.get(pid, 0.0))
                self._taken[part] = self._taken.get(part, 0.0) + more_s
                self._before[pid] = now_s

    def take(self) -> dict[str, float]:
        """Cores by part."""
        now_s = time.monotonic()
        taken, self._taken = self._taken, {}
        elapsed_s, self._asked_s = now_s - self._asked_s, now_s
        return {part: round(seconds / elapsed_s, 3) for part, seconds in taken.items()}

    def _processes(self) -> Iterator[tuple[str, int]]:
        yield "Kafka", self._broker_pid
        yield "feed, readers, latency", os.getpid()
        for slot in self._slots:
            if (worker := slot.worker) is not None:
                yield "workers", worker.process.pid


class Play:
    """The workers, the feed and the readers of one soak, and what is seen of them."""

    def __init__(self, made: Pipeline, broker_pid: int, options: argparse.Namespace) -> None:
        self._made = made
        self._period = options.period
        self._crew = Crew(made, 2)
        self._stays, self._killed = self._crew.slots
        self._feed = Feed(
            made, options.seed, rate=options.rate, speed=0.0, series=options.series,
            decay=1 - 2 / options.series,
        )  # fmt: skip
        self._reads = Reads(self._running, self._feed.names, options.seed, lambda: None)
        self._latency = Latency(made)
        self._cores = Cores(broker_pid, self._crew.slots)
        self._began = 0.0
        self._killed_s: float | None = None
        self.seen = Soak(
            options.minutes, options.rate, options.series, options.kill_every, self._stays.name
        )

    def _running(self) -> list[Any]:
        return [slot.worker for slot in self._crew.running]

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def run(self) -> None:
        """As long as asked for; then all that was sent is applied."""
        try:
            self._crew.start()
            self._crew.settle(_SETTLE_S)
            self._latency.start()
            self._feed.start()
            self._reads.start()
            self._watch()
            self._feed.finish(120)
            with suppress(AssertionError):
                self.seen.settled_s = self._crew.settle(_SETTLE_S)
        finally:
            self._reads.stop()
            self._latency.stop()
            self._feed.abandon()
            self._crew.stop()
            self.seen.ended = [
                f"{slot.name} ended {code}: {words}"
                for slot in self._crew.slots
                for code, words in slot.ended
            ]

    def _watch(self) -> None:
        seen = self.seen
        self._began = time.monotonic()
        self._cores.look()
        self._cores.take()
        every_s = seen.kill_every * 60
        next_kill_s, next_look_s = every_s * 0.6, 0.0
        sent, lines = 0, _log_lines(self._made)
        reads: Counter[str] = Counter()
        while (begin := self._elapsed_s / 60) < seen.minutes:
            period = Period(round(begin, 2), min(begin + self._period, seen.minutes))
            while (elapsed_s := self._elapsed_s) < period.end * 60:
                # the last kill too is to be seen through
                if elapsed_s >= next_kill_s and self._killed_s is None:
                    if seen.minutes * 60 - elapsed_s > every_s * 0.35:
                        self._kill()
                    next_kill_s += every_s
                if elapsed_s >= next_look_s:
                    self._look()
                    next_look_s += _LOOK_S
                self._ask()
                self._feed.check()
                time.sleep(min(_ASK_S, max(0.0, period.end * 60 - self._elapsed_s)))
            period.end = round(self._elapsed_s / 60, 2)
            late = self._latency.take()
            period.final_s, period.live_s = spread_of(late["final"]), spread_of(late["live"])
            period.ticks, sent = self._feed.sent - sent, self._feed.sent
            now_lines = _log_lines(self._made)
            period.log_lines, lines = now_lines - lines, now_lines
            now_reads = Counter(self._reads.outcomes)
            period.reads, reads = dict(now_reads - reads), now_reads
            self._cores.look()
            period.cores = self._cores.take()
            seen.periods.append(period)
            _say(line(period))
        if self._killed_s is not None:
            self._note_kill(None)

    def _kill(self) -> None:
        self._look()
        self._killed_s = self._elapsed_s
        self._killed.end(signal.SIGKILL)

    def _ask(self) -> None:
        """Whether all is again as it was before the kill."""
        if self._killed_s is None:
            return
        took_s = self._elapsed_s - self._killed_s
        if took_s > _GIVEN_UP_S:
            self._note_kill(None)
            return
        numbers = [slot.numbers() for slot in self._crew.slots]
        shares = [each.get("barstream_partitions") for each in numbers]
        if (
            all(each.get("barstream_ready") for each in numbers)
            and all(shares)
            and sum(shares) == self._made.settings.topics.partitions
            and sum(each.get("barstream_lag_records") for each in numbers) <= self.seen.rate
        ):
            self._note_kill(round(self._elapsed_s - self._killed_s, 1))

    def _note_kill(self, caught_up_s: float | None) -> None:
        assert self._killed_s is not None
        self.seen.kills.append(Kill(round(self._killed_s / 60, 2), self._killed.name, caught_up_s))
        self._killed_s = None

    def _look(self) -> None:
        self._cores.look()
        for slot in self._crew.slots:
            if (worker := slot.worker) is None:
                continue
            with suppress(OSError):  # it has ended
                pid = worker.process.pid
                files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                memory = round(memory_mib(pid)[0], 1)
                minutes = round(self._elapsed_s / 60, 3)
                self.seen.looks.append(Look(minutes, slot.name, pid, memory, files))


def _log_lines(made: Pipeline) -> int:
    return sum(
        sum(1 for line in log.open("rb") if line.strip()) for log in made.directory.glob("*.log")
    )


def spread_of(seconds: Sequence[float]) -> Spread | None:
    """Median, 99 % and most; None of nothing."""
    if not seconds:
        return None
    p50, p99, most = np.percentile(seconds, (50, 99, 100)).tolist()
    return round(p50, 3), round(p99, 3), round(most, 3)


def _us(value: Any) -> int:
    return value if isinstance(value, int) else round(value.timestamp() * 1e6)


def _setting(made: Pipeline) -> dict[str, str]:
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%h of %cs"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return {
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{os.cpu_count()} cores, {gib:.0f} GiB, load before it began {load}",
        "versions": f"Apache Kafka {version_asked_for()}, Python {platform.python_version()}",
        "pipeline": (
            f"{made.settings.topics.partitions} partitions, minutes and "
            f"{', '.join(made.settings.bars.timeframes)}, session timeout "
            f"{made.settings.kafka.session_timeout_s:g} s"
        ),
    }


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Play one; 0 when every rule held, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=20_000, help="ticks a second")
    parser.add_argument("--series", type=int, default=5_000)
    parser.add_argument("--kill-every", type=float, default=5, help="minutes")
    parser.add_argument("--period", type=float, default=5, help="minutes of a line of the table")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="write the page that tells it, as docs/soak.md")
    parser.add_argument("--json", type=Path, help="write all that was seen here")
    parser.add_argument("--keep", type=Path, help="keep logs and data of the workers here")
    options = parser.parse_args(arguments)
    interruptible()
    with KafkaCluster() as broker, tempfile.TemporaryDirectory(prefix="barstream-soak-") as place:
        directory = options.keep or Path(place)
        directory.mkdir(parents=True, exist_ok=True)
        made = Pipeline(broker.bootstrap, f"soak{options.seed}", directory, dict(_OPTIONS))
        asyncio.run(create(made.settings))
        play = Play(made, broker.nodes[0].pid, options)
        seen = play.seen
        seen.setting = _setting(made)
        _say(HEAD)
        play.run()
        found = verify(made, _VERIFY_S)
        seen.verify = (found.code, found.summary)
        for said in (found.said.strip(), *found.differences[:20]) if found.code else ():
            _say(said)
    if options.json:
        options.json.write_text(json.dumps(asdict(seen), indent=1))
    if options.report:
        options.report.write_text(page(seen))
    judged = findings(seen)
    for each in judged:
        _say(f"{'holds ' if each.holds else 'FAILS '} {each.what}: {each.seen} (rule: {each.rule})")
    return 0 if all(each.holds for each in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
