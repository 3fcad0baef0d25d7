"""Stopping in good order under load, again and again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out, long_drill, metric, seeded, soon
from tests.chaos.feed import Feed
from tests.pipeline import pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.mark.parametrize("cycles", [4, pytest.param(25, marks=[pytest.mark.chaos, long_drill])])
@pytest.mark.timeout(900)
def test_sigterm_ends_a_worker_in_ten_seconds_and_the_others_go_on(
    kafka: Any, unique: str, tmp_path: Path, cycles: int
) -> None:
    random = seeded()
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=3000)
        feed.start()
        stays = made.worker(directory="stays")
        longest_s = 0.0
        for cycle in range(cycles):
            # every other one is stopped while it starts, joins or restores
            comes = made.worker(directory=f"comes{cycle % 3}", wait=False)
            if cycle % 2:
                time.sleep(random.uniform(2, 6))
            else:
                soon(lambda: metric(stays, "barstream_partitions") == 2, "they share")
                time.sleep(random.uniform(0, 2))
            began = time.monotonic()
            assert comes.stop(10) in (0, -15), comes.tail()  # -15: before it was ready to hear
            longest_s = max(longest_s, time.monotonic() - began)
            soon(
                lambda: stays.ready and metric(stays, "barstream_partitions") == 4,
                "the other one holds all again",
                15,
            )
        print(f"stopped within {longest_s:.1f} s at most")  # noqa: T201
        feed.finish()
        assert_all_came_out(made)
        assert stays.stop(10) == 0
