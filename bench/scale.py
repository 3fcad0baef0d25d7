"""Two workers on two cores against one on one, on the same backlog.

The backlog is one transaction, committed when the workers have shared the partitions: until then
they see none of it, so both begin with all of it at the moment of the commit.  The second worker is
on the core of the broker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from bench.contestants import Barstream, ContestantFailed, Running, Site
from bench.drain import follow
from bench.tape import Tape, write_all
from bench.workload import batch_producer
from tests.chaos.drill import metric
from tests.pipeline import Pipeline, until

_SHARED_S: Final = 120.0
_TRANSACTION_MS: Final = 900_000
"""Brokers allow no longer one."""


def scaled_drain(
    contestant: Barstream, site: Site, tape: Tape, cores: Sequence[int], budget_s: float
) -> float:
    """Ticks a second through a worker on each of ``cores``, from a topic of their own.

    Raises:
        ContestantFailed: a worker ended, or they did not share the partitions.
    """
    site.broker.create(site.ticks, site.partitions)
    contestant.prepare(site)
    runnings: list[Running] = []
    made = contestant.pipeline(site)
    try:
        for number, core in enumerate(cores):
            runnings.append(contestant.start_worker(made, core, f"state{number}"))
        together = Running(
            [process for each in runnings for process in each.processes],
            [log for each in runnings for log in each.logs],
        )
        _share(made, site.partitions)
        together.at_ms = asyncio.run(_fill(site, tape))
        bars, is_through, _ = follow(contestant, site, together, tape, budget_s)
    finally:
        for each in runnings:
            each.stop()
    if not is_through:
        raise ContestantFailed(f"{len(cores)} workers must be through within {budget_s:.0f} s")
    end_ms = int(bars.rows["readable_us"].max()) / 1000  # type: ignore[arg-type]
    return len(tape) / (end_ms - together.at_ms) * 1000


def _share(made: Pipeline, partitions: int) -> None:
    count = len(made.workers)
    each = {partitions // count, -(-partitions // count)}

    def is_shared() -> bool:
        held = [int(metric(worker, "barstream_partitions")) for worker in made.workers]
        return sum(held) == partitions and set(held) <= each

    try:
        until(
            lambda: is_shared() and all(worker.ready for worker in made.workers),
            _SHARED_S, "partitions are shared",
        )  # fmt: skip
    except AssertionError as error:
        raise ContestantFailed(
            f"{count} workers must share {partitions} partitions within {_SHARED_S:.0f} s, and did "
            f"not: {made.workers[-1].tail()}"
        ) from error


async def _fill(site: Site, tape: Tape) -> float:
    """When the transaction was committed."""
    producer = batch_producer(
        site.broker.options, transactional_id=f"{site.name}-fill",
        transaction_timeout_ms=_TRANSACTION_MS,
    )  # fmt: skip
    await producer.start()
    try:
        await producer.begin_transaction()
        await write_all(producer, site.ticks, tape)
        at_ms = time.time() * 1000
        await producer.commit_transaction()
    finally:
        await producer.stop()
    return at_ms
