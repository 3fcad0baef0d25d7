"""Brokers are upgraded one by one under load, and their feature levels are raised in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out, long_drill, metric, seeded, soon
from tests.chaos.feed import Feed
from tests.chaos.runs.batch import SMALL_JVM
from tests.chaos.runs.judge import verify
from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import KAFKA_VERSION, OLDER_VERSIONS
from tests.pipeline import Pipeline, pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.chaos, long_drill]


def applied(made: Pipeline) -> float:
    """Ticks of all workers."""
    return sum(metric(worker, "barstream_ticks_total") for worker in made.workers)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", OLDER_VERSIONS)
def test_ticks_flow_while_brokers_are_upgraded_one_by_one(
    new_kafka: Callable[..., KafkaCluster], unique: str, tmp_path: Path, version: str
) -> None:
    random = seeded()
    cluster = new_kafka(
        3, version=version, settings={"min.insync.replicas": "2"}, jvm_options=SMALL_JVM
    )
    options = ALWAYS_OPEN | {"TOPICS__REPLICATION": "3"}
    with pipeline(cluster.bootstrap, unique, tmp_path, **options) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=1000)
        feed.start()
        workers = [made.worker(directory=f"w{number}") for number in range(2)]

        def flows() -> None:
            before = applied(made)
            soon(lambda: applied(made) > before, "ticks are applied", 60)
            feed.check()

        order = random.sample(range(3), 3)
        for node in order:
            flows()
            began = time.monotonic()
            cluster.upgrade(node, KAFKA_VERSION)
            print(f"broker {node + 1}: {time.monotonic() - began:.1f} s")  # noqa: T201
        flows()
        cluster.finalize(KAFKA_VERSION)
        flows()
        # with the new levels on disk they come up again
        cluster.upgrade(order[0], KAFKA_VERSION)
        flows()
        # a worker that starts on the new levels goes on from what was written on the old ones
        workers[0].kill()
        made.worker(directory="w0")
        feed.finish(120)
        assert_all_came_out(made)
        assert workers[1].process.poll() is None, workers[1].tail()
        found = verify(made)
        assert (found.code, found.differences) == (0, []), found.said
