"""What all drills share: the seed, waiting for the end, and the verdict."""

from __future__ import annotations

import os
import random
import secrets
import time
import urllib.request
from collections.abc import Callable

import pytest

from tests.chaos.truth import Truth, problems_of, truth_of
from tests.chaos.writers import batches_of, late_writers
from tests.pipeline import Pipeline, WorkerProcess, until

#: 24x7: what is at stake here is not the schedule.  Upper bars short enough to close in a drill.
ALWAYS_OPEN = {"BARS__SCHEDULE": "false", "BARS__TIMEFRAMES": "2m,5m,1h"}

#: The long variants: `make chaos`.
long_drill = pytest.mark.skipif(
    os.environ.get("BARSTREAM_CHAOS") != "1", reason="long drill: run with make chaos"
)


def seeded() -> random.Random:
    """Randomness of a drill; ``BARSTREAM_CHAOS_SEED`` repeats one that was printed."""
    seed = int(os.environ.get("BARSTREAM_CHAOS_SEED") or secrets.randbelow(1_000_000))
    print(f"BARSTREAM_CHAOS_SEED={seed}")  # noqa: T201  pytest shows it when a drill fails
    return random.Random(seed)


def assert_all_came_out(made: Pipeline, timeout_s: float = 60) -> Truth:
    """Wait for every final, then hold all that was published to the ticks in Kafka."""
    truth = truth_of(made)
    assert len(truth.bars) > 20, "too little to prove anything"

    def complete() -> bool:
        for worker in made.workers:
            code = worker.process.poll()
            # by a signal of ours, or in good order
            assert code in (None, 0, -9, -15), f"worker ended {code}:\n{worker.tail()}"
        return len(made.finals()) >= len(truth.bars) and len(made.rejected()) >= len(truth.rejected)

    until(complete, timeout_s, f"{len(truth.bars)} finals and {len(truth.rejected)} rejections")
    assert problems_of(made, truth) == []
    assert_one_writer_at_a_time(made)
    return truth


def assert_one_writer_at_a_time(made: Pipeline) -> None:
    """No owner wrote anything once another had taken over; the logs say so."""
    names = made.names
    for topic in (names.final_1m, names.live_1m, names.ticks_rejected, names.series):
        assert late_writers(batches_of(made, topic)) == [], topic


def soon(condition: Callable[[], bool], what: str, timeout_s: float = 40) -> None:
    """Wait for ``condition``."""
    until(condition, timeout_s, what)


def metric(worker: WorkerProcess, name: str) -> float:
    """Sum over the labels of one metric of a worker; 0 where it does not answer."""
    url = f"http://127.0.0.1:{worker.port}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=2) as got:
            lines = got.read().decode().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


def assert_settled(made: Pipeline, timeout_s: float = 60) -> Truth:
    """As `assert_all_came_out` while the leader goes on sending heartbeats: sooner or later all
    that was published is what follows from the topics.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        truth = truth_of(made)
        problems = problems_of(made, truth)
        if not problems or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert problems == []
    assert len(truth.bars) >= 10, "too little to prove anything"
    assert_one_writer_at_a_time(made)
    return truth
