"""A seed decides its run, and nothing else does."""

from __future__ import annotations

from collections import Counter

from tests.chaos.faults import KINDS
from tests.chaos.runs.chosen import CHOSEN
from tests.chaos.runs.scenario import scenario_of


def test_a_seed_always_means_the_same_run() -> None:
    assert [scenario_of(seed) for seed in range(50)] == [scenario_of(seed) for seed in range(50)]


def test_two_hundred_seeds_draw_every_kind_that_may_be_drawn() -> None:
    drawn = Counter(f.kind for seed in range(200) for f in scenario_of(seed).faults)
    assert set(drawn) == {name for name, kind in KINDS.items() if kind.drawn}
    assert min(drawn.values()) >= 3


def test_a_run_has_what_its_faults_need() -> None:
    for seed in range(300):
        run = scenario_of(seed)
        needs = {need for fault in run.faults for need in KINDS[fault.kind].needs}
        assert 1 <= len(run.faults) <= 4
        assert run.scheduled or "schedule" not in needs
        assert run.cluster or "cluster" not in needs
        assert run.workers >= 2 or "workers" not in needs


def test_faults_that_are_asked_for_come_and_no_others() -> None:
    run = scenario_of(5, ("kill", "schedule_rewritten"))
    assert sorted(fault.kind for fault in run.faults) == ["kill", "schedule_rewritten"]
    assert run.scheduled


def test_every_kind_is_drawn_or_chosen() -> None:
    chosen = {kind for kinds in CHOSEN.values() for kind in kinds}
    assert chosen >= {name for name, kind in KINDS.items() if not kind.drawn}
