"""All partitions, each in a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from barstream.config import Settings
from barstream.errors import ConfigError
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import admin_client
from barstream.kafka.topic_follower import TopicMissingError
from barstream.kafka.topics import TopicNames
from barstream.kafka.topics.metadata import shapes
from barstream.log.parallel import run_all
from barstream.log.selection import Selection
from barstream.log.snapshot import Span, held
from barstream.model.period import MINUTE
from barstream.verify.partition import Verification
from barstream.verify.task import Outcome, Task

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
            whole.take(asyncio.run(_verified(task, told)))
    else:
        for outcome in run_all(_verified, tasks, processes, told):
            whole.take(outcome)
    whole.seconds = time.monotonic() - began
    return whole


async def _verified(task: Task, told: Told) -> Outcome:
    return await Verification(task, told).run()


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
