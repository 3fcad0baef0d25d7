"""One run from its scenario to its verdict."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError

from barstream.feeds.schedule_load import load_schedule
from barstream.kafka.connection import admin_client
from barstream.kafka.topics import create
from tests.chaos.faults import KINDS, Fault, Scene
from tests.chaos.faults.base import HISTORY_SPEED
from tests.chaos.feed import Feed
from tests.chaos.runs.alerts import fired, rules_of
from tests.chaos.runs.crew import Crew
from tests.chaos.runs.families import FAMILIES
from tests.chaos.runs.reads import Reads
from tests.chaos.runs.resource_usage import footprint_problems
from tests.chaos.runs.result import Result
from tests.chaos.runs.scenario import Planned, Scenario
from tests.chaos.runs.scrape import Watch
from tests.chaos.runs.sessions import sessions_of
from tests.chaos.runs.verdict import SETTLE_S, judge_run
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import ROOT, Pipeline, until

#: A live run begins so that a minute ends, and is due, while faults are at work.
_LIVE_BEGINS_S: Final = (32, 54)

#: The first start of all workers, on a machine that does other things as well.
_START_S: Final = 120.0

#: What makes time pass faster than by default; nothing here changes what must come out.
_OPTIONS: Final = {
    "KAFKA__SESSION_TIMEOUT_S": "5",
    "KAFKA__REQUEST_TIMEOUT_S": "15",
    "HEARTBEATS__RESUME_HOLD_S": "1",
    "BARS__TIMEFRAMES": "2m,5m,1h",
    "BARS__GRACE_S": "1",
}


def play(
    scenario: Scenario, bootstrap: str, cluster: KafkaCluster | None, directory: Path
) -> Result:
    """Play a scenario on running brokers; whatever goes wrong is a problem of the result."""
    kinds = [fault.kind for fault in scenario.faults]
    result = Result(
        scenario.seed, str(scenario), scenario.short, scenario.chosen, kinds,
        family=scenario.family, commit=commit(),
    )  # fmt: skip
    lacking = [why for fault in scenario.faults if (why := KINDS[fault.kind].lacks())]
    if lacking:
        result.skipped = "; ".join(lacking)
        return result
    began = time.monotonic()
    try:
        _play(scenario, bootstrap, cluster, directory, result)
    except Exception as error:  # noqa: BLE001  the other runs go on
        result.problems.append(f"{error!r}")
        result.did.append(traceback.format_exc())
    result.seconds = time.monotonic() - began
    return result


def commit() -> str:
    """Of this tree, with a ``+`` where it was changed; nothing where git does not tell."""
    git = ["git", "describe", "--always", "--abbrev=7", "--exclude=*", "--dirty=+"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _play(
    scenario: Scenario,
    bootstrap: str,
    cluster: KafkaCluster | None,
    directory: Path,
    result: Result,
) -> None:
    # what clients say of brokers that are gone is expected here, and much
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    directory.mkdir(parents=True, exist_ok=True)
    made = _pipeline(scenario, bootstrap, directory)
    asyncio.run(create(made.settings))
    crew = Crew(made, scenario.workers)
    speed = 0.0 if scenario.live else HISTORY_SPEED
    feed = Feed(made, scenario.seed, rate=scenario.rate, speed=speed)
    watch = Watch(lambda: {slot.name: slot.worker for slot in crew.slots})
    scene = Scene(
        made, crew, feed, cluster, directory, scenario.live,
        fired=lambda: fired(rules_of(), watch.seen),
    )  # fmt: skip
    faults = [(f, KINDS[f.kind](random.Random(f.seed))) for f in scenario.faults]
    reads = Reads(
        lambda: [slot.worker for slot in crew.running], feed.names, scenario.seed, watch.look
    )
    try:
        for _, fault in faults:
            fault.prepare(scene)
        if scenario.scheduled:
            _load_sessions(scene)
        crew.start()
        watch.start()
        if scenario.warm:
            crew.settle(_START_S)
        if scenario.live:
            until(_minute_is_late, 65, "a good moment to begin")
        for _, fault in faults:
            fault.precede(scene)
        feed.start()
        reads.start()
        _do(faults, scene, watch, result)
        if scenario.live:
            until(lambda: time.time() % 60 < 30, 30, "a minute has ended")
        feed.finish(120)
        result.recovery_s = crew.settle(SETTLE_S)
        judge_run(scenario, scene, [fault for _, fault in faults], result)
        for _, fault in faults:
            fault.after(scene)
        result.problems += _watched(scenario, scene, [fault for _, fault in faults], watch)
    finally:
        reads.stop()
        watch.stop()
        feed.abandon()
        result.fired = fired(rules_of(), watch.seen)
        result.reads = dict(reads.outcomes)
        result.peak_mib = round(watch.peak_mib, 1)
        result.descriptors = watch.descriptors
        result.did += scene.notes
        result.ended = [
            f"{slot.name} {code}: {words}" for slot in crew.slots for code, words in slot.ended
        ]
        result.starts = sum(slot.starts for slot in crew.slots)
        crew.stop()
        for _, fault in faults:
            fault.clean(scene)
        forget(made)


def _pipeline(scenario: Scenario, bootstrap: str, directory: Path) -> Pipeline:
    name = f"run{scenario.seed}-{random.randrange(1 << 24):06x}"
    family = FAMILIES[scenario.family].options if scenario.family else {}
    options = _OPTIONS | {
        "TOPICS__PARTITIONS": str(scenario.partitions),
        "BARS__SCHEDULE": "true" if scenario.scheduled else "false",
        "BARS__LATE_POLICY": "revise" if scenario.revise else "reject",
        "TOPICS__REPLICATION": "3" if scenario.cluster else "1",
        "RECOVERY__STANDBY_REPLICAS": "1" if scenario.standby else "0",
        **family,
    }
    return Pipeline(bootstrap, name, directory, options)


def _load_sessions(scene: Scene) -> None:
    begin_us = time.time_ns() // 1000 if scene.live else scene.feed.clock_us
    scene.sessions = sessions_of(scene.feed.names, begin_us) if scene.has_sessions else []
    if scene.sessions:
        asyncio.run(load_schedule(scene.made.settings, scene.sessions))


def _watched(scenario: Scenario, scene: Scene, faults: list[Fault], watch: Watch) -> list[str]:
    """Alerts that should have fired, and bounds that were passed."""
    watch.look()
    wanted = {alert for fault in faults for alert in fault.alerts}
    lacking = sorted(wanted - set(fired(rules_of(), watch.seen)))
    problems = [f"{alert} did not fire" for alert in lacking]
    if scenario.family is not None:
        problems += footprint_problems(watch, scene.made.settings)
    return problems


def _minute_is_late() -> bool:
    first, last = _LIVE_BEGINS_S
    return first <= time.time() % 60 < last


def _do(faults: list[tuple[Planned, Fault]], scene: Scene, watch: Watch, result: Result) -> None:
    """Each fault at its moment, in a thread of its own: they may overlap."""
    began = time.monotonic()

    def act(planned: Planned, fault: Fault) -> None:
        time.sleep(max(0.0, began + planned.at_s - time.monotonic()))
        watch.look()
        at_s = time.monotonic() - began
        said = fault.begin(scene)
        result.did.append(f"{at_s:5.1f} s {fault.name}: {said}")
        time.sleep(planned.lasts_s)
        fault.end(scene)
        result.did.append(f"{time.monotonic() - began:5.1f} s {fault.name} is over")

    with ThreadPoolExecutor(max(1, len(faults))) as pool:
        for acting in [pool.submit(act, planned, fault) for planned, fault in faults]:
            acting.result()
    time.sleep(max(0.0, began + scene.least_s - time.monotonic()))
    scene.feed.check()


def forget(made: Pipeline) -> None:
    """Delete the topics of a run: two hundred runs would leave ten thousand partitions."""

    async def go() -> None:
        async with admin_client(made.settings) as admin:
            await admin.delete_topics([t for t in await admin.list_topics() if made.name in t])

    try:
        asyncio.run(go())
    except (KafkaError, OSError, TimeoutError) as error:
        logging.getLogger(__name__).warning("topics of %s stay: %r", made.name, error)
