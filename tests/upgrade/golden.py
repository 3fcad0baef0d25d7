"""Golden state: what a release left behind, a Kafka and a worker's disk, to be gone on from.

``python -m tests.upgrade.golden`` makes one of the code as it is and packs it; a release has one of
its own, which is not made again once it is out.  It holds what an upgrade must carry over: bars of
files and of a feed, an open minute, late ticks merged, rules that changed, a series dropped, loads
to resume.
"""

from __future__ import annotations

import random
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from barstream.metrics import running_version
from tests.functional.records import send_ticks
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline, until

PLACE: Final = Path(__file__).parent / "golden"
NAME: Final = "golden"
#: Kept for ever, or what is old one day would be deleted before it is read.
FOR_EVER: Final = str(36_500)
OPTIONS: Final = {
    "TOPICS__PARTITIONS": "2",
    "TOPICS__RETENTION_DAYS": FOR_EVER,
    "TOPICS__TICKS_RETENTION_DAYS": FOR_EVER,
    "BARS__LATE_POLICY": "revise",
}
#: 2024-01-02 09:00 UTC.
MORNING_US: Final = 1_704_186_000 * SECOND_US
#: Ticks of a file, ten seconds apart: ten hours.
_COUNT: Final = 3600


def file_ticks(symbol: str, day: int) -> list[Tick]:
    """What the file of a day has of a symbol, with quiet minutes."""
    chance = random.Random(f"{symbol}{day}")
    begin_us = MORNING_US + day * 1440 * MINUTE_US
    return [
        Tick("B", symbol, begin_us + at * 10 * SECOND_US, chance.randrange(900, 1100) / 8,
             chance.randrange(1, 100) / 8)
        for at in range(_COUNT)
        if at % 100 < 60
    ]  # fmt: skip


def feed_ticks(first: int, last: int) -> list[Tick]:
    """Of the symbol that no file has: one a second, each minute's last ten come a minute late."""
    ticks = [
        Tick("B", "FEED", MORNING_US + at * SECOND_US, 100 + (at * 7 % 60) / 4, 0.125 + at % 3)
        for at in range(first, last)
    ]
    return sorted(ticks, key=lambda tick: tick.time_us + _delay_us(tick))


def _delay_us(tick: Tick) -> int:
    return MINUTE_US if tick.time_us % MINUTE_US >= 50 * SECOND_US else 0


def load(made: Pipeline, name: str, ticks: Sequence[Tick]) -> None:
    """Write a file and load it."""
    file = made.directory / name
    rows = [f"{t.symbol},{t.time_us},{t.price!r},{t.size!r}" for t in ticks]
    file.write_text("\n".join(["symbol,time,price,size", *rows]) + "\n")
    maps = [f"--map={field}={field}" for field in ("symbol", "time", "price", "size")]
    made.run("ticks", "load", str(file), "--broker", "B", *maps)


def finals_until(made: Pipeline, symbol: str, minute_us: int) -> None:
    """Wait until a minute of a symbol is final."""
    until(
        lambda: any(int(bar["bucket_start"]) >= minute_us for bar in made.finals_of(symbol)),
        60,
        f"{symbol} is final up to {minute_us}",
    )


def lived(made: Pipeline) -> None:
    """What happened before the upgrade."""
    for symbol in ("A", "A2", "DROPPED", "FEED"):
        made.run(
            "schedule", "load", "--calendar", "24x7", "--broker", "B", "--symbol", symbol,
            "--from", "2024-01-01", "--to", "2024-01-10", "--yes",
        )  # fmt: skip
    rejecting = made.worker(extra_env={"BARSTREAM_BARS__LATE_POLICY": "reject"})
    symbols = ("A", "A2", "DROPPED")
    load(made, "first.csv", [tick for symbol in symbols for tick in file_ticks(symbol, 0)])
    for symbol in symbols:
        finals_until(made, symbol, file_ticks(symbol, 0)[-1].time_us // MINUTE_US * MINUTE_US)
    assert rejecting.stop() == 0
    made.run("series", "drop", "B", "DROPPED", "--yes")
    revising = made.worker()
    send_ticks(made, feed_ticks(0, 600), partition=1)
    finals_until(made, "FEED", MORNING_US + 8 * MINUTE_US)
    assert revising.stop() == 0


@contextmanager
def running(directory: Path) -> Iterator[Pipeline]:
    """Its Kafka, with ports of today, and no worker."""
    with KafkaCluster(data_dir=directory / "kafka") as broker:
        made = Pipeline(broker.bootstrap, NAME, directory, dict(OPTIONS))
        try:
            yield made
        finally:
            for worker in made.workers:
                worker.kill()
            broker.stop()


@contextmanager
def unpacked(archive: Path, directory: Path) -> Iterator[Pipeline]:
    """As `running`, of what a release left."""
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    with running(directory) as made:
        yield made


def make(archive: Path) -> None:
    """Live through it and pack what is left."""
    directory = Path(tempfile.mkdtemp(prefix="barstream-golden-"))
    try:
        with running(directory) as made:
            made.run("topics", "create")
            lived(made)
        archive.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:xz", preset=9) as packed:
            for name in ("kafka", "w0"):
                packed.add(directory / name, name, filter=_without_logs)
    finally:
        shutil.rmtree(directory)


def _without_logs(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Anybody's files, and nothing that only people read."""
    if info.name.endswith((".log.txt", "kafka.log", "server.properties", ".lock")):
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


if __name__ == "__main__":
    if (target := PLACE / f"{running_version()}.tar.xz").exists():
        sys.exit(f"{target} must not exist: what a release left is not made again")
    make(target)
    print(f"{target}: {target.stat().st_size:,} bytes")  # noqa: T201
