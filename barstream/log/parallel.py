"""Partitions side by side, each in a process of its own, on as many cores as there are."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from queue import Empty
from typing import Any, Final, TypeVar

from barstream.garbage_collection import collect_rarely

Job = TypeVar("Job")
Result = TypeVar("Result")

_POLL_S: Final = 0.1

_passed: Any = None


Report = Callable[[int], None]
Work = Callable[[Job, Report], Coroutine[Any, Any, Result]]
"""What is done for one job, in its process; it reports how far it came since the last time."""


def run_all(
    work: Work[Job, Result],
    jobs: Sequence[Job],
    processes: int | None,
    on_progress: Callable[[int], None],
) -> list[Result]:
    """What ``work`` came to for each of ``jobs``, in their order.

    Args:
        work: a function of a module.
        jobs: one a partition.
        processes: at most so many at once; None: one a core.
        on_progress: told in this process what was reported.

    Raises:
        Exception: the first one of any job; the others are ended.
    """
    # spawned and not forked: a fork would share event loop, sockets and the threads of polars
    context = multiprocessing.get_context("spawn")
    passed = context.Queue()
    count = min(processes or os.cpu_count() or 1, max(1, len(jobs)))
    if count > 1:
        # what polars starts beyond the cores of a process would only be in the way
        share = max(1, (os.cpu_count() or 1) // count)
        os.environ.setdefault("POLARS_MAX_THREADS", str(share))
    pool = ProcessPoolExecutor(count, context, _begin, (passed,))
    try:
        futures: list[Future[Result]] = [pool.submit(_run, work, job) for job in jobs]
        left = set(futures)
        while left:
            done, left = wait(left, _POLL_S, FIRST_COMPLETED)
            _tell(passed, on_progress)
            for future in done:
                future.result()
        return [future.result() for future in futures]
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        passed.close()


def _begin(passed: Any) -> None:
    global _passed  # noqa: PLW0603  what a process of the pool is given once
    _passed = passed
    collect_rarely()


def _run(work: Work[Job, Result], job: Job) -> Result:
    return asyncio.run(work(job, _passed.put))


def _tell(passed: Any, on_progress: Callable[[int], None]) -> None:
    while True:
        try:
            on_progress(passed.get_nowait())
        except Empty:
            return
