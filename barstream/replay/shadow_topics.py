"""Shadow topics: like the originals, with a suffix to their names, and nothing else is written."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Final

from barstream.config import Settings
from barstream.kafka.clients import KafkaError
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import admin_client, explained
from barstream.kafka.topics import TopicNames, make_plan, metadata
from barstream.kafka.topics.outputs import OutputTopics
from barstream.log.snapshot import held
from barstream.model.period import MINUTE, Period
from barstream.replay.errors import ShadowRefused

#: Kafka refuses longer names.
_LONGEST: Final = 249
_GONE_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ShadowTopics:
    """Names of the shadow topics of one replay.

    Attributes:
        names: those of production.
        suffix: what is added after a dot.
    """

    names: TopicNames
    suffix: str

    def of(self, topic: str) -> str:
        """The shadow of a topic."""
        return f"{topic}.{self.suffix}"

    @property
    def finals(self) -> dict[Period, str]:
        """Shadows of the finals, minutes first."""
        every = {MINUTE: self.names.final_1m, **self.names.rollups}
        return {period: self.of(topic) for period, topic in every.items()}

    @property
    def scope(self) -> str:
        """Where it is written what a replay covers."""
        return self.of(self.names.series)

    @property
    def outputs(self) -> OutputTopics:
        """Where a flush writes to; only the tick topic, which it names, is production's."""
        names = self.names
        return OutputTopics(
            ticks=names.ticks,
            finals=self.of(names.final_1m),
            live=self.of(names.live_1m),
            rejected=self.of(names.ticks_rejected),
            series=self.scope,
            series_seen=self.of(names.series_seen),
            rollups={period: self.of(topic) for period, topic in names.rollups.items()},
            live_rollups={period: self.of(topic) for period, topic in names.live_rollups.items()},
        )

    @property
    def originals(self) -> dict[str, str]:
        """Shadow to the topic it is the shadow of."""
        names = self.names
        some = (
            names.final_1m, names.live_1m, names.ticks_rejected, names.series,
            *names.rollups.values(), *names.live_rollups.values(),
        )  # fmt: skip
        return {self.of(topic): topic for topic in some}


async def create(settings: Settings, shadows: ShadowTopics, *, again: bool) -> None:
    """Make the shadow topics, empty.

    Args:
        settings: of the pipeline.
        shadows: their names.
        again: delete those that are there first.

    Raises:
        ShadowRefused: they hold records, or cannot be named like that.
        TopicCreationError: the broker refused one.
        BrokerUnreachableError, AccessRefusedError: it cannot be asked.
    """
    too_long = [name for name in shadows.originals if len(name) > _LONGEST]
    if too_long:
        raise ShadowRefused(
            f"names of topics must have {_LONGEST} characters at most, but {too_long[0]} has "
            f"{len(too_long[0])}: use a shorter suffix than {shadows.suffix!r}"
        )
    ours = set(shadows.originals) & set(shadows.names.by_logical().values())
    if ours:
        raise ShadowRefused(
            f"{min(ours)} must be free for a replay, but it is a topic of this pipeline: use "
            f"another suffix than {shadows.suffix!r}"
        )
    if again:
        await drop(settings, shadows)
    async with admin_client(settings) as admin:
        try:
            there = await metadata.shapes(admin)
            plans = {plan.name: plan for plan in make_plan(settings, there)}
            wanted = [
                replace(
                    plans[original],
                    name=shadow,
                    partitions=there[original].partitions
                    if original in there
                    else plans[original].partitions,
                )
                for shadow, original in shadows.originals.items()
            ]
            await _refuse_used(Cluster(settings), [p.name for p in wanted if p.name in there])
            await metadata.create(admin, [plan for plan in wanted if plan.name not in there])
        except (KafkaError, OSError) as error:
            raise explained(error, settings, had_answered=True) from error


async def _refuse_used(cluster: Cluster, there: list[str]) -> None:
    for topic in there:
        if any(span.end > 0 for span in (await held(cluster, topic)).values()):
            raise ShadowRefused(
                f"the shadow topics must be empty, but {topic} holds a replay already: compare it "
                "(`barstream replay diff`), or make it anew with --again, or use another --suffix"
            )


async def drop(settings: Settings, shadows: ShadowTopics) -> list[str]:
    """Delete the shadow topics that are there, and wait until they are gone.

    Returns:
        Their names.

    Raises:
        ShadowRefused: the brokers still have them after a while.
        BrokerUnreachableError, AccessRefusedError: the broker cannot be asked.
    """
    async with admin_client(settings) as admin:
        try:
            there = await metadata.shapes(admin)
            doomed = [name for name in shadows.originals if name in there]
            if doomed:
                await admin.delete_topics(doomed)
            deadline = time.monotonic() + _GONE_WITHIN_S
            while left := [name for name in doomed if name in await metadata.shapes(admin)]:
                if time.monotonic() > deadline:
                    raise ShadowRefused(
                        f"the brokers must delete {', '.join(left)}, and have not within "
                        f"{_GONE_WITHIN_S:.0f} s: is delete.topic.enable on? try again"
                    )
                await asyncio.sleep(0.2)
        except (KafkaError, OSError) as error:
            raise explained(error, settings, had_answered=True) from error
    return doomed
