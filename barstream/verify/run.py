"""All partitions, each in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Any, Final

from barstream.config import Settings
from barstream.errors import ConfigError
from barstream.garbage_collection import collect_rarely
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import admin_client
from barstream.kafka.topic_follower import TopicMissingError
from barstream.kafka.topics import TopicNames
from barstream.kafka.topics.metadata import shapes
from barstream.log.selection import Selection
from barstream.log.snapshot import Span, held
from barstream.model.period import MINUTE
from barstream.verify.partition import Verification
from barstream.verify.task import Outcome, Task

_LOOK_S: Final = 0.1
#: A process takes a second or two to start: fewer records are read in less.
_RECORDS_A_PROCESS: Final = 250_000

Told = Callable[[int], None]


async def tick_spans(settings: Settings) -> dict[int, Span]:
    """What each partition of the tick topic holds.

    Raises:
        BarstreamError: no broker answers, it refuses, or a topic of the pipeline is missing.
    """
    cluster = Cluster(settings)
    names = cluster.names
    async with admin_client(settings) as admin:
        there = await shapes(admin)
    needed = [
        names.ticks, names.final_1m, names.live_1m, names.ticks_rejected, names.series,
        names.series_seen, names.heartbeats, *names.rollups.values(),
    ]  # fmt: skip
    if settings.bars.schedule:
        needed.append(names.market_schedule)
    if missing := [name for name in needed if name not in there]:
        raise TopicMissingError(
            f"every topic of the pipeline is required, but the cluster at {settings.bootstrap} "
            f"lacks {', '.join(missing)}: run `barstream topics create`, or correct app_id and "
            "[topics]"
        )
    return await held(cluster, names.ticks)


async def records_of(settings: Settings, spans: Mapping[int, Span]) -> int:
    """How many records are to be read of the partitions in ``spans``: ticks, and their minutes.

    Raises:
        BarstreamError: no broker answers, or it refuses.
    """
    cluster = Cluster(settings)
    minutes = await held(cluster, cluster.names.final_1m, tuple(spans))
    return sum(span.end - span.begin for each in (spans, minutes) for span in each.values())


def processes_for(records: int, cores: int) -> int:
    """As many as so many records keep busy, at most one a core."""
    return max(1, min(cores, records // _RECORDS_A_PROCESS))


def verify(tasks: list[Task], processes: int, told: Told) -> Outcome:
    """Verify every partition; what came of all.

    Args:
        tasks: one a partition.
        processes: at most so many at once.
        told: how many ticks more were read, every now and then.

    Raises:
        BarstreamError: a topic cannot be read.
    """
    whole, began = Outcome(), time.monotonic()
    if processes == 1 or len(tasks) == 1:
        for task in tasks:
            whole.take(asyncio.run(Verification(task, told).run()))
    else:
        _in_processes(tasks, processes, told, whole)
    whole.seconds = time.monotonic() - began
    return whole


def _in_processes(tasks: list[Task], processes: int, told: Told, whole: Outcome) -> None:
    # spawned and not forked: a fork would share event loop, sockets and the threads of polars
    context = multiprocessing.get_context("spawn")
    counts = context.Queue()
    # each process has one core: what polars starts beside it would only be in the way
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    count = min(processes, len(tasks))
    with ProcessPoolExecutor(count, context, initializer=_begin, initargs=(counts,)) as pool:
        left = {pool.submit(_run, task) for task in tasks}
        try:
            while left:
                done, left = wait(left, _LOOK_S, FIRST_COMPLETED)
                _drain(counts, told)
                for future in done:
                    whole.take(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _drain(counts: Any, told: Told) -> None:
    while True:
        try:
            told(counts.get_nowait())
        except queue.Empty:
            return


_counts: list[Any] = []


def _begin(counts: Any) -> None:
    _counts.append(counts)
    collect_rarely()


def _run(task: Task) -> Outcome:
    return asyncio.run(Verification(task, _counts[0].put).run())


def tasks_of(
    settings: Settings,
    spans: Mapping[int, Span],
    wanted: Selection,
    timeframes: Sequence[str],
    graces_before_us: Sequence[int] = (),
) -> list[Task]:
    """One task a partition, the longest first.

    Args:
        settings: completed by the pipeline's declaration.
        spans: of the tick topic.
        wanted: series and time.
        timeframes: of upper bars to check; none named: all.
        graces_before_us: graces that were in force before.

    Raises:
        ConfigError: the pipeline does not make a timeframe.
    """
    made = {MINUTE.timeframe: MINUTE} | {
        period.timeframe: period for period in TopicNames.of(settings).rollups
    }
    asked = [text.strip().lower() for text in timeframes] or list(made)
    if unknown := [text for text in asked if text not in made]:
        raise ConfigError(
            f"the pipeline makes {' '.join(made)}, found {' '.join(unknown)}: ask for one of these"
        )
    periods = tuple(made[text] for text in made if text in asked and text != MINUTE.timeframe)
    order = sorted(spans, key=lambda partition: spans[partition].begin - spans[partition].end)
    before = tuple(graces_before_us)
    return [Task(settings, partition, wanted, periods, before) for partition in order]
