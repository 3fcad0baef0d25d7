"""A bounded part of the randomised runs: fixed seeds, so that every kind of fault comes once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.runs.play import play
from tests.chaos.runs.scenario import scenario_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.mark.parametrize(
    ("seed", "kinds"),
    [
        (7001, ("kill", "garbage_ticks", "aborted")),
        (7002, ("freeze_leader", "sent_twice", "reordered")),
    ],
)
@pytest.mark.timeout(240)
def test_after_the_faults_of_a_run_nothing_is_lost_nothing_double_and_every_bar_right(
    kafka: Any, tmp_path: Path, seed: int, kinds: tuple[str, ...]
) -> None:
    result = play(scenario_of(seed, kinds, cluster=False), kafka.bootstrap, None, tmp_path)
    if result.skipped:
        pytest.skip(f"needs {result.skipped}")
    assert result.problems == [], "\n".join([result.scenario, *result.did, *result.ended])
    assert result.bars > 20, "too little to prove anything"
