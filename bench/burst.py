"""A burst: many more ticks at once than a worker takes in a second, over many series.

    python -m bench.burst --ticks 100000000 --series 10000

Four fifths of the burst wait in Apache Kafka when a worker starts; the last fifth arrives while it
eats.  It is looked at from outside all the time: memory, answers, flushes, and whether its lag is
the true one.  What must hold is a ratio: the peak of memory at the end against that when a tenth
was eaten.  The disk needs about 60 bytes a tick; they are deleted afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import secrets
import statistics
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from barstream.kafka.connection import client_options
from bench.process_tree import cpu_seconds
from bench.workload import produce
from tests.chaos.observation import Observer, Sample
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline, WorkerProcess, until


def fill(made: Pipeline, shape: argparse.Namespace, first_bar: int, bars: int) -> None:
    """Write minutes [first_bar, first_bar + bars) of all series."""
    asyncio.run(
        produce(
            client_options(made.settings), made.names.ticks, shape.partitions, shape.series,
            shape.per_bar, bars, first_bar=first_bar,
        )
    )  # fmt: skip


def burst(bootstrap: str, directory: Path, shape: argparse.Namespace) -> dict[str, Any]:
    """One burst through one fresh worker."""
    made = Pipeline(
        bootstrap, f"burst{secrets.token_hex(3)}", directory,
        {
            "BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": str(shape.partitions),
            "BARS__TIMEFRAMES": shape.timeframes,
        },
    )  # fmt: skip
    made.run("topics", "create")
    bars = max(5, shape.ticks // (shape.series * shape.per_bar))
    waiting = bars * 4 // 5
    total = bars * shape.series * shape.per_bar
    began = time.monotonic()
    fill(made, shape, 0, waiting)
    filled_s = time.monotonic() - began
    worker = made.worker()
    with Observer(made, worker, shape.every) as observer:
        began = time.monotonic()
        feeding = multiprocessing.get_context("spawn").Process(
            target=fill, args=(replace(made, workers=[]), shape, waiting, bars - waiting)
        )
        feeding.start()
        until(lambda: _eaten(observer) >= total or _ended(worker), 3600, "the burst is applied")
        took_s, cpu_s = time.monotonic() - began, cpu_seconds(worker.process.pid)
        feeding.join()
        until(lambda: _ended(worker) or sum(observer.samples[-1].lag.values()) == 0, 60, "no lag")
    assert not _ended(worker), worker.tail()
    assert observer.failure is None, observer.failure
    flushes = _histogram(worker, "barstream_flush_seconds")
    worker.stop()
    samples = observer.samples
    tenth = [s for s in samples if s.ticks <= total / 10]
    peak, peak_tenth = samples[-1].peak_mib, (tenth or samples)[-1].peak_mib
    return {
        "ticks": total, "series": shape.series, "partitions": shape.partitions,
        "ticks_per_s": round(total / took_s), "cpu_us_per_tick": round(cpu_s / total * 1e6, 3),
        "ticks_per_s_filled": round(
            waiting * shape.series * shape.per_bar / filled_s),
        "peak_mib": round(peak), "peak_mib_at_a_tenth": round(peak_tenth),
        "peak_ratio": round(peak / peak_tenth, 3),
        "rss_mib_by_tenths": _by_tenths(samples, total),
        "looks": len(samples), "untrue_lags": observer.untrue_lags(2.0)[:20],
        "health_s": _spread(observer.health_s), "metrics_s": _spread([s.answer_s for s in samples]),
        "flush_s": flushes,
    }  # fmt: skip


def _eaten(observer: Observer) -> float:
    return observer.samples[-1].ticks if observer.samples else 0


def _ended(worker: WorkerProcess) -> bool:
    return worker.process.poll() is not None


def _by_tenths(samples: list[Sample], total: int) -> list[int]:
    tops = [0.0] * 10
    for sample in samples:
        at = min(9, int(10 * sample.ticks / total))
        tops[at] = max(tops[at], sample.rss_mib)
    return [round(top) for top in tops]


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 4),
        "p99": round(ordered[int(0.99 * (len(ordered) - 1))], 4),
        "most": round(ordered[-1], 4),
    }


def _histogram(worker: WorkerProcess, name: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=10) as got:
        lines = got.read().decode().splitlines()
    return {
        line.split()[0].removeprefix(name): float(line.split()[1])
        for line in lines
        if line.startswith(name) and "_created" not in line
    }


def main() -> None:
    """Measure and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bootstrap", help="a running Kafka; by default one is started")
    options.add_argument("--ticks", type=int, default=10_000_000)
    options.add_argument("--series", type=int, default=10_000)
    options.add_argument("--per-bar", type=int, default=100)
    options.add_argument("--partitions", type=int, default=4)
    options.add_argument("--timeframes", default="5m,15m,1h,1d", help="upper bars; 1m: none")
    options.add_argument("--every", type=float, default=0.5, help="seconds between two looks")
    shape = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        if shape.bootstrap:
            print(json.dumps(burst(shape.bootstrap, Path(directory), shape), indent=2))
            return
        with KafkaCluster() as cluster:
            print(json.dumps(burst(cluster.bootstrap, Path(directory), shape), indent=2))


if __name__ == "__main__":
    main()
