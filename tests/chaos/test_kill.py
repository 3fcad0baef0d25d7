"""`kill -9` under load, ten times in a row."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out, long_drill, seeded
from tests.chaos.feed import Feed
from tests.pipeline import pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.mark.law("L15")
@pytest.mark.parametrize(
    ("kills", "longest_s"),
    [(10, 7.0), pytest.param(40, 15.0, marks=[pytest.mark.chaos, long_drill])],
)
@pytest.mark.timeout(900)
def test_a_worker_killed_again_and_again_publishes_every_bar_once_and_right(
    kafka: Any, unique: str, tmp_path: Path, kills: int, longest_s: float
) -> None:
    random = seeded()
    # a static member: a successor takes its place at once and not after the session timeout
    options = ALWAYS_OPEN | {"KAFKA__GROUP_INSTANCE_ID": unique}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=2500)
        feed.start()
        began = time.monotonic()
        made.worker().kill()
        ready_s = time.monotonic() - began  # on this machine, as busy as it is
        applied = 0
        for _ in range(kills):
            worker = made.worker(wait=False)
            # from the first import to well into the load
            deadline = time.monotonic() + random.uniform(1.0, max(longest_s, 3 * ready_s))
            while time.monotonic() < deadline:
                time.sleep(0.02)
                assert worker.process.poll() is None, worker.tail()
            applied += worker.ready
            worker.kill()
            if random.random() < 0.3:
                shutil.rmtree(tmp_path / "w0", ignore_errors=True)
        assert applied >= kills // 4, "most were killed before they did anything"
        feed.finish()
        made.worker()
        assert_all_came_out(made)
