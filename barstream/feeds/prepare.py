"""A load put together: the file, what Kafka knows of its series, and where it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from barstream.config import Settings
from barstream.core.names import shorten
from barstream.errors import BarstreamError
from barstream.feeds.closed import closed_until, newest_minutes, read_universe
from barstream.feeds.encoder import TickEncoder
from barstream.feeds.files import FileLayout, FileTicks, TickFileError, identity, read_ticks
from barstream.feeds.load import Load, LoadRules
from barstream.feeds.order import disorders, in_time_order, refuse_unsorted
from barstream.feeds.positions import ensure_topic
from barstream.feeds.producing import Routes
from barstream.feeds.watching import Watcher
from barstream.feeds.writing import LoadTopics
from barstream.kafka import admin_client, client_options
from barstream.topics import TopicNames


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
            f"topic {missing[0]!r} is required, {settings.bootstrap} has none of that name: run "
            "`barstream topics create`, or correct the name in [topics]"
        )
    counts = {entry["topic"]: len(entry["partitions"]) for entry in described}
    return [counts[topic] for topic in topics]


def read_in_order(
    path: Path, layout: FileLayout, watcher: Watcher, *, sorted_only: bool
) -> FileTicks:
    """The ticks of a file in the order they are sent; says what is out of order.

    Raises:
        TickFileError: the file is not as described, or holds no tick.
        UnsortedError: with ``sorted_only``, a series is out of order.
    """
    ticks = read_ticks(path, layout)
    if not len(ticks):
        raise TickFileError(f"{path} holds no ticks")
    if ticks.skipped:
        watcher.say(f"{ticks.skipped:,} rows are no ticks and are left out")
    found = disorders(ticks)
    if sorted_only:
        refuse_unsorted(found)
    for disorder in found[:3]:
        watcher.say(f"{disorder}; they are sorted")
    if len(found) > 3:
        watcher.say(f"{len(found) - 3} more series are out of order and are sorted")
    return in_time_order(ticks)


async def prepare(
    settings: Settings,
    path: Path,
    layout: FileLayout,
    ticks: FileTicks,
    rules: LoadRules,
    *,
    encoder: TickEncoder,
    clock_us: Callable[[], int],
    watcher: Watcher,
) -> Load:
    """The load of ``ticks``, read from ``path`` as ``layout`` says.

    Raises:
        TickTopicError: topics are missing or differ in partitions.
        BarstreamError: what is known of the series cannot be read.
    """
    options = client_options(settings)
    names = TopicNames.of(settings)
    # beside the topics of the plan: only loads read and write it
    positions = shorten(f"{settings.app_id}-load-positions")
    tick_partitions, beat_partitions, *_ = await partitions_of(
        settings, names.ticks, names.heartbeats, names.final_1m, names.series_seen
    )
    if rules.heartbeats and tick_partitions != beat_partitions:
        raise TickTopicError(
            f"{names.heartbeats} must have as many partitions as {names.ticks}, found "
            f"{beat_partitions} and {tick_partitions}: see `barstream topics check`"
        )
    await ensure_topic(options, positions, settings.topics.replication)
    universe = await read_universe(options, names.series_seen)
    seen = {row.name: row.partition for row in universe.rows() if row.partition >= 0}
    routes = Routes.of(ticks.names, tick_partitions, seen)
    newest = await newest_minutes(
        options, (names.final_1m, names.heartbeats), routes.partition.tolist()
    )
    closed = closed_until(universe, newest)
    return Load(
        ticks,
        load_id=identity(path, layout, names.ticks),
        file=path.name,
        app_id=settings.app_id,
        routes=routes,
        closed_until={i: closed[name] for i, name in enumerate(ticks.names) if name in closed},
        topics=LoadTopics(names.ticks, names.heartbeats, positions),
        rules=rules,
        encoder=encoder,
        options=options,
        clock_us=clock_us,
        watcher=watcher,
    )
