"""A worker does its work on the older versions of Apache Kafka that the README names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out, metric, soon
from tests.chaos.feed import Feed
from tests.functional.verification import verified
from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import OLDER_VERSIONS, KafkaUnavailableError, ensure_jars
from tests.pipeline import pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

#: Maven Central may be slow on a new machine, which says nothing of what is tested here.
_FETCH_S = 150


@pytest.mark.timeout(330)
@pytest.mark.parametrize("version", OLDER_VERSIONS)
def test_ticks_become_bars_and_a_killed_worker_costs_none(
    new_kafka: Callable[..., KafkaCluster], unique: str, tmp_path: Path, version: str
) -> None:
    try:
        ensure_jars(version, timeout_s=_FETCH_S)
    except KafkaUnavailableError as error:
        pytest.skip(f"no Apache Kafka {version} here: {error}")
    broker = new_kafka(version=version)
    with pipeline(broker.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        feed = Feed(made, 1, rate=1000, speed=60)
        feed.start()
        worker = made.worker()
        soon(lambda: metric(worker, "barstream_ticks_total") > 2000, "ticks are applied")
        worker.kill()
        worker = made.worker()
        feed.finish()
        assert_all_came_out(made)
        made.run("topics", "check")
        assert worker.stop() == 0, worker.tail()
        assert verified(made.settings).findings.kept == []
