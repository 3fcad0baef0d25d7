"""The verdict on a run that has settled."""

from __future__ import annotations

import time
from typing import Any, Final

from barstream.model.time import MINUTE_US
from tests.chaos.faults import Fault, Scene
from tests.chaos.faults.foreign_topics import ForeignTicks
from tests.chaos.runs import judge
from tests.chaos.runs.result import Result
from tests.chaos.runs.scenario import Scenario
from tests.pipeline import until

SETTLE_S: Final = 120.0


def judge_run(scenario: Scenario, scene: Scene, faults: list[Fault], result: Result) -> None:
    """Hold a run that has settled to all that must be true; what is not goes into ``result``."""
    made, problems = scene.made, result.problems
    sent = scene.feed.sent + scene.sent_by_faults
    changed = any(fault.changes_rules for fault in faults)
    sessions = scene.sessions if scenario.scheduled else None
    # ticks that a broker kept waiting come late, and then the clock may not close their series
    if scenario.live and not any(fault.thing == "broker" for fault in faults):
        create_time = any(isinstance(fault, ForeignTicks) for fault in faults)
        _no_minute_missing(scene, sessions, changed=changed, create_time=create_time)
    in_session = None if changed else judge.session_test(sessions)
    # applied is not flushed yet: what was settled a moment ago may still be on its way
    problems += judge.until_clean(lambda: judge.accounting(made, sent, in_session))
    if not scenario.revise and not scenario.live and not changed:
        problems += judge.until_clean(
            lambda: judge.exact_problems(
                made, sessions, scene.feed.names, scene.homes, scene.refused
            )
        )
    problems += judge.one_writer(made)
    verified = judge.verify(made)
    result.differences, result.counts = len(verified.differences), verified.summary
    if verified.code != 0:
        problems.append(f"verify ended {verified.code}: {verified.said}")
        problems += [f"verify: {line}" for line in verified.differences[:20]]
    result.ticks, result.bars = sent, len(judge.standing_bars(made))
    if not any(fault.ends_workers for fault in faults):
        problems += [
            f"{slot.name} ended by itself: {code} {words}"
            for slot in scene.crew.slots
            for code, words in slot.ended
        ]


def _no_minute_missing(scene: Scene, sessions: Any, *, changed: bool, create_time: bool) -> None:
    """The leader closes the last whole minute of every series that had ticks in it or before."""
    if changed or sessions is not None:
        return
    minute_us = time.time_ns() // 1000 // MINUTE_US * MINUTE_US - MINUTE_US
    # by CreateTime a series is live only while its ticks are read in time, also after a fault
    tardy = judge.historical(scene.made) if create_time else set()

    def closed() -> bool:
        last: dict[str, int] = {}
        for bar in scene.made.finals():
            start_us = int(bar["bucket_start"])
            last[bar["symbol"]] = max(start_us, last.get(bar["symbol"], start_us))
        busy = [symbol for _, symbol in scene.feed.names[:6] if symbol not in tardy]
        return all(last.get(symbol, 0) >= minute_us for symbol in busy)

    until(closed, 60, "the leader closes the minute that was over")
    scene.crew.settle(SETTLE_S)
