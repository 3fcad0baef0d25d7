"""How fast `barstream verify` scans, beside the decoding alone of the same ticks on one core.

    python -m bench.verify --series 500 --bars 20

A worker takes a backlog of ticks and ends; then they are verified by one process, and read and
decoded by one process without anything else.  Quote the ratio of the two: both ran on one machine
within a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import tempfile
import time
from pathlib import Path

from barstream.codecs.ticks.decoder import TickDecoder
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import client_options
from barstream.log.selection import Selection
from barstream.log.snapshot import chunks
from barstream.planner import plan_of
from barstream.verify.run import tasks_of, tick_spans, verify
from bench.workload import produce
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline, until


async def decoded(made: Pipeline) -> int:
    """Read and decode everything, and no more."""
    decoder = TickDecoder(made.settings.ticks)
    count = 0
    spans = await tick_spans(made.settings)
    async for chunk in chunks(Cluster(made.settings), made.names.ticks, spans):
        count += len(decoder.decode(chunk.values, chunk.timestamps_us))
    return count


def measure(bootstrap: str, shape: argparse.Namespace) -> dict[str, object]:
    """One backlog, verified and decoded."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        options = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "1"}
        made = Pipeline(bootstrap, f"bench{secrets.token_hex(3)}", Path(directory), options)
        made.run("topics", "create")
        filling = produce(
            client_options(made.settings), made.names.ticks, 1, shape.series, shape.per_bar,
            shape.bars,
        )  # fmt: skip
        count = asyncio.run(filling)
        worker = made.worker()
        until(lambda: int(worker.get("/status")["ticks"]) >= count, 300, "the backlog applied")
        worker.stop()
        chosen = plan_of(made.settings).settings
        spans = asyncio.run(tick_spans(chosen))
        began = time.monotonic()
        outcome = verify(tasks_of(chosen, spans, Selection(), ()), 1, lambda _: None)
        verifying_s = time.monotonic() - began
        began = time.monotonic()
        asyncio.run(decoded(made))
        decoding_s = time.monotonic() - began
    return {
        "ticks": count,
        "differences": outcome.findings.number("difference"),
        "verified_ticks_per_s": count / verifying_s,
        "decoded_ticks_per_s": count / decoding_s,
        "ratio": decoding_s / verifying_s,
    }


def main() -> None:
    """Measure and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bootstrap", help="a running Kafka; by default one is started")
    options.add_argument("--series", type=int, default=500)
    options.add_argument("--per-bar", type=int, default=120)
    options.add_argument("--bars", type=int, default=40)
    shape = options.parse_args()
    if shape.bootstrap:
        print(json.dumps(measure(shape.bootstrap, shape), indent=2))
        return
    with KafkaCluster() as cluster:
        print(json.dumps(measure(cluster.bootstrap, shape), indent=2))


if __name__ == "__main__":
    main()
