"""Which assignment makes a worker the leader of the heartbeats, and what takes that away first."""

from __future__ import annotations

from pathlib import Path

import pytest
from faust.types import TP

from barstream.config import load_settings
from barstream.worker import Worker


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    env = {"BARSTREAM_DATA_DIR": str(tmp_path), "BARSTREAM_APP_ID": "leader"}
    return Worker(load_settings(env=env))


@pytest.mark.law("L14")
def test_partition_0_of_no_other_topic_makes_a_leader(worker: Worker) -> None:
    names = worker.cluster.names
    others = {names.ticks, names.final_1m, names.series, f"{names.heartbeats}-x"}
    worker.app.after_assign({TP(topic, 0) for topic in others} | {TP(names.heartbeats, 1)})
    assert not worker.leader.leads
    worker.app.after_assign({TP(names.heartbeats, 0)})
    assert worker.leader.leads


@pytest.mark.law("L14")
def test_another_assignment_leaves_the_leadership_where_a_revoke_has_put_it(worker: Worker) -> None:
    worker.app.after_assign({TP(worker.cluster.names.heartbeats, 0)})
    worker.app.before_revoke()
    worker.app.after_assign({TP(worker.cluster.names.ticks, 0)})
    assert not worker.leader.leads


@pytest.mark.parametrize(("enabled", "there"), [("true", True), ("false", False)])
def test_who_sends_no_heartbeats_has_nothing_that_is_woken(
    tmp_path: Path, enabled: str, *, there: bool
) -> None:
    env = {
        "BARSTREAM_DATA_DIR": str(tmp_path),
        "BARSTREAM_APP_ID": "leader",
        "BARSTREAM_HEARTBEATS__ENABLED": enabled,
    }
    assert bool(Worker(load_settings(env=env)).app._app_tasks) is there
