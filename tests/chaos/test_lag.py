"""A worker that lags: stopped for minutes, or too slow, while the feed is live."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.drill import ALWAYS_OPEN, assert_settled, long_drill, metric, seeded, soon
from tests.chaos.feed import Feed
from tests.pipeline import pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LIVE = ALWAYS_OPEN | {"BARS__GRACE_S": "1"}


@pytest.mark.parametrize("away_s", [75, pytest.param(300, marks=[pytest.mark.chaos, long_drill])])
@pytest.mark.timeout(900)
def test_after_an_outage_no_tick_is_late_that_came_in_time(
    kafka: Any, unique: str, tmp_path: Path, away_s: int
) -> None:
    random = seeded()
    with pipeline(kafka.bootstrap, unique, tmp_path, **LIVE) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=1500, speed=0)
        feed.start()
        worker = made.worker()
        soon(lambda: metric(worker, "barstream_ticks_total") > 3000, "ticks are applied")
        assert worker.stop() == 0
        time.sleep(away_s)
        worker = made.worker()
        time.sleep(10)
        feed.finish()
        truth = assert_settled(made, timeout_s=120)
        late = [why for why in truth.rejected.values() if why != "undecodable"]
        assert late == []
        assert truth.heartbeats, "the minutes of the outage were closed by heartbeats"
        assert worker.stop() == 0


@pytest.mark.timeout(300)
def test_heartbeats_do_not_overtake_the_ticks_of_a_worker_that_is_slow(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    random = seeded()
    with pipeline(kafka.bootstrap, unique, tmp_path, **LIVE) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=1500, speed=0)
        feed.start()
        both = [made.worker(directory="w0"), made.worker(directory="w1")]
        soon(lambda: all(metric(w, "barstream_partitions") == 2 for w in both), "they share")
        soon(lambda: sum(metric(w, "barstream_leader") for w in both) == 1, "one leads")
        slow = next(w for w in both if not metric(w, "barstream_leader"))
        end = time.monotonic() + 70  # one full minute is due in it, whenever it begins
        pulses = 0
        while time.monotonic() < end:
            slow.signal(signal.SIGSTOP)
            time.sleep(random.uniform(1.5, 4))  # the session timeout is 6 s
            slow.signal(signal.SIGCONT)
            time.sleep(random.uniform(0.2, 1))
            pulses += 1
        feed.finish()
        truth = assert_settled(made)
        assert set(truth.rejected.values()) <= {"undecodable"}
        assert truth.heartbeats
        assert metric(slow, "barstream_fenced_total") == 0, "it lost nothing, it was only slow"
        assert [w.stop() for w in both] == [0, 0]
