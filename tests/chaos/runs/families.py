"""Families of runs: faults of one kind, on the pipeline and the broker that they need.

A family has the faults that name it (`Fault.family`).  A seed of a family draws from those, and
some of the ordinary ones beside them: what is bad alone is worse while a worker is killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.faults import idle_periods, limits
from tests.kafka_jars import OLDER_VERSIONS


@dataclass(frozen=True, slots=True)
class Family:
    """What its runs have in common.

    Attributes:
        name: of ``--family``.
        what: for the report.
        options: settings of the pipeline.
        broker: settings of a broker of its own.
        partitions: one of these, as the seed draws.
        scheduled: whether series have sessions; None: as the seed draws.
        most: faults of the family in a run.
        kafka: the versions that three brokers may begin at, as the seed draws; none: today's.
    """

    name: str
    what: str
    options: Mapping[str, str] = field(default_factory=dict)
    broker: Mapping[str, str] = field(default_factory=dict)
    partitions: tuple[int, ...] = (4,)
    scheduled: bool | None = None
    most: int = 3
    kafka: tuple[str, ...] = ()


#: Ordinary faults that may come beside those of a family.
BESIDE: Final = (
    "kill",
    "kill_leader",
    "kill_all",
    "stop",
    "freeze",
    "storm",
    "sent_twice",
    "reordered",
    "aborted",
    "state_deleted",
    "state_older",
)

FAMILIES: Final[dict[str, Family]] = {
    family.name: family
    for family in (
        Family(
            "foreign_topics",
            "topics that others have made, and producers with clocks and partitioners of their own",
        ),
        Family(
            "limits",
            "sizes, partitions, sockets and readers without measure",
            options={"TICKS__MAX_BATCH_MIB": str(limits.MOST_MIB)},
            partitions=(4, 4, 4, 24, 48, 100),
            scheduled=False,
        ),
        Family(
            "idle",
            "a closed market, for longer than brokers remember anybody",
            broker={
                "transactional.id.expiration.ms": str(idle_periods.FORGETS_S * 1000),
                "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
                "producer.id.expiration.ms": str(idle_periods.FORGETS_S * 1000),
                "producer.id.expiration.check.interval.ms": "500",
                "offsets.retention.minutes": "1",
                "offsets.retention.check.interval.ms": "1000",
            },
            most=1,
        ),
        Family(
            "upgrade",
            "brokers of an older Kafka and workers of other versions, upgraded one by one",
            kafka=OLDER_VERSIONS,
        ),
        Family("lost_tail", "brokers that lose what they have acknowledged, and go on", most=1),
    )
}
