"""Two and three workers: partitions shared, one sender of heartbeats, leadership that moves."""

from __future__ import annotations

import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from barstream.model.time import MINUTE_US
from tests.chaos.drill import (
    ALWAYS_OPEN,
    assert_settled,
    long_drill,
    metric,
    seeded,
    soon,
)
from tests.chaos.feed import Feed
from tests.chaos.truth import Truth
from tests.chaos.writers import batches_of, late_writers
from tests.pipeline import Pipeline, WorkerProcess, pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

KILL, TERM, STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP


@pytest.mark.parametrize(
    ("count", "harm"),
    [
        (3, [KILL]),
        pytest.param(2, [TERM], marks=[pytest.mark.chaos, long_drill]),
        pytest.param(3, [KILL, TERM, STOP, STOP], marks=[pytest.mark.chaos, long_drill]),
    ],
)
@pytest.mark.timeout(900)
def test_one_worker_at_a_time_sends_heartbeats_and_no_minute_is_missing(
    kafka: Any, unique: str, tmp_path: Path, count: int, harm: list[signal.Signals]
) -> None:
    random = seeded()
    options = ALWAYS_OPEN | {"BARS__GRACE_S": "1"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=800, speed=0)
        feed.start()
        workers = [made.worker(directory=f"w{number}") for number in range(count)]
        soon(lambda: shared(workers), "partitions are shared")
        sent = 0
        for number in harm:
            leader = leader_of(workers)
            sent = wait_for_heartbeats(made, sent)
            leader.signal(number)
            began = time.monotonic()
            workers.remove(leader)
            soon(lambda: shared(workers), "the others hold all")
            soon(lambda: leads(workers) == 1, "another leads")
            print(f"{number.name}: led by another after {time.monotonic() - began:.1f} s")  # noqa: T201
            if number is STOP:
                time.sleep(random.uniform(0, 40))
                leader.signal(signal.SIGCONT)
            if number is TERM:
                assert leader.process.wait(10) == 0
            if number is not STOP:
                leader.kill()
                leader = made.worker(directory=f"again{len(made.workers)}")
            workers.append(leader)
            soon(lambda: shared(workers), "all take part again")
            assert leads(workers) == 1
        wait_for_heartbeats(made, sent)
        feed.finish()
        truth = assert_settled(made)
        assert_sent_by_one_at_a_time(made, at_least=1 + len(harm))
        assert_no_minute_missing(truth)


def shared(workers: list[WorkerProcess]) -> bool:
    """All four partitions are held, and no worker has more than its share."""
    held = [metric(worker, "barstream_partitions") for worker in workers]
    return all(w.ready for w in workers) and sum(held) == 4 and max(held) - min(held) <= 1


def leads(workers: list[WorkerProcess]) -> int:
    return sum(int(metric(worker, "barstream_leader")) for worker in workers)


def leader_of(workers: list[WorkerProcess]) -> WorkerProcess:
    soon(lambda: leads(workers) == 1, "one leads")
    return next(worker for worker in workers if metric(worker, "barstream_leader"))


def wait_for_heartbeats(made: Pipeline, more_than: int) -> int:
    """Wait for the next round of heartbeats; how many there are then."""
    found = [0]

    def came() -> bool:
        time.sleep(0.5)
        found[0] = len(made.read(made.names.heartbeats))
        return found[0] > more_than

    soon(came, "heartbeats", 75)
    return found[0]


def assert_sent_by_one_at_a_time(made: Pipeline, at_least: int) -> None:
    """From the log: one transactional id, and each leader begins when the one before is done."""
    batches = batches_of(made, made.names.heartbeats)
    assert late_writers(batches) == []
    sent = [batch for batch in batches if not batch.is_control]
    assert len({batch.producer_id for batch in sent}) == 1
    by_time = sorted(sent, key=lambda batch: (batch.appended_ms, batch.epoch))
    for earlier, later in pairwise(by_time):
        assert earlier.epoch <= later.epoch, f"{later} while {earlier} led"
    assert len({batch.epoch for batch in sent}) >= at_least, "leadership did not move"


def assert_no_minute_missing(truth: Truth) -> None:
    minutes: dict[str, set[int]] = {}
    for symbol, minute_us, _ in truth.heartbeats:
        minutes.setdefault(symbol, set()).add(minute_us)
    assert minutes
    for symbol, sent in minutes.items():
        wanted = set(range(min(sent), max(sent) + 1, MINUTE_US))
        assert sent == wanted, f"{symbol}: no heartbeat for {sorted(wanted - sent)}"
