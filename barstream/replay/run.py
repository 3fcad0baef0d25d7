"""A whole replay: what is asked for, the shadow topics, and every partition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.feeds.schedule_file import read_schedule_file
from barstream.feeds.schedule_load import dates_of, difference, read_current
from barstream.kafka.cluster import Cluster
from barstream.kafka.topics import TopicNames
from barstream.log.parallel import run_all
from barstream.log.selection import Selection
from barstream.log.series import series_rows, series_seen
from barstream.log.snapshot import held
from barstream.market.schedule import Series, SessionRow
from barstream.replay import shadow_topics
from barstream.replay.derive import derive
from barstream.replay.published_bars import NothingToReplay
from barstream.replay.request import Job, Request
from barstream.replay.scope import Derived
from barstream.replay.shadow_topics import ShadowTopics


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asks for; see ``barstream replay --help``."""

    wanted: Selection = Selection()
    from_us: int | None = None
    to_us: int | None = None
    partition: int | None = None
    begin: int | None = None
    end: int | None = None
    schedule: Path | None = None
    recorded: bool = True


async def prepare(settings: Settings, suffix: str, asked: Asked) -> list[Job]:
    """The jobs of a replay, one a partition.

    Raises:
        BarstreamError: the topics cannot be read, the schedule file not be used, or the range
            holds nothing.
    """
    cluster = Cluster(settings)
    names = cluster.names
    if asked.from_us is not None and asked.to_us is not None and asked.from_us >= asked.to_us:
        raise NothingToReplay("--from must lie before --to")
    request = Request(
        settings,
        suffix,
        asked.wanted,
        asked.from_us,
        asked.to_us,
        asked.recorded,
        await sessions_in_force(settings, asked.schedule),
        {name: row.partition for name, row in (await series_seen(cluster)).items()},
    )
    there = await held(cluster, names.ticks)
    partitions: Sequence[int] = sorted(there)
    if asked.partition is not None:
        if asked.partition not in there:
            raise NothingToReplay(
                f"{names.ticks} has the partitions 0 to {len(there) - 1}, found "
                f"--partition {asked.partition}"
            )
        partitions = [asked.partition]
    elif asked.wanted.symbol is not None:
        home = request.homes.get((asked.wanted.broker or "", asked.wanted.symbol))
        if home is None:
            raise NothingToReplay(
                f"no tick of {asked.wanted.broker} {asked.wanted.symbol} was ever accepted: check "
                "the spelling"
            )
        partitions = [home]
    return [Job(request, partition, asked.begin, asked.end) for partition in partitions]


async def sessions_in_force(
    settings: Settings, file: Path | None = None
) -> tuple[SessionRow, ...] | None:
    """All rows in force, those of ``file`` in the place of what they would replace.

    None: no schedule is used, markets never close.
    """
    if not settings.bars.schedule:
        if file is not None:
            raise BarstreamError(
                "a schedule file needs a pipeline with a schedule, but bars.schedule is false"
            )
        return None
    current = (await read_current(settings)).rows
    series: set[Series] = set(current.series())
    rows = {name: list(current.rows_of(name)) for name in series}
    if file is not None:
        wanted = read_schedule_file(file, name_rule=settings.ticks.name_rule)
        dates = dates_of(wanted)
        difference(current, wanted, dates)  # refuses rows that do not hold together
        for name, (first, last) in dates.items():
            kept = [r for r in rows.get(name, ()) if not first <= r.trading_date <= last]
            rows[name] = [*kept, *(r for r in wanted if (r.broker, r.symbol) == name)]
    return tuple(row for name in sorted(rows) for row in rows[name])


async def total_of(jobs: Sequence[Job]) -> int:
    """About how many offsets will be passed, for a progress bar."""
    settings = jobs[0].request.settings
    cluster = Cluster(settings)
    names = cluster.names
    there = await held(cluster, names.ticks)
    one = await held(cluster, names.series)
    rows = await series_rows(cluster, names.series, one)
    total = 0
    for job in jobs:
        position = rows[job.partition].position
        end = there[job.partition].end if position is None else position.next_offset
        begin = max(there[job.partition].begin, job.begin or 0)
        total += max(0, min(end, job.end if job.end is not None else end) - begin)
    return total


def replay(
    jobs: Sequence[Job],
    *,
    again: bool,
    processes: int | None,
    on_progress: Callable[[int], None],
) -> list[Derived]:
    """Make the shadow topics and fill them.

    Raises:
        ShadowRefused: they hold records.
        BarstreamError: a partition could not be replayed; start anew with ``again``.
    """
    request = jobs[0].request
    shadows = ShadowTopics(TopicNames.of(request.settings), request.suffix)
    asyncio.run(shadow_topics.create(request.settings, shadows, again=again))
    return run_all(derive, jobs, processes, on_progress)
