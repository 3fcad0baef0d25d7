"""Every kind of fault, by name."""

from __future__ import annotations

from typing import Final

from tests.chaos.faults import (
    brokers,
    clients,
    clock,
    disk,
    foreign_topics,
    garbage,
    leading,
    network,
    processes,
    producers,
    schedule,
    topics,
)
from tests.chaos.faults.base import Fault, Scene

__all__ = ["KINDS", "Fault", "Scene"]

KINDS: Final[dict[str, type[Fault]]] = {
    kind.name: kind
    for kind in (
        processes.Kill,
        processes.KillLeader,
        processes.KillAll,
        processes.Stop,
        processes.Freeze,
        processes.FreezeLeader,
        processes.Storm,
        processes.FreezeLeaderAtMinute,
        producers.Twice,
        producers.Shuffled,
        producers.Aborted,
        garbage.GarbageTicks,
        garbage.GarbageElsewhere,
        schedule.Rewritten,
        schedule.Conflicting,
        clock.ClockJumps,
        clock.LeaderClockJumps,
        disk.DiskFull,
        disk.StateDeleted,
        disk.StateOlder,
        disk.StateDamaged,
        disk.StateSwapped,
        topics.TopicRecreated,
        disk.LyingDisk,
        disk.CuttingDisk,
        schedule.Withdrawn,
        schedule.NeverLoaded,
        schedule.ScheduleGone,
        clock.LeaderClockWrong,
        clock.LeaderClockWrongForLong,
        clock.LeaderClockFast,
        leading.Outage,
        leading.WithoutAppendTime,
        producers.HangingTransaction,
        clients.StuckClient,
        clients.Defect,
        brokers.BrokerKilled,
        brokers.BrokerStopped,
        brokers.BrokerLost,
        brokers.BrokerFrozen,
        brokers.AllBrokersKilled,
        brokers.BrokerDiskFull,
        network.NetworkCut,
        foreign_topics.OtherClocks,
        foreign_topics.NoTimestamps,
        foreign_topics.SmallMessages,
        foreign_topics.MinIsrLost,
        foreign_topics.MisroutedFirst,
        foreign_topics.TicksExpired,
    )
}
