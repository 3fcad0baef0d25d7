"""Standbys: who takes over a partition has its rows already, whoever dies and in whatever order."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out, metric, seeded, soon
from tests.chaos.feed import Feed
from tests.pipeline import Pipeline, WorkerProcess, pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

STANDBY = ALWAYS_OPEN | {"RECOVERY__STANDBY_REPLICAS": "1"}
PARTITIONS = 4


@pytest.mark.timeout(300)
def test_a_standby_takes_over_warm_in_both_directions_and_after_its_disk_was_lost(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """Two workers keep copies of each other's partitions, and die in turn.

    w1 comes back with an empty disk: what it takes over when w0 dies again, it copied meanwhile.
    """
    random = seeded()
    with pipeline(kafka.bootstrap, unique, tmp_path, **STANDBY) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=2000, speed=120)
        feed.start()
        workers = {name: made.worker(directory=name) for name in ("w0", "w1")}
        for killed, other, is_wiped in (
            ("w0", "w1", False),
            ("w1", "w0", True),
            ("w0", "w1", False),
        ):
            soon(lambda: all(map(follows, workers.values())), "each follows what the other holds")
            soon(lambda: rows_of(made) > 1500, "there is something to be restored")
            survivor = workers[other]
            restored = metric(survivor, "barstream_restore_rows_total")
            workers[killed].kill()
            soon(partial(holds_all, survivor), "the survivor holds all")
            restored = metric(survivor, "barstream_restore_rows_total") - restored
            rows = rows_of(made)
            print(f"{killed} killed: {restored:.0f} of {rows} rows restored")  # noqa: T201
            assert restored < rows / 5
            if is_wiped:
                shutil.rmtree(tmp_path / killed)
            workers[killed] = made.worker(directory=killed)
        feed.finish()
        assert_all_came_out(made)


@pytest.mark.timeout(200)
def test_a_worker_that_holds_nothing_is_a_standby_too(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """One partition, two workers: a hot spare."""
    random = seeded()
    options = STANDBY | {"TOPICS__PARTITIONS": "1"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=2000, speed=120)
        feed.start()
        first = made.worker(directory="w0")
        spare = made.worker(directory="w1")
        both = [first, spare]
        soon(lambda: sum(follows(w, 0, 1) for w in both) == 1, "one holds, the other follows")
        soon(lambda: rows_of(made) > 1500, "there is something to be restored")
        spare = next(worker for worker in both if follows(worker, 0, 1))
        next(worker for worker in both if worker is not spare).kill()
        soon(lambda: holds_all(spare, 1), "the spare holds it")
        assert metric(spare, "barstream_restore_rows_total") < rows_of(made) / 5
        feed.finish()
        assert_all_came_out(made)


def follows(
    worker: WorkerProcess, held: int = PARTITIONS // 2, copied: int = PARTITIONS // 2
) -> bool:
    """It holds so many, keeps a copy of so many others, and the copies are nearly complete."""
    return (
        worker.ready
        and metric(worker, "barstream_partitions") == held
        and metric(worker, "barstream_standby_partitions") == copied
        and len(behind := worker.get("/status")["standbys"]) == copied
        and sum(each["rows_behind"] for each in behind) < 300
    )


def holds_all(worker: WorkerProcess, partitions: int = PARTITIONS) -> bool:
    return worker.ready and metric(worker, "barstream_partitions") == partitions


def rows_of(made: Pipeline) -> int:
    """Rows in the changelogs of all partitions."""
    names = made.names
    return sum(len(made.read(topic)) for topic in (names.series, names.final_1m))


@pytest.mark.timeout(120)
def test_a_worker_whose_recovery_does_not_come_to_its_end_ends_and_says_so(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """It would hold its partitions for ever and never read them."""
    options = ALWAYS_OPEN | {"RECOVERY__SETTLE_WITHIN_S": "5"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker(wait=False, program=("tests.chaos.endless_recovery",))
        assert worker.process.wait(60) == 1
        assert "must be read within 5 s after they were restored" in worker.tail(5)


@pytest.mark.timeout(120)
def test_a_worker_that_restores_for_longer_than_a_session_timeout_stays_in_its_group(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """Put out of it, it would have to take over again, and others restore the same meanwhile."""
    options = ALWAYS_OPEN | {"KAFKA__SESSION_TIMEOUT_S": "4"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker(program=("tests.chaos.long_restore",))
        assert holds_all(worker)
        assert metric(worker, "barstream_rebalances_total") == 1, worker.tail()
