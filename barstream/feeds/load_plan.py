"""A load put together: the file, what Kafka knows of its series, and where it writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.feeds.admission import admit, refuse_without_session
from barstream.feeds.bulk_producer import Routes
from barstream.feeds.container import TickSource
from barstream.feeds.encoder import FLOATS, FeedFields, TickEncoder
from barstream.feeds.files import FileTicks, identity, joined, read_ticks
from barstream.feeds.known_series import closed_until, newest_minutes
from barstream.feeds.layout import FileLayout, TickFileError
from barstream.feeds.load import Load, LoadRules
from barstream.feeds.load_positions import ensure_topic, positions_topic
from barstream.feeds.load_transaction import LoadContents
from barstream.feeds.options import FileOptions, FoundLayout, layout_of
from barstream.feeds.order import disorders, in_time_order, refuse_unsorted
from barstream.feeds.progress import Watcher
from barstream.feeds.schedule_load import read_current
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import admin_client
from barstream.log.series import series_seen
from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex
from barstream.model.key import FOLDED, NameRule

_SHOWN: Final = 3


class TickTopicError(BarstreamError):
    """The topics a feed writes to are not as they must be: ``barstream topics create|check``."""


async def partitions_of(settings: Settings, *topics: str) -> list[int]:
    """How many partitions each of ``topics`` has.

    Raises:
        BrokerUnreachableError: no broker answers.
        TickTopicError: one of them does not exist.
    """
    async with admin_client(settings) as admin:
        known = await admin.list_topics()  # describing an unknown topic could create it
        missing = [topic for topic in topics if topic not in known]
        described = [] if missing else await admin.describe_topics(list(topics))
    if missing:
        raise TickTopicError(
            f"topic {missing[0]!r} is required, but {settings.bootstrap} has none of that name: "
            "run `barstream topics create`, or correct the name in [topics]"
        )
    counts = {entry["topic"]: len(entry["partitions"]) for entry in described}
    return [counts[topic] for topic in topics]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a load reads: files, how each is written, and their ticks in the order of sending."""

    sources: tuple[TickSource, ...]
    layouts: tuple[FileLayout, ...]
    ticks: FileTicks
    time_us: int = 1
    """Microseconds of the unit that times were cut to."""

    @property
    def name(self) -> str:
        """For people: the file, or the first of several."""
        more = f" and {len(self.sources) - 1} more" if len(self.sources) > 1 else ""
        return self.sources[0].name + more


def layouts_of(
    sources: Sequence[TickSource], options: FileOptions, watcher: Watcher
) -> list[FoundLayout]:
    """How each of the files is written; says of what the user should know.

    Raises:
        TickFileError: it cannot be told.
    """
    found = [layout_of(source, options) for source in sources]
    for caution in dict.fromkeys(each.caution for each in found if each.caution):
        watcher.say(caution)
    return found


def read_batch(
    sources: Sequence[TickSource],
    options: FileOptions,
    watcher: Watcher,
    *,
    sorted_only: bool = False,
    latest_us: int,
    name_rule: NameRule = FOLDED,
    feed: FeedFields = FLOATS,
) -> tuple[Batch, FoundLayout]:
    """The ticks of files in the order they are sent, and how the first of them is written.

    Raises:
        TickFileError: it cannot be told how a file is written, or it is not as described.
        UnsortedError: with ``sorted_only``, a series is out of order.
    """
    found = layouts_of(sources, options, watcher)
    batch = read_in_order(
        sources,
        [each.layout for each in found],
        watcher,
        sorted_only=sorted_only,
        latest_us=latest_us,
        name_rule=name_rule,
        feed=feed,
    )
    zone = options.settings.get("timezone")
    if zone is not None and not batch.ticks.assumed_zone:
        watcher.say(
            f"times in the file carry their own zone, or count from 1970 in UTC; --timezone {zone} "
            "is not used"
        )
    return batch, found[0]


def read_in_order(
    sources: Sequence[TickSource],
    layouts: Sequence[FileLayout],
    watcher: Watcher,
    *,
    sorted_only: bool,
    latest_us: int | None = None,
    name_rule: NameRule = FOLDED,
    feed: FeedFields = FLOATS,
) -> Batch:
    """The ticks of files in the order they are sent; says what is out of order.

    Args:
        sources: the files, in any order.
        layouts: how each is written.
        watcher: is told what the user should know.
        sorted_only: refuse a series that is out of order.
        latest_us: a tick after this is one of the future, which no worker takes.
        name_rule: how names are spelled.
        feed: what its fields hold; times are cut to its unit.

    Raises:
        TickFileError: a file is not as described, or there is no tick.
        UnsortedError: with ``sorted_only``, a series is out of order.
    """
    parts = [
        (
            read_ticks(source, layout, latest_us=latest_us, name_rule=name_rule, feed=feed),
            source,
            layout,
        )
        for source, layout in zip(sources, layouts, strict=True)
    ]
    parts.sort(key=lambda part: int(part[0].time_us.min(initial=np.iinfo(np.int64).max)))
    ticks = joined([part for part, _, _ in parts])
    batch = Batch(tuple(s for _, s, _ in parts), tuple(each for _, _, each in parts), ticks)
    if not len(ticks):
        raise TickFileError(f"{batch.name} holds no ticks{_instead(ticks)}")
    for note in ticks.notes[:_SHOWN]:
        watcher.say(note)
    if len(ticks.notes) > _SHOWN:
        watcher.say(f"{len(ticks.notes) - _SHOWN} more series are there in several spellings")
    found = disorders(ticks)
    if sorted_only:
        refuse_unsorted(found)
    for disorder in found[:_SHOWN]:
        watcher.say(f"{disorder}; they are sorted")
    if len(found) > _SHOWN:
        watcher.say(f"{len(found) - _SHOWN} more series are out of order and are sorted")
    ticks = in_time_order(ticks)  # by the times as they stand in the file
    return Batch(batch.sources, batch.layouts, ticks.in_unit(feed.time_us), feed.time_us)


def _instead(ticks: FileTicks) -> str:
    counted = ticks.counted
    if not counted.rows:
        return ": it has no rows"
    what = ", ".join(
        f"{name} {count:,}" for name, count in (counted.refused + counted.set_aside).items()
    )
    if counted.rows == 1:
        return f": its only row was left out ({what})"
    return f": all of its {counted.rows:,} rows were left out ({what})"


async def sessions_of(settings: Settings, ticks: FileTicks) -> ScheduleIndex:
    """The sessions in force of the series of ``ticks``.

    Raises:
        BarstreamError: the schedule cannot be read.
    """
    if not settings.bars.schedule:
        return AlwaysOpenIndex()
    rows = (await read_current(settings)).rows
    return ScheduleIndex().updated({name: rows.rows_of(name) for name in ticks.names})


async def prepare(
    settings: Settings,
    batch: Batch,
    rules: LoadRules,
    *,
    encoder: TickEncoder,
    clock_us: Callable[[], int],
    watcher: Watcher,
) -> Load:
    """The load of ``batch``.

    Raises:
        TickTopicError: topics are missing or differ in partitions.
        NoSessionError: a series has no session at the time of its ticks.
        BarstreamError: what is known of the series cannot be read.
    """
    cluster = Cluster(settings)
    names = cluster.names
    ticks = batch.ticks
    positions = positions_topic(settings)
    tick_partitions, beat_partitions, *_ = await partitions_of(
        settings, names.ticks, names.heartbeats, names.final_1m, names.series_seen
    )
    if rules.heartbeats and tick_partitions != beat_partitions:
        raise TickTopicError(
            f"{names.heartbeats} must have as many partitions as {names.ticks}, found "
            f"{beat_partitions} and {tick_partitions}: see `barstream topics check`"
        )
    schedule = await sessions_of(settings, ticks)
    if not rules.without_sessions:
        refuse_without_session(ticks, schedule)
    await ensure_topic(cluster, positions, settings.topics.replication)
    seen = await series_seen(cluster)
    homes = {name: row.partition for name, row in seen.items() if row.partition >= 0}
    routes = Routes.of(ticks.names, tick_partitions, homes)
    newest = await newest_minutes(
        cluster, (names.final_1m, names.heartbeats), routes.partition.tolist()
    )
    known = closed_until(seen, newest)
    closed = {i: known[name] for i, name in enumerate(ticks.names) if name in known}
    contents = LoadContents(
        identity(batch.sources, batch.layouts, names.ticks),
        batch.name,
        ticks,
        # what is closed is refused, unless it is loaded again
        admit(
            ticks,
            schedule,
            closed if rules.again else {},
            revise=settings.bars.late_policy == "revise",
        ),
        routes,
        closed,
    )
    return Load(
        contents, rules, encoder=encoder, cluster=cluster, clock_us=clock_us, watcher=watcher
    )
