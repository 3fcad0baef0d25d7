"""A bounded part of the fuzzing; all of it: ``python -m tests.fuzz`` (docs/fuzz.md)."""

from __future__ import annotations

import pytest

from tests.fuzz.surface import Surface, run
from tests.fuzz.surfaces import all_surfaces

SURFACES = all_surfaces()


@pytest.mark.parametrize("surface", SURFACES, ids=[each.name for each in SURFACES])
def test_mutated_input_is_judged_by_the_rules_and_disturbs_nothing(surface: Surface) -> None:
    outcome = run(surface, int(2_000 * surface.weight), seed=5)
    assert not outcome.findings, str(outcome.findings[0])
    assert outcome.grown < 400 << 20
    assert len(outcome.counts) > 1, "mutations that all end alike reach nothing"
