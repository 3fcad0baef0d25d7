"""A bounded part of the randomised runs: fixed seeds, in which every kind of fault comes once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barstream.kafka.cluster import Cluster
from barstream.kafka.topic_identity import identity_of, topic_ids
from barstream.kafka.topics import create
from tests.chaos.faults import KINDS
from tests.chaos.runs.batch import three_brokers
from tests.chaos.runs.play import play
from tests.chaos.runs.scenario import scenario_of
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ON_ONE = {
    7001: ("kill", "garbage_ticks", "aborted", "state_deleted"),
    7002: ("freeze_leader", "sent_twice", "reordered", "kill_leader"),
    7003: ("kill_all", "state_older", "schedule_rewritten", "garbage_elsewhere"),
    7004: ("storm", "clock_jump", "schedule_conflict", "stop"),
    7005: ("disk_full", "state_damaged", "leader_clock_jump", "topic_recreated"),
    7006: ("freeze", "state_swapped"),
}
ON_THREE = {
    7100: ("broker_killed", "network_cut"),
    7101: ("broker_disk_full",),
}
#: Left to `make chaos`: they take what two others take together.
LONG = {"broker_restarted", "broker_frozen", "broker_lost"}


@pytest.mark.parametrize("seed", ON_ONE)
@pytest.mark.timeout(240)
def test_after_the_faults_of_a_run_nothing_is_lost_nothing_double_and_every_bar_right(
    kafka: Any, tmp_path: Path, seed: int
) -> None:
    assert_clean(seed, ON_ONE[seed], kafka.bootstrap, None, tmp_path)


@pytest.fixture(scope="module")
def brokers() -> Iterator[KafkaCluster]:
    with three_brokers() as cluster:
        yield cluster.start()


@pytest.mark.parametrize("seed", ON_THREE)
@pytest.mark.timeout(300)
def test_the_same_when_it_is_brokers_and_the_network_that_fail(
    brokers: KafkaCluster, tmp_path: Path, seed: int
) -> None:
    assert_clean(seed, ON_THREE[seed], brokers.bootstrap, brokers, tmp_path)


def test_what_a_worker_asks_at_a_rebalance_is_answered_while_one_of_three_brokers_is_away(
    brokers: KafkaCluster, tmp_path: Path
) -> None:
    """A client draws the broker that it asks; one in three is the one that is away."""
    made = Pipeline(brokers.start().bootstrap, "away", tmp_path)
    asyncio.run(create(made.settings))
    cluster, names = Cluster(made.settings), [made.names.ticks, made.names.final_1m]
    brokers.kill(1)
    try:
        for _ in range(12):
            assert set(asyncio.run(topic_ids(cluster, names)).topics) == set(names)
            assert asyncio.run(identity_of(cluster, made.names.ticks)) is not None
    finally:
        brokers.start()


def test_every_kind_that_seeds_may_draw_comes_once() -> None:
    here = {kind for kinds in (*ON_ONE.values(), *ON_THREE.values()) for kind in kinds}
    assert here | LONG >= {name for name, kind in KINDS.items() if kind.drawn and not kind.family}
    assert not here & LONG


def assert_clean(
    seed: int,
    kinds: tuple[str, ...],
    bootstrap: str,
    cluster: KafkaCluster | None,
    directory: Path,
) -> None:
    scenario = scenario_of(seed, kinds, cluster=cluster is not None, live=False)
    result = play(scenario, bootstrap, cluster, directory)
    if result.skipped:
        pytest.skip(f"needs {result.skipped}")
    told = [result.scenario, *result.did, *result.ended]
    assert result.problems == [], "\n".join(told)
    assert result.bars > 20, "too little to prove anything"
