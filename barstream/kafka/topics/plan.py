"""What the topics must look like: a pure function of settings and of what exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from barstream.config import Settings
from barstream.config.periods import kept_days
from barstream.kafka.topics.batch_size import PLANNED_BYTES, SETTING
from barstream.kafka.topics.names import LOGICAL, TopicNames, logical_name
from barstream.model.period import Period
from barstream.model.topic_name import Kind

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_MIB: Final = 1 << 20


class Role(Enum):
    """What depends on a topic, and so how bad a difference is."""

    TICKS = "ticks"
    """Input, often made and owned by others."""
    REJECTED = "rejected"
    """A log of records without a key of ours."""
    TABLE = "table"
    """The newest row of each key for ever: state that nothing else holds."""
    BARS = "bars"
    """The newest row of each key, for a stated time."""


@dataclass(frozen=True, slots=True)
class TopicShape:
    """What a cluster has: partitions, copies of each (the fewest), those without a leader."""

    partitions: int
    replication: int
    leaderless: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic as it must be.

    Attributes:
        logical: what it is for, the name in ``[topics.overrides]``.
        like: the topic whose partitions it shares; None when it is free to have its own.
        copies_like: the topic whose replication it inherits.
        config: topic settings by Kafka's names.
    """

    logical: str
    name: str
    role: Role
    partitions: int
    replication: int
    like: str | None = None
    copies_like: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)


def make_plan(
    settings: Settings, existing: Mapping[str, TopicShape] | None = None
) -> tuple[TopicPlan, ...]:
    """All topics in the order they are created.

    An existing tick topic decides the partition count of everything that shares its partitions,
    whatever the settings say; ``hb_1m`` inherits both numbers from the topic of final bars.

    Args:
        settings: names, partitions, replication, retention.
        existing: by topic name, what the cluster has; absent: nothing yet.

    Raises:
        ConfigError: the names cannot be used.
    """
    there = existing or {}
    names = TopicNames.of(settings)
    topics = settings.topics
    ticks, final = there.get(names.ticks), there.get(names.final_1m)
    # Ticks that are still to come fall in with bars that are there already.
    leading = ticks or final
    shared = topics.partitions if leading is None else leading.partitions
    copies = topics.replication
    kept = _retention(topics.retention_days)
    bars = {"cleanup.policy": "compact,delete", **kept}

    def topic(field_name: str, role: Role, config: Mapping[str, str]) -> TopicPlan:
        return named(LOGICAL[field_name], getattr(names, field_name), role, config)

    def rollup(period: Period, name: str, kind: Kind) -> TopicPlan:
        kept = kept_days(settings, period)
        shape = _OFTEN_REWRITTEN if kind == "live" else {**_segments(kept), **_withdrawals(kept)}
        config = {**bars, **_retention(kept), **shape}
        return named(logical_name(period, kind), name, Role.BARS, config)

    def named(logical: str, name: str, role: Role, config: Mapping[str, str]) -> TopicPlan:
        return TopicPlan(
            logical=logical,
            name=name,
            role=role,
            partitions=shared,
            replication=copies,
            like=names.ticks,
            config={
                **_APPEND_TIME,
                SETTING: str(PLANNED_BYTES),
                "min.insync.replicas": _in_sync(copies),
                **config,
            },
        )

    def alone(plan: TopicPlan) -> TopicPlan:
        return replace(plan, partitions=1, like=None)

    def inheriting(plan: TopicPlan) -> TopicPlan:
        copies = plan.replication if final is None else final.replication
        config = {**plan.config, "min.insync.replicas": _in_sync(copies)}
        return replace(
            plan, replication=copies, config=config, like=names.final_1m, copies_like=names.final_1m
        )

    ticks_kept = _retention(topics.ticks_retention_days)
    return (
        replace(topic("ticks", Role.TICKS, {"cleanup.policy": "delete", **ticks_kept}), like=None),
        topic("ticks_rejected", Role.REJECTED, {"cleanup.policy": "delete", **kept}),
        alone(topic("market_schedule", Role.TABLE, _FOR_EVER)),
        alone(topic("series_seen", Role.TABLE, _FOR_EVER)),
        topic(
            "final_1m",
            Role.BARS,
            {**bars, **_LARGE_SEGMENTS, **_withdrawals(topics.retention_days)},
        ),
        topic("live_1m", Role.BARS, {**bars, **_OFTEN_REWRITTEN}),
        inheriting(topic("heartbeats", Role.BARS, {**bars, **_LARGE_SEGMENTS})),
        topic("series", Role.TABLE, _FOR_EVER),
        *(rollup(period, name, "final") for period, name in names.rollups.items()),
        *(rollup(period, name, "live") for period, name in names.live_rollups.items()),
    )


#: Kafka deletes by record timestamp, and it judges heartbeats by it: the broker's clock stamps.
_APPEND_TIME: Final = {"message.timestamp.type": "LogAppendTime"}
#: The active segment is never compacted: small ones, rolled often, bound what a restore reads.
_OFTEN_REWRITTEN: Final = {
    "segment.bytes": str(32 * _MIB),
    "segment.ms": str(_HOUR_MS),
    "min.cleanable.dirty.ratio": "0.3",
}
_FOR_EVER: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 * _MIB),
    "segment.ms": str(_HOUR_MS),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(6 * _HOUR_MS),
    # Rows of a table are wanted for ever; a broker-wide size limit must not reach them.
    "retention.ms": "-1",
    "retention.bytes": "-1",
}
#: Keys here are seldom written twice: compaction finds little, deletion by age goes by segment.
_LARGE_SEGMENTS: Final = {"segment.bytes": str(128 * _MIB), "segment.ms": str(_DAY_MS)}


def _segments(kept_days: float) -> dict[str, str]:
    """Ten years of a bar a day are no 3,650 files: the longer kept, the longer a segment."""
    days = max(1.0, kept_days / 100)
    return {**_LARGE_SEGMENTS, "segment.ms": str(round(days * _DAY_MS))}


def _retention(days: float) -> dict[str, str]:
    # The size is stated as well: a broker-wide log.retention.bytes would cut the stated time.
    return {"retention.ms": str(round(days * _DAY_MS)), "retention.bytes": "-1"}


def _withdrawals(days: float) -> dict[str, str]:
    # a day by default: then a bar that was withdrawn (by a switch-over) would stand for ever on the
    # disk of a worker that was away for longer
    return {"delete.retention.ms": str(round(days * _DAY_MS))}


def _in_sync(replication: int) -> str:
    """Copies that must have a record before it is acknowledged: with three, one may be down."""
    return str(min(2, max(1, replication - 1)))
