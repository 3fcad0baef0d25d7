"""No more processes than the work wants: each takes longer to start than a few records to read."""

from __future__ import annotations

import pytest

from barstream.verify.run import processes_for


@pytest.mark.parametrize(
    ("records", "cores", "wanted"),
    [(0, 8, 1), (30_000, 8, 1), (499_999, 8, 1), (500_000, 8, 2), (10_000_000, 8, 8), (9**9, 1, 1)],
)
def test_there_is_one_for_small_work_and_at_most_one_a_core(
    records: int, cores: int, wanted: int
) -> None:
    assert processes_for(records, cores) == wanted
