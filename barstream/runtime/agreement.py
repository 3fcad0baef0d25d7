"""Whether the workers of an application agree: on their settings, and on the version they are of.

Who holds a partition writes its bars by its own settings.  Where two workers differ, a bar depends
on who held its partition, and the rules of a partition change with each rebalance.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mode import Service

from barstream.kafka.admin import AdminClient
from barstream.kafka.clients import KafkaError
from barstream.kafka.cluster import Cluster
from barstream.kafka.consumer_group import Declaration, Member, members_of
from barstream.plurals import counted

log = logging.getLogger(__name__)

#: A static member that comes back with other settings is no rebalance, and is seen by this.
_LOOK_EVERY_S: Final = 60.0
_CHANGES_EVERY_S: Final = 1.0
_ANSWER_WITHIN_S: Final = 10.0
_WORKERS_SHOWN: Final = 3
_SETTINGS_SHOWN: Final = 5

Likeness = Literal["same", "other", "unknown"]


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting that another worker has otherwise; its values as of `fingerprint`."""

    name: str
    here: str
    there: str


@dataclass(frozen=True, slots=True)
class Other:
    """Another worker of the group.

    Attributes:
        member: who it is.
        differences: by the settings that both know.
    """

    member: Member
    differences: tuple[SettingDifference, ...]

    @property
    def version(self) -> str | None:
        """Of barstream; None: one that does not tell."""
        return None if self.member.declaration is None else self.member.declaration.version

    @property
    def settings(self) -> Likeness:
        """How its settings are to those here."""
        if self.member.declaration is None:
            return "unknown"
        return "other" if self.differences else "same"


class Agreement:
    """Compares what the members of the group say with what this worker says; tells what is new.

    Args:
        client: the name of this worker's Kafka client, by which it knows itself.
        declaration: what it says.
    """

    def __init__(self, client: str, declaration: Declaration) -> None:
        self._client = client
        self._declaration = declaration
        #: As they were seen last; none before the group was asked.
        self.others: tuple[Other, ...] = ()
        self._told: Mapping[str, tuple[SettingDifference, ...]] = {}
        self._versions: Counter[str | None] = Counter()

    @property
    def version(self) -> str:
        """Of this worker."""
        return self._declaration.version

    def look(self, members: Iterable[Member]) -> None:
        """Take note of who is in the group now."""
        self.others = tuple(
            Other(each, self._differences(each.declaration))
            for each in sorted(members, key=lambda member: member.name)
            if each.client != self._client
        )
        self._tell_settings()
        self._tell_versions()

    def count(self, settings: Likeness) -> int:
        """How many other workers there are whose settings are like that."""
        return sum(other.settings == settings for other in self.others)

    def _differences(self, said: Declaration | None) -> tuple[SettingDifference, ...]:
        if said is None:
            return ()
        here, there = self._declaration.settings, said.settings
        return tuple(
            SettingDifference(name, here[name], there[name])
            for name in here
            if name in there and here[name] != there[name]  # a version may know more than another
        )

    def _tell_settings(self) -> None:
        now = {each.member.client: each.differences for each in self.others if each.differences}
        before, self._told = self._told, now
        new = [
            each
            for each in self.others
            if now.get(each.member.client) != before.get(each.member.client)
        ]
        differing = [each for each in new if each.differences]
        if differing:
            log.warning(
                "workers of one app_id need the same settings, a bar depends on who holds its "
                "partition: %s",
                _shortened("; ", [_told_of(each) for each in differing], _WORKERS_SHOWN),
            )
        elif before and not now:
            log.info("settings: no worker has others any more")

    def _tell_versions(self) -> None:
        now = Counter(each.version for each in self.others)
        before, self._versions = self._versions, now
        others = {version: count for version, count in now.items() if version != self.version}
        if others and others != {v: n for v, n in before.items() if v != self.version}:
            each = [
                f"{counted(count, 'worker')} of {version or 'a version that does not tell it'}"
                for version, count in sorted(others.items(), key=lambda pair: str(pair[0]))
            ]
            log.info("versions: this worker is of %s, beside %s", self.version, ", ".join(each))
        elif not others and any(version != self.version for version in before):
            log.info("versions: all workers are of %s", self.version)


def _told_of(other: Other) -> str:
    each = [f"{one.name} {one.there}, here {one.here}" for one in other.differences]
    return f"{other.member.name} has {_shortened(' and ', each, _SETTINGS_SHOWN)}"


def _shortened(between: str, each: Sequence[str], most: int) -> str:
    more = [] if len(each) <= most else [f"{len(each) - most} more"]
    return between.join([*each[:most], *more])


class AgreementService(Service):
    """Asks who is in the group, after each rebalance and now and then.

    Args:
        agreement: is told.
        group: the name of it.
        cluster: whose brokers are asked.
        generation: of the assignment that this worker had last.
    """

    def __init__(
        self,
        agreement: Agreement,
        group: str,
        cluster: Cluster,
        generation: Callable[[], int],
    ) -> None:
        super().__init__()
        self._agreement = agreement
        self._group = group
        self._cluster = cluster
        self._generation = generation

    @Service.task
    async def _asking(self) -> None:
        while not self.should_stop:
            try:
                await self._ask()
            except (KafkaError, OSError, TimeoutError, NotImplementedError) as error:
                # no broker, no permission, or none that knows the request: nothing is known then
                log.debug("members of the group not known: %r", error)
            await self.sleep(_LOOK_EVERY_S)

    async def _ask(self) -> None:
        admin = AdminClient(**self._cluster.options)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await admin.start()
            while not self.should_stop:
                generation = self._generation()
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    members = await members_of(admin, self._group)
                if members is None:
                    await self.sleep(_CHANGES_EVERY_S)
                    continue
                self._agreement.look(members)
                await self._rest(generation)
        finally:
            await admin.close()

    async def _rest(self, generation: int) -> None:
        """Until there is another assignment, or it is time to look again."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _LOOK_EVERY_S
        while not self.should_stop and self._generation() == generation and loop.time() < until_s:
            await self.sleep(_CHANGES_EVERY_S)
