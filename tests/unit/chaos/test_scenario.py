"""A seed decides its run, and nothing else does."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.faults import KINDS
from tests.chaos.runs.alerts import rules_of
from tests.chaos.runs.chosen import CHOSEN
from tests.chaos.runs.families import BESIDE, FAMILIES
from tests.chaos.runs.scenario import scenario_of


def test_a_seed_always_means_the_same_run() -> None:
    assert [scenario_of(seed) for seed in range(50)] == [scenario_of(seed) for seed in range(50)]


def test_two_hundred_seeds_draw_every_kind_that_may_be_drawn() -> None:
    drawn = Counter(f.kind for seed in range(200) for f in scenario_of(seed).faults)
    assert set(drawn) == {name for name, kind in KINDS.items() if kind.drawn and not kind.family}
    assert min(drawn.values()) >= 3


@pytest.mark.parametrize("family", FAMILIES)
def test_fifty_seeds_of_a_family_draw_every_kind_of_it(family: str) -> None:
    runs = [scenario_of(seed, family=family) for seed in range(50)]
    assert runs == [scenario_of(seed, family=family) for seed in range(50)]
    drawn = Counter(fault.kind for run in runs for fault in run.faults)
    own = {name for name, kind in KINDS.items() if kind.family == family}
    assert own <= set(drawn) <= own | set(BESIDE)
    assert all(own & {fault.kind for fault in run.faults} for run in runs)
    assert min(drawn[name] for name in own) >= 3


def test_every_family_of_a_fault_is_one() -> None:
    assert {kind.family for kind in KINDS.values()} - {None} == set(FAMILIES)


def test_every_alert_that_a_fault_must_show_firing_is_a_rule() -> None:
    wanted = {alert for kind in KINDS.values() for alert in kind.alerts}
    assert wanted <= {rule.name for rule in rules_of()}


def test_a_run_has_what_its_faults_need() -> None:
    families = [scenario_of(seed, family=name) for name in FAMILIES for seed in range(50)]
    for run in [*(scenario_of(seed) for seed in range(300)), *families]:
        needs = {need for fault in run.faults for need in KINDS[fault.kind].needs}
        assert 1 <= len(run.faults) <= 5
        assert run.warm or "warm" not in needs
        assert not run.scheduled or "always_open" not in needs
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
