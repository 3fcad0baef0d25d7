"""How long ``explain`` of one bar and ``verify`` of one day take among a million finals.

    python -m bench.proofs
    python -m bench.proofs --keep DIR --rounds 9

Ticks of many series and days are loaded at once and closed by a worker, so that the append times
tell nothing: everything of the past stands within the same minutes.  Then the commands run in turn
within each round, each as a process of its own, as a person runs them: start and imports count.
Quote the ratio of ``verify`` of the day to that of the whole, and the CPU time of ``explain``.

With ``--keep`` the data of Kafka stay in a directory, and are measured again without being loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from barstream.kafka.connection import client_options
from barstream.model.time import DAY_US, iso_date_from_days, iso_from_us
from bench.workload import BROKER, START_US, produce, symbol
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import ROOT, Pipeline, until

#: Minutes whose ticks are in one batch: a load of the past, not a feed.
_TOGETHER = 60


def fill(made: Pipeline, shape: argparse.Namespace) -> None:
    """Topics, sessions, ticks, and a worker that makes everything of them."""
    made.run("topics", "create")
    first = START_US // DAY_US
    made.run(
        "schedule", "load", "--calendar", "24x7", "--broker", BROKER,
        *(word for number in range(shape.series) for word in ("--symbol", symbol(number))),
        "--from", iso_date_from_days(first), "--to", iso_date_from_days(first + shape.days),
        "--yes",
    )  # fmt: skip
    count = asyncio.run(
        produce(
            client_options(made.settings), made.names.ticks, shape.partitions, shape.series,
            shape.per_bar, shape.days * 1440, together=_TOGETHER,
        )
    )  # fmt: skip
    worker = made.worker()
    until(lambda: int(worker.get("/status")["ticks"]) >= count, 900, "the ticks applied")
    until(lambda: worker.ready, 60, "the worker ready")
    worker.stop()


def commands(shape: argparse.Namespace) -> Mapping[str, Sequence[str]]:
    """What is measured, by name; of a series in the middle and a day in the middle."""
    start_us = (START_US // DAY_US + shape.days // 2) * DAY_US
    series = BROKER, symbol(shape.series // 2)
    noon = iso_from_us(start_us + DAY_US // 2)
    day = "--from", iso_from_us(start_us), "--to", iso_from_us(start_us + DAY_US)
    return {
        "explain": ("explain", *series, noon, "--json"),
        "explain 1h": ("explain", *series, noon, "--timeframe", "1h", "--json"),
        "verify day": ("verify", *series, *day, "--json"),
        "verify": ("verify", "--json"),
    }


def run(made: Pipeline, words: Sequence[str]) -> tuple[float, float]:
    """Seconds until a command was done, and those of CPU it took, of all its processes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "barstream", *words],
        cwd=ROOT, env=made.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    took_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise AssertionError(f"{words} ended {done.returncode}:\n{done.stdout}{done.stderr}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took_s, cpu_s


def measure(made: Pipeline, shape: argparse.Namespace) -> dict[str, object]:
    """Medians by command, and what each takes of ``verify`` of the whole."""
    asked = commands(shape)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for _ in range(shape.rounds):
        for name, words in asked.items():
            found[name].append(run(made, words))
    middle = {
        name: tuple(statistics.median(each) for each in zip(*times, strict=True))
        for name, times in found.items()
    }
    whole_s, whole_cpu_s = middle["verify"]
    return {
        name: {
            "s": round(took_s, 2), "cpu_s": round(cpu_s, 2),
            "of_whole": round(took_s / whole_s, 3), "cpu_of_whole": round(cpu_s / whole_cpu_s, 3),
        }
        for name, (took_s, cpu_s) in middle.items()
    }  # fmt: skip


def prepared(bootstrap: str, directory: Path, shape: argparse.Namespace) -> Pipeline:
    """The pipeline, filled unless its data were kept."""
    options = {"TOPICS__PARTITIONS": str(shape.partitions)}
    made = Pipeline(bootstrap, "proofs", directory, options)
    filled = directory / "filled"
    if not filled.exists():
        fill(made, shape)
        filled.touch()
    return made


def main() -> None:
    """Measure and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keep", type=Path, help="directory in which the data of Kafka stay")
    options.add_argument("--series", type=int, default=24)
    options.add_argument("--partitions", type=int, default=4)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--per-bar", type=int, default=3)
    options.add_argument("--rounds", type=int, default=5, help="0: only fill")
    shape = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        directory = shape.keep or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        cluster = KafkaCluster(data_dir=directory / "kafka")
        identity = directory / "cluster"
        if identity.exists():
            cluster.cluster_id = identity.read_text()
        identity.write_text(cluster.cluster_id)
        cluster.start()
        try:
            made = prepared(cluster.bootstrap, directory, shape)
            if shape.rounds:
                print(json.dumps(measure(made, shape), indent=2))
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
