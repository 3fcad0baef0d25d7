"""The broker dies under load and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.drill import ALWAYS_OPEN, long_drill, metric, seeded, soon
from tests.chaos.feed import Feed
from tests.chaos.truth import problems_of, truth_of
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def goes_on(worker: WorkerProcess, feed: Feed) -> bool:
    """Wait until the worker applies ticks, or ends; whether it goes on."""
    before = metric(worker, "barstream_ticks_total")

    def moved() -> bool:
        feed.check()
        ended = worker.process.poll() is not None
        return ended or metric(worker, "barstream_ticks_total") > before

    soon(moved, f"{worker.log}: it goes on or ends", 90)
    return worker.process.poll() is None


def started_again(made: Pipeline) -> WorkerProcess:
    """A worker on the broker that came back.

    A single Kafka node (4.3.1) that is killed between the acknowledgement of a commit and its
    markers, and completes it before it knows its topics again, takes these for deleted and never
    writes the markers ("Couldn't find leader endpoint").  The worker must then refuse to go on.
    """
    worker = made.worker(wait=False)
    soon(lambda: worker.ready or worker.process.poll() is not None, "ready or ended", 90)
    if worker.process.poll() is not None and "have lost track of one" in worker.tail():
        assert worker.process.returncode == 1
        pytest.skip("the broker lost the markers of a commit; the worker refused to go on")
    assert worker.ready, worker.tail()
    return worker


@pytest.mark.parametrize(
    ("kills", "away_s"),
    [(2, 3.0), pytest.param(3, 90.0, marks=[pytest.mark.chaos, long_drill])],
)
@pytest.mark.timeout(900)
def test_a_broker_that_is_killed_and_comes_back_costs_no_bar(
    new_kafka: Callable[..., KafkaCluster], unique: str, tmp_path: Path, kills: int, away_s: float
) -> None:
    random = seeded()
    broker = new_kafka()
    with pipeline(broker.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=2000)
        feed.start()
        worker = made.worker()
        ended = 0
        for _ in range(kills):
            assert goes_on(worker, feed), worker.tail()
            time.sleep(random.uniform(1, 4))
            broker.kill()
            time.sleep(away_s)
            broker.restart()
            if not goes_on(worker, feed):
                ended += 1
                assert worker.process.returncode == 1, worker.tail()
                assert "worker stopped: " in worker.tail(), "it says why"
                if "have lost track of one" in worker.tail():
                    pytest.skip("the broker lost the markers of a commit; the worker refused")
                worker = started_again(made)
        print(f"the worker ended {ended} times of {kills}")  # noqa: T201
        feed.finish(120)
        truth = truth_of(made)
        until(lambda: len(made.finals()) >= len(truth.bars), 60, "all finals")
        until(lambda: problems_of(made, truth) == [], 20, "all as computed")
        assert problems_of(made, truth) == []
        assert worker.stop(10) == 0


@pytest.mark.timeout(200)
def test_a_worker_whose_broker_is_gone_can_be_stopped(
    new_kafka: Callable[..., KafkaCluster], unique: str, tmp_path: Path
) -> None:
    broker = new_kafka()
    with pipeline(broker.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        feed = Feed(made, 1, rate=2000)
        feed.start()
        worker = made.worker()
        soon(lambda: metric(worker, "barstream_ticks_total") > 2000, "ticks are applied")
        broker.kill()
        time.sleep(2)
        began = time.monotonic()
        assert worker.stop(25) in (0, 1)
        print(f"stopped in {time.monotonic() - began:.1f} s")  # noqa: T201
        broker.restart()
        worker = started_again(made)
        feed.finish()
        truth = truth_of(made)
        until(lambda: problems_of(made, truth) == [], 60, "all as computed")


@pytest.mark.timeout(200)
def test_a_worker_without_a_transaction_coordinator_says_what_it_waits_for(
    new_kafka: Callable[..., KafkaCluster], unique: str, tmp_path: Path
) -> None:
    """One broker cannot hold the three copies that its topic of transactions is to have."""
    settings = {"transaction.state.log.replication.factor": "3"}
    broker = new_kafka(settings=settings, transactions=False)
    with pipeline(broker.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker(wait=False)
        soon(lambda: "transaction coordinator has not answered" in worker.tail(), "it is told")
        answer = worker.get("/health/ready")
        assert answer["reasons"] == ["the transaction coordinator of Kafka is awaited"]
        # well before its own deadline, after which it would have ended with 1
        assert worker.stop(15) == 0, worker.tail()
        assert "nothing is lost" in worker.tail()
