"""A worker frozen past its session timeout wakes when another has taken over."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out, long_drill, metric, seeded, soon
from tests.chaos.feed import Feed
from tests.pipeline import WorkerProcess, pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def holds(worker: WorkerProcess, count: int) -> bool:
    return worker.ready and metric(worker, "barstream_partitions") == count


@pytest.mark.parametrize("rounds", [1, pytest.param(6, marks=[pytest.mark.chaos, long_drill])])
@pytest.mark.timeout(900)
def test_a_frozen_worker_that_wakes_writes_nothing_and_joins_again(
    kafka: Any, unique: str, tmp_path: Path, rounds: int
) -> None:
    random = seeded()
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=3000)
        feed.start()
        first = made.worker(directory="w0")
        soon(lambda: holds(first, 4), "the first worker holds all")
        second = made.worker(directory="w1")
        soon(lambda: holds(first, 2) and holds(second, 2), "they share")
        for _ in range(rounds):
            frozen, other = random.sample([first, second], 2)
            fenced = metric(frozen, "barstream_fenced_total")
            time.sleep(random.uniform(1, 2))
            frozen.signal(signal.SIGSTOP)
            began = time.monotonic()
            soon(lambda other=other: holds(other, 4), "the other takes over")  # type: ignore[misc]
            took = time.monotonic() - began
            time.sleep(random.uniform(0.5, 3))
            frozen.signal(signal.SIGCONT)
            woke = time.monotonic()
            soon(lambda: holds(first, 2) and holds(second, 2), "the woken one joins again")
            back = time.monotonic() - woke
            refused = metric(frozen, "barstream_fenced_total") - fenced
            print(f"taken over in {took:.1f} s, back in {back:.1f} s, writes refused: {refused}")  # noqa: T201
            # it had ticks in hand when it woke, wanted to write, and was refused
            assert refused >= 1
        feed.finish()
        assert_all_came_out(made)
        assert first.stop() == second.stop() == 0


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=[pytest.mark.chaos, long_drill])])
@pytest.mark.timeout(900)
def test_a_worker_frozen_while_it_takes_over_does_no_harm(
    kafka: Any, unique: str, tmp_path: Path, rounds: int
) -> None:
    """It may wake between fencing, restoring and reading on, and fence the rightful owner."""
    random = seeded()
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=2500)
        feed.start()
        first = made.worker(directory="w0")
        for number in range(rounds):
            # that it joins is said by aiokafka, and heard of at this level alone
            program = ("barstream", "worker", "--loglevel", "debug")
            comes = made.worker(directory=f"w{1 + number}", wait=False, program=program)
            soon(lambda comes=comes: "Joined group" in comes.log.read_text(), "it joins")  # type: ignore[misc]
            time.sleep(random.uniform(0, 0.8))
            comes.signal(signal.SIGSTOP)
            time.sleep(random.uniform(7, 10))  # the session timeout is 6 s
            comes.signal(signal.SIGCONT)
            soon(
                lambda comes=comes: holds(first, 2) and holds(comes, 2),  # type: ignore[misc]
                "they share",
            )
            assert comes.stop(10) == 0
            soon(lambda: holds(first, 4), "the first holds all again")
        feed.finish()
        assert_all_came_out(made)
        assert first.stop() == 0
