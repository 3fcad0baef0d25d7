"""How fast one worker on one core is, and how much faster than a plain Faust agent.

    make bench                         # or: python -m bench.throughput --rounds 3

A backlog of ticks waits in Apache Kafka.  A worker pinned to one core takes it end to end:
Avro, RocksDB, live and final bars on.  Then a Faust agent that does one table update per tick
takes the first of the same ticks on the same core.  Quote the ratio: both ran on one machine
within a minute of each other, and an absolute number says more about the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from barstream.kafka.connection import client_options
from bench.workload import produce
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline, until

CORE = "0"


def worker_round(bootstrap: str, directory: Path, shape: argparse.Namespace) -> dict[str, Any]:
    """One backlog through one fresh worker."""
    made = Pipeline(
        bootstrap, f"bench{secrets.token_hex(3)}", directory,
        {
            "BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": str(shape.partitions),
            "BARS__TIMEFRAMES": shape.timeframes,
        },
    )  # fmt: skip
    made.run("topics", "create")
    filling = produce(
        client_options(made.settings),
        made.names.ticks,
        shape.partitions,
        shape.series,
        shape.per_bar,
        shape.bars,
    )
    count = asyncio.run(filling)
    worker = made.worker(prefix=("taskset", "-c", CORE))
    began, cpu = time.monotonic(), cpu_seconds(worker.process.pid)
    taken = int(worker.get("/status")["ticks"])
    until(lambda: int(worker.get("/status")["ticks"]) >= count, 600, "the backlog applied")
    seconds, cpu = time.monotonic() - began, cpu_seconds(worker.process.pid) - cpu
    worker.stop()
    done = count - taken
    return {
        "topic": made.names.ticks,
        "ticks": done,
        "ticks_per_s": done / seconds,
        "cpu_us_per_tick": cpu / done * 1e6,
    }


def faust_round(bootstrap: str, topic: str, ticks: int) -> dict[str, Any]:
    """The first ``ticks`` of the same topic through a plain Faust agent."""
    with tempfile.TemporaryDirectory(prefix="plain-faust-") as state:
        done = subprocess.run(
            [
                "taskset", "-c", CORE, sys.executable, "-m", "bench.peers.plain_faust",
                "--bootstrap", bootstrap, "--ticks", topic, "--count", str(ticks),
                "--app-id", f"plain{secrets.token_hex(3)}", "--state", state,
            ],
            capture_output=True, text=True, check=True, timeout=600,
        )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]
    return {
        "ticks": ticks,
        "ticks_per_s": ticks / next(x["seconds"] for x in said if "seconds" in x),
    }


def cpu_seconds(pid: int) -> float:
    """User and system seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bootstrap", help="a running Kafka; by default one is started")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--series", type=int, default=500)
    options.add_argument("--per-bar", type=int, default=120)
    options.add_argument("--bars", type=int, default=60)
    options.add_argument("--partitions", type=int, default=4)
    options.add_argument("--timeframes", default="5m,15m,1h,1d", help="upper bars; 1m: none")
    options.add_argument("--peer-ticks", type=int, default=40_000)
    shape = options.parse_args()
    if shape.bootstrap:
        print(json.dumps(measure(shape.bootstrap, shape), indent=2))
        return
    with KafkaCluster() as cluster:
        print(json.dumps(measure(cluster.bootstrap, shape), indent=2))


def measure(bootstrap: str, shape: argparse.Namespace) -> dict[str, Any]:
    """All rounds, worker and peer in turn."""
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for number in range(shape.rounds):
            place = Path(directory) / str(number)
            place.mkdir()
            ours.append(worker_round(bootstrap, place, shape))
            if shape.peer_ticks:
                theirs.append(faust_round(bootstrap, ours[-1]["topic"], shape.peer_ticks))
    ratios = [a["ticks_per_s"] / b["ticks_per_s"] for a, b in zip(ours, theirs, strict=False)]
    return {
        "barstream": ours,
        "plain_faust": theirs,
        "ticks_per_s_median": statistics.median(r["ticks_per_s"] for r in ours),
        "ratio_median": statistics.median(ratios) if ratios else None,
    }


if __name__ == "__main__":
    main()
