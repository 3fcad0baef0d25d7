"""A worker that takes bombs and garbage has no more memory than docs/capacity.md says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bombs import bomb
from tests.chaos.drill import ALWAYS_OPEN, long_drill, metric, soon
from tests.chaos.faults.raw_records import Row, send, send_raw
from tests.chaos.observation import memory_mib
from tests.functional.records import MORNING_US
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick
from tests.memory_cgroup import figure_mib, memory_cgroup
from tests.pipeline import Pipeline, pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 4
ROUNDS = 6
GARBAGE = 30


def minutes(made: Pipeline, number: int) -> None:
    """A tick of the minute in each partition."""
    ticks = [
        Tick("B", f"S{at}", MORNING_US + number * MINUTE_US + 30 * SECOND_US, 1.0 + number)
        for at in range(PARTITIONS)
    ]
    rows = [Row(made.names.ticks, each.key, each.value, at) for at, each in enumerate(ticks)]
    send(made, rows)


@long_drill
@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_bombs_and_garbage_take_no_more_memory_than_the_page_says(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    most_mib = figure_mib()
    refused = near = garbage = 0
    with (
        memory_cgroup(most_mib) as cgroup,
        pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made,
    ):
        worker = made.worker(prefix=cgroup.prefix)
        topic, everywhere = made.names.ticks, range(PARTITIONS)
        large, allowed = bomb(512), bomb(63, 9)
        for number in range(ROUNDS):
            minutes(made, number)
            refused += len(send_raw(made, topic, [(at, large) for at in everywhere]))
            near += len(send_raw(made, topic, [(at, allowed) for at in everywhere] * 2))
            rows = [Row(topic, b"k", b"\xff" * 900_000, at % PARTITIONS) for at in range(GARBAGE)]
            garbage += len(send(made, rows))
        minutes(made, ROUNDS)
        # and from the beginning of the topic, with everything there at once
        worker.kill()
        again = made.worker(directory="anew", prefix=cgroup.prefix)
        soon(lambda: metric(again, "barstream_lag_records") == 0, "all is applied", 120)
        soon(lambda: len(made.finals()) == PARTITIONS * ROUNDS, "every minute is final")
        bars = {(bar["symbol"], bar["open"], bar["synthetic"]) for bar in made.finals()}
        assert bars == {(f"S{at}", 1.0 + n, False) for at in everywhere for n in range(ROUNDS)}
        reasons = [dict(each.headers)["reason"] for each in made.rejected()]
        assert reasons.count(b"too_large") == refused
        assert reasons.count(b"undecodable") == near + garbage
        assert memory_mib(again.process.pid)[1] < most_mib
        assert cgroup.kills == 0
        assert again.stop() == 0, again.tail()
        made.run("verify")
