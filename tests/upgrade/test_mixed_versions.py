"""Workers of two versions in one group, as during a rolling upgrade, and of other settings."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from barstream.codecs.topics.row_version import VERSION as VERSION_OF_ROWS
from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out, long_drill, metric, seeded, soon
from tests.chaos.feed import Feed
from tests.chaos.runs.alerts import fired, rules_of
from tests.chaos.runs.scrape import Watch
from tests.pipeline import ROOT, WorkerProcess, pipeline
from tests.prometheus import Prometheus
from tests.upgrade import golden
from tests.upgrade.other_version import VERSION
from tests.upgrade.source_tree import source_tree

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def others_of(worker: WorkerProcess) -> list[tuple[str | None, str, list[dict[str, str]]]]:
    """Version, settings and differences of the others, as a worker sees them."""
    try:
        shown = worker.get("/status")["other_workers"]
    except OSError:
        return []
    return [(each["version"], each["settings"], each["differences"]) for each in shown]


def share(*workers: WorkerProcess) -> None:
    """Wait until all partitions are held by these workers, each of which has some and reads on."""

    def shared() -> bool:
        held = [metric(worker, "barstream_partitions") for worker in workers]
        return sum(held) == 4 and min(held) >= 1 and all(worker.ready for worker in workers)

    soon(shared, "they share", 60)
    before = [metric(worker, "barstream_ticks_total") for worker in workers]
    soon(
        lambda: all(
            metric(worker, "barstream_ticks_total") > was
            for worker, was in zip(workers, before, strict=True)
        ),
        "ticks flow",
        60,
    )


@pytest.mark.timeout(300)
def test_workers_of_other_versions_and_settings_take_over_from_each_other(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """An older one says nothing of itself, a newer one more than is understood here."""
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        feed = Feed(made, 5, rate=2000)
        feed.start()
        older = made.worker(
            directory="older",
            wait=False,
            program=("tests.upgrade.other_version", "older", "worker"),
        )
        here = made.worker(directory="here", wait=False)
        share(older, here)
        soon(lambda: others_of(here) == [(None, "unknown", [])], "the older one is seen")
        assert "beside 1 worker of a version that does not tell it" in here.log.read_text()
        older.kill()
        share(here)
        newer = made.worker(
            directory="older",
            wait=False,
            program=("tests.upgrade.other_version", "newer", "worker"),
            extra_env={"BARSTREAM_BARS__LIVE_INTERVAL_MS": "300"},
        )
        share(newer, here)
        difference = {"setting": "bars.live_interval_ms", "here": "200", "there": "300"}
        soon(lambda: others_of(here) == [(VERSION, "other", [difference])], "the newer one is seen")
        prometheus = Prometheus(f"http://127.0.0.1:{here.port}")
        soon(lambda: prometheus.fires("BarstreamSettingsDiffer"), "an alert")
        url = f"http://127.0.0.1:{newer.port}"
        assert f"{url} ({unique}-" in here.log.read_text()
        assert "has bars.live_interval_ms 300, here 200" in here.log.read_text()
        other = {"setting": "bars.live_interval_ms", "here": "300", "there": "200"}
        soon(lambda: [each[2] for each in others_of(newer)] == [[other]], "so it sees this one")
        here.kill()
        share(newer)
        feed.finish()
        assert_all_came_out(made)
        assert newer.stop() == 0
        made.run("verify")


def released(directory: Path) -> Path:
    """The source of the release that left the golden state."""
    place = golden.PLACE.relative_to(ROOT)
    asked = ["git", "log", "-1", "--format=%H", "--", str(place)]
    commit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if not commit.strip():
        pytest.skip("no commit has the golden state")
    return source_tree(commit.strip(), directory)


def row_version(tree: Path) -> int:
    """Of the rows that a tree writes."""
    text = (tree / "barstream" / "codecs" / "topics" / "row_version.py").read_text()
    (found,) = re.findall(r"^VERSION: Final = (\d+)$", text, re.MULTILINE)
    return int(found)


@pytest.mark.chaos
@long_drill
@pytest.mark.timeout(900)
def test_a_release_and_this_version_take_over_from_each_other_again_and_again(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """Each in turn is killed or stopped and comes back as either, on the disk it had."""
    random = seeded()
    trees = (released(tmp_path / "release"), ROOT)
    if (written := row_version(trees[0])) != VERSION_OF_ROWS:
        pytest.skip(
            f"the release writes rows of version {written} and refuses those of {VERSION_OF_ROWS}: "
            "of such an upgrade there is no way back (tests/upgrade/test_golden_state.py)"
        )
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        feed = Feed(made, random.randrange(1 << 30), rate=2000)
        feed.start()
        pair = [made.worker(directory=str(slot), wait=False, tree=trees[slot]) for slot in range(2)]
        share(*pair)
        for turn in range(8):
            slot = turn % 2
            if random.random() < 0.5:
                pair[slot].kill()
            else:
                assert pair[slot].stop() == 0, pair[slot].tail()
            share(pair[1 - slot])
            pair[slot] = made.worker(directory=str(slot), wait=False, tree=random.choice(trees))
            share(*pair)
            time.sleep(random.uniform(0, 3))
        feed.finish()
        assert_all_came_out(made)
        for worker in pair:
            assert worker.stop() == 0, worker.tail()
        logged = "".join(worker.log.read_text() for worker in made.workers)
        assert "need the same settings" not in logged
        assert "moved aside" not in logged
        made.run("verify")


@pytest.mark.chaos
@long_drill
@pytest.mark.timeout(300)
def test_a_partition_that_goes_back_and_forth_between_other_rules_is_an_alarm(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """Two workers differ in the grace; whoever holds the one partition is frozen, and wakes."""
    options = ALWAYS_OPEN | {"TOPICS__PARTITIONS": "1"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        pair = [made.worker(directory="a")]
        pair.append(made.worker(directory="b", extra_env={"BARSTREAM_BARS__GRACE_S": "7"}))
        watch = Watch(lambda: {each.log.name: each for each in pair}, every_s=0.5)
        watch.start()
        for _ in range(4):
            soon(lambda: sum(map(holds, pair)) == 1 and all(w.ready for w in pair), "one holds it")
            other, holder = sorted(pair, key=holds)
            holder.signal(signal.SIGSTOP)
            soon(partial(holds, other), "the other takes it over")
            holder.signal(signal.SIGCONT)
        watch.look()
        watch.stop()
        assert "BarstreamRulesDiffer" in fired(rules_of(), watch.seen)


def holds(worker: WorkerProcess) -> bool:
    """Whether it holds a partition."""
    return metric(worker, "barstream_partitions") > 0
