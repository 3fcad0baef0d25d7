"""The diff of a replay that is in its shadow topics, partition by partition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from barstream.config import Settings
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import reaching
from barstream.kafka.topic_follower import TopicMissingError
from barstream.log.compaction import newest_values
from barstream.log.selection import Selection
from barstream.log.snapshot import held
from barstream.model.period import MINUTE, Period
from barstream.replay.compare import BarDifference, ComparisonCounts, compare
from barstream.replay.errors import ReplayIncomplete
from barstream.replay.scope import Scope
from barstream.replay.shadow_topics import ShadowTopics

Kept = dict[Period, dict[bytes, bytes]]
"""The newest published value by key, of each period."""


@dataclass(slots=True)
class PartitionDiff:
    """What one partition compares to."""

    scope: Scope
    tallies: dict[Period, ComparisonCounts] = field(default_factory=dict)
    differences: list[BarDifference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Compare:
    """One partition of a diff; goes to another process."""

    settings: Settings
    suffix: str
    partition: int


async def replayed_partitions(settings: Settings, suffix: str) -> list[Compare]:
    """The partitions that were replayed, all of them complete.

    Raises:
        ReplayIncomplete: there is no replay of that suffix, or one that was not ended.
        BrokerUnreachableError, AccessRefusedError: the brokers cannot be asked.
    """
    cluster = Cluster(settings)
    shadows = ShadowTopics(cluster.names, suffix)
    try:
        async with reaching(settings):
            there = await held(cluster, shadows.scope)
            begun = await held(cluster, shadows.finals[MINUTE])
    except TopicMissingError as error:
        raise ReplayIncomplete(
            f"a replay must have been made with --suffix {suffix}, and there is none: make it with "
            f"`barstream replay --suffix {suffix}`, or correct the suffix"
        ) from error
    done = [partition for partition, span in there.items() if not span.is_empty]
    broken = [p for p, span in begun.items() if not span.is_empty and p not in done]
    if broken or not done:
        raise ReplayIncomplete(
            f"the replay {suffix} must be complete, but "
            + (f"partition {broken[0]} was not ended" if broken else "no partition was ended")
            + ": run it anew with --again"
        )
    return [Compare(settings, suffix, partition) for partition in sorted(done)]


async def scope_of(job: Compare, cluster: Cluster) -> Scope:
    """What the replay of one partition covers.

    Raises:
        ReplayIncomplete: it is not complete.
    """
    shadows = ShadowTopics(cluster.names, job.suffix)
    rows = await newest_values(cluster, shadows.scope, job.partition)
    scope = Scope.of(rows)
    if scope is None:
        raise ReplayIncomplete(
            f"the replay {job.suffix} must be complete, but partition {job.partition} was not "
            "ended: run it anew with --again"
        )
    return scope


async def diff(
    job: Compare, report: Callable[[int], None], kept: Kept | None = None
) -> PartitionDiff:
    """Compare one partition.

    Args:
        job: which.
        report: told how many bars were compared.
        kept: takes what is published.

    Raises:
        ReplayIncomplete: it is not complete.
        BarstreamError: the topics cannot be read.
    """
    cluster = Cluster(job.settings)
    names = cluster.names
    shadows = ShadowTopics(names, job.suffix)
    scope = await scope_of(job, cluster)
    wanted = Selection(scope.derived.broker, scope.derived.symbol)
    found = PartitionDiff(scope)
    for period, topic in {MINUTE: names.final_1m, **names.rollups}.items():
        published = await newest_values(cluster, topic, job.partition, wanted)
        replayed = await newest_values(cluster, shadows.of(topic), job.partition)
        tally = found.tallies.setdefault(period, ComparisonCounts())
        found.differences += compare(period, scope, published, replayed, tally)
        if kept is not None:
            kept[period] = published
        report(len(published))
    return found
