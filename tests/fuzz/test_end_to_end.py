"""A short run of mutants through a real broker and worker; the long one is in docs/fuzz.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.end_to_end import RSS_LIMIT, run
from tests.fuzz.feeds import FORMATS

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
def test_no_mutant_disturbs_a_good_tick_or_is_lost_itself(
    kafka: Any, unique: str, tmp_path: Path, form: Any
) -> None:
    result = run(kafka.bootstrap, unique, tmp_path, form, 10_000, seed=1)
    assert result.problems[:5] == []
    assert result.mutated >= 10_000
    assert len(result.rejected) >= 3, "mutants that are all refused alike reach nothing"
    assert result.mutants_that_are_ticks > 100
    assert result.answers > 10
    assert result.slowest_answer_s < 1
    assert result.peak_rss < RSS_LIMIT
