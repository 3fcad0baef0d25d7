"""From `kill -9` to all series live again: with and without local state, and with a standby.

    python -m bench.recovery --series 500 10000        # table in Markdown, as in docs/recovery.md
    python -m bench.recovery --series 500 --json

Workers on Apache Kafka apply a history of one tick a minute and series.  One is killed, at once
three more minutes of every series are written, and the next worker is started or the other one
takes over.  A series is live again when the first minute of those is final in Kafka.  What is
stated are ratios of one run; seconds are of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.kafka.connection import client_options
from barstream.model.key import split_bar_key
from barstream.model.time import MINUTE_US
from bench.workload import START_US, produce
from tests.chaos.drill import metric
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline, WorkerProcess, until

#: Minutes of history: a day for hundreds of series, hours for many.
HISTORY_ROWS = 720_000
LONGEST, SHORTEST = 1440, 120
AFTER = 3
_PARTITIONS = 4


@dataclass(frozen=True)
class Outcome:
    """One way to come back.

    Attributes:
        rows: in the changelogs of all partitions: finals of all timeframes and the series.
        restored: rows read back by whoever took over.
        ready_s: until it answered reads of what was lost.
        half_s, live_s: until half of the series, and all of them, were live again.
    """

    way: str
    series: int
    minutes: int
    rows: int
    restored: int
    restore_s: float
    ready_s: float
    half_s: float
    live_s: float


class Bench:
    """Workers of one number of series on one broker."""

    def __init__(self, bootstrap: str, directory: Path, series: int, minutes: int) -> None:
        self.series = series
        self.minutes = minutes
        self._bootstrap = bootstrap
        self._directory = directory

    def pipeline(self, name: str, **options: str) -> Pipeline:
        """Topics, and the history in them."""
        directory = self._directory / name
        directory.mkdir()
        made = Pipeline(
            self._bootstrap, f"recovery{secrets.token_hex(3)}", directory,
            {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": str(_PARTITIONS), **options},
        )  # fmt: skip
        made.run("topics", "create")
        self.write(made, 0, self.minutes)
        return made

    def write(self, made: Pipeline, first: int, minutes: int) -> None:
        """A tick a minute and series."""
        options = client_options(made.settings)
        asyncio.run(
            produce(
                options, made.names.ticks, _PARTITIONS, self.series, 1, minutes, first_bar=first
            )
        )

    def settle(self, workers: Sequence[WorkerProcess], ticks: int) -> None:
        """Wait until all ticks are applied and everything is written."""

        def applied() -> bool:
            assert all(w.process.poll() is None for w in workers), workers[0].tail()
            return sum(int(metric(w, "barstream_ticks_total")) for w in workers) >= ticks

        until(applied, 900, "the history applied")
        before: list[float] = []

        def quiet() -> bool:
            before.append(sum(metric(w, "barstream_flush_rows_total") for w in workers))
            time.sleep(1.5)  # a flush comes every second, if it only moves the position
            return sum(metric(w, "barstream_flush_rows_total") for w in workers) - before[-1] < 9

        until(quiet, 120, "all is flushed")

    def measure(
        self, made: Pipeline, way: str, kill: Callable[[], WorkerProcess | None], first: int
    ) -> Outcome:
        """Kill, write what comes next, and see every series come back.

        ``kill`` gives the worker that takes over, or None: one is started.
        """
        rows = rows_of(made)
        places = ends_of(made)
        began = time.monotonic()
        survivor = kill()
        read_before = 0.0 if survivor is None else metric(survivor, "barstream_restore_rows_total")
        taker = made.worker(wait=False) if survivor is None else survivor
        self.write(made, first, AFTER)
        ready: list[float] = []

        def note() -> None:
            holds = metric(taker, "barstream_partitions") == _PARTITIONS
            if not ready and holds and taker.ready:
                ready.append(time.monotonic() - began)

        wanted = START_US + first * MINUTE_US
        back = asyncio.run(watch(made, places, wanted, self.series, began, note))
        until(lambda: bool(note() or ready), 60, "ready")
        outcome = Outcome(
            way, self.series, self.minutes, rows,
            int(metric(taker, "barstream_restore_rows_total") - read_before),
            metric(taker, "barstream_restore_seconds"), ready[0], back[len(back) // 2], back[-1],
        )  # fmt: skip
        print(outcome, file=sys.stderr)  # what is measured is not lost with what comes after
        return outcome

    def run(self) -> list[Outcome]:
        """All ways: one worker with and without its disk, then two with and without standbys."""
        return [*self._alone(), *self._two("another worker, nothing of it on its disk", "0"),
                *self._two("another worker, its standby", "1")]  # fmt: skip

    def _alone(self) -> list[Outcome]:
        # a static member: its successor takes its place at once, so that what is measured is
        # not the session timeout
        made = self.pipeline("alone", KAFKA__GROUP_INSTANCE_ID="bench")
        worker = made.worker()
        self.settle([worker], self.series * self.minutes)
        found: list[Outcome] = []
        first = self.minutes
        for way, is_wiped in (("started again", False), ("started again, disk lost", True)):

            def kill(is_wiped: bool = is_wiped) -> None:
                made.workers[-1].kill()
                if is_wiped:
                    shutil.rmtree(made.directory / "w0")

            found.append(self.measure(made, way, kill, first))
            self.settle([made.workers[-1]], self.series * AFTER)
            first += AFTER
        made.workers[-1].kill()
        return found

    def _two(self, way: str, standbys: str) -> list[Outcome]:
        made = self.pipeline(f"two{standbys}", RECOVERY__STANDBY_REPLICAS=standbys)
        both = [made.worker(directory=name) for name in ("w0", "w1")]
        until(lambda: all(metric(w, "barstream_partitions") == 2 for w in both), 60, "shared")
        already = sum(int(metric(w, "barstream_ticks_total")) for w in both)
        self.settle(both, min(already, self.series * self.minutes))
        until(lambda: applied_all(made), 900, "the history applied")
        self.settle(both, 0)
        if standbys != "0":
            until(lambda: behind(both) == 0, 300, "standbys are complete")

        def kill() -> WorkerProcess:
            both[0].kill()
            return both[1]

        found = self.measure(made, way, kill, self.minutes)
        both[1].kill()
        return [found]


def behind(workers: Sequence[WorkerProcess]) -> int:
    """Rows the standbys lack; more than any when they are not all followed."""
    try:
        shown = [each for worker in workers for each in worker.get("/status")["standbys"]]
    except OSError:  # too busy to answer
        return 1 << 30
    return sum(each["rows_behind"] for each in shown) if len(shown) == _PARTITIONS else 1 << 30


def applied_all(made: Pipeline) -> bool:
    """Whether no worker lags."""
    try:
        return all(w.get("/status")["lag"] == 0 for w in made.workers if w.process.poll() is None)
    except OSError:  # too busy to answer
        return False


def changelogs(made: Pipeline) -> list[str]:
    """Topics the local tables are copies of."""
    return [made.names.series, made.names.final_1m, *made.names.rollups.values()]


def rows_of(made: Pipeline) -> int:
    """Offsets in all changelogs: rows, and a marker a flush."""

    async def count() -> int:
        consumer = AIOKafkaConsumer(bootstrap_servers=made.bootstrap)
        await consumer.start()
        try:
            places = [TopicPartition(t, p) for t in changelogs(made) for p in range(_PARTITIONS)]
            return sum((await consumer.end_offsets(places)).values())
        finally:
            await consumer.stop()

    return asyncio.run(count())


def ends_of(made: Pipeline) -> dict[TopicPartition, int]:
    """Where the finals of minutes end now."""

    async def ends() -> dict[TopicPartition, int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=made.bootstrap)
        await consumer.start()
        try:
            places = [TopicPartition(made.names.final_1m, p) for p in range(_PARTITIONS)]
            found: dict[TopicPartition, int] = await consumer.end_offsets(places)
            return found
        finally:
            await consumer.stop()

    return asyncio.run(ends())


async def watch(
    made: Pipeline,
    places: dict[TopicPartition, int],
    minute_us: int,
    series: int,
    began: float,
    note: Callable[[], None],
) -> list[float]:
    """Seconds since ``began`` at which each series had its final of that minute, ascending."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=made.bootstrap, isolation_level="read_committed", enable_auto_commit=False
    )
    await consumer.start()
    back: dict[tuple[str, str], float] = {}
    try:
        consumer.assign(list(places))
        for tp, offset in places.items():
            consumer.seek(tp, offset)
        async with asyncio.timeout(600):
            while len(back) < series:
                for records in (await consumer.getmany(timeout_ms=50)).values():
                    now = time.monotonic() - began
                    for record in records:
                        broker, symbol, at_us = split_bar_key(record.key)
                        if at_us == minute_us:
                            back.setdefault((broker, symbol), now)
                await asyncio.to_thread(note)
    finally:
        await consumer.stop()
    return sorted(back.values())


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown, with each way in proportion to a worker started again with its disk."""
    heads = (
        "series", "minutes", "rows kept", "", "rows restored", "restoring s", "ready s",
        "half live s", "all live s", "ratio",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|" + " ---: |" * 3 + " --- |" + " ---: |" * 6]
    for each in outcomes:
        first = next(other for other in outcomes if other.series == each.series)
        lines.append(
            f"| {each.series:,} | {each.minutes:,} | {each.rows:,} | {each.way} | "
            f"{each.restored:,} | {each.restore_s:.1f} | {each.ready_s:.1f} | {each.half_s:.1f} | "
            f"{each.live_s:.1f} | {each.live_s / first.live_s:.1f} |"
        )
    return "\n".join(lines)


def measured(bootstrap: str, numbers: Sequence[int], minutes: int | None) -> list[Outcome]:
    """All ways with each number of series."""
    found: list[Outcome] = []
    for series in numbers:
        history = minutes or max(SHORTEST, min(LONGEST, HISTORY_ROWS // series))
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            found += Bench(bootstrap, Path(directory), series, history).run()
    return found


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bootstrap", help="a running Kafka; by default one is started")
    options.add_argument("--series", type=int, nargs="+", default=[500])
    options.add_argument("--minutes", type=int, help="of history; by default about 720,000 bars")
    options.add_argument("--json", action="store_true")
    shape = options.parse_args()
    if shape.bootstrap:
        outcomes = measured(shape.bootstrap, shape.series, shape.minutes)
    else:
        with KafkaCluster() as cluster:
            outcomes = measured(cluster.bootstrap, shape.series, shape.minutes)
    if shape.json:
        print(json.dumps([asdict(each) for each in outcomes], indent=2))
    else:
        print(table(outcomes))


if __name__ == "__main__":
    main()
