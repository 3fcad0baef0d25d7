"""Work on partitions goes to processes, and comes back as if it had been done here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from barstream.errors import BarstreamError
from barstream.log.parallel import run_all


async def _later_first(job: int, report: Callable[[int], None]) -> tuple[int, int, str | None]:
    report(job)
    await asyncio.sleep(0.2 * (job == 1))
    return job, os.getpid(), os.environ.get("POLARS_MAX_THREADS")


async def _refused(job: int, _report: Callable[[int], None]) -> int:
    if job == 2:
        raise BarstreamError("the second partition cannot be read")
    return job


def test_results_stand_in_the_order_of_the_jobs_whichever_was_ready_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What verify prints must not hang on which process was quicker."""
    monkeypatch.setenv("POLARS_MAX_THREADS", "")
    monkeypatch.delenv("POLARS_MAX_THREADS")
    told: list[int] = []

    found = run_all(_later_first, [1, 2, 3], 2, told.append)

    assert [job for job, _, _ in found] == [1, 2, 3]
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert sorted(told) == [1, 2, 3]
    # processes that share the cores do not start as many threads each
    assert {threads for _, _, threads in found} == {"1"}


def test_the_error_of_one_job_is_that_of_all() -> None:
    with pytest.raises(BarstreamError, match="second partition"):
        run_all(_refused, [1, 2, 3], 2, lambda _: None)
