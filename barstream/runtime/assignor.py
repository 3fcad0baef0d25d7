"""Faust's assignor, with standbys of our own and for members that come back elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor as Stock
from faust.types import TP

from barstream.runtime.placement import HeldTicks, place

if TYPE_CHECKING:
    from barstream.runtime.app import BarstreamApp

log = logging.getLogger(__name__)


class PartitionAssignor(Stock):
    """Hands out standbys that Faust itself never sees.

    Faust would have the consumer of the app read the changelogs of a standby, one row at a time
    through its recovery; here they travel in the metadata of the assignment alone, and who
    follows them is told by `standbys`.

    It also takes an assignment that was made for an earlier address of this worker.  A static
    member (``group.instance.id``) that is started again gets from the broker the assignment it
    had, without a rebalance.  Faust refuses it when the worker's URL has changed since, by an
    assertion nobody hears: the worker stands still for ever.
    """

    app: BarstreamApp
    _before: Mapping[str, ClientAssignment]

    @property
    def standbys(self) -> set[int]:
        """Tick partitions of which this worker keeps a warm copy."""
        return set(self._assignment.standbys.get(self.app.ticks_topic, ()))

    @property
    def _metadata(self) -> ClientMetadata:
        """What the leader of the group is told of this worker.

        One that has just started holds nothing, but its disk may: as if it were the standby of
        that, it is given it before anything else, and reads a tail instead of everything.
        """
        told = super()._metadata
        if not told.assignment.actives and not told.assignment.standbys:
            on_disk = {self.app.ticks_topic: sorted(self.app.on_disk())}
            told.assignment = ClientAssignment(actives={}, standbys=on_disk)
        return told

    def metadata(self, topics: set[str]) -> Any:
        """What this worker joins its group with, for Faust and for whoever asks who is there."""
        made, declaration = super().metadata(topics), self.app.declaration
        if declaration is None:
            return made
        said = declaration.added_to(made.user_data)
        return type(made)(made.version, made.subscription, said)

    def assigned_standbys(self) -> set[TP]:
        """None that Faust is to restore: it waits for ever for what its consumer has not got."""
        return set()

    def on_assignment(self, assignment: Any) -> None:
        """Take what the leader of the group has decided."""
        metadata = ClientMetadata.loads(self._decompress(assignment.user_data))
        url = str(self._url)
        if metadata.url != url:
            log.warning(
                "assignment taken over from %s, this worker is %s now: until the next rebalance "
                "other workers look for it there",
                metadata.url, url,
            )  # fmt: skip
            for places in (metadata.external_topic_distribution, metadata.changelog_distribution):
                if metadata.url in places:
                    places[url] = places.pop(metadata.url)
        self._assignment = metadata.assignment
        self._topic_groups = dict(metadata.topic_groups)
        self._active_tps = self._assignment.active_tps
        self._standby_tps: set[TP] = set()
        self.changelog_distribution = metadata.changelog_distribution
        self.external_topic_distribution = metadata.external_topic_distribution

    def _update_member_urls(self, clients_metadata: MutableMapping[str, ClientMetadata]) -> None:
        super()._update_member_urls(clients_metadata)
        self._before = {member: each.assignment for member, each in clients_metadata.items()}

    def _global_table_standby_assignments(
        self,
        assignments: MutableMapping[str, ClientAssignment],
        partitions_by_topic: Mapping[str, int],
    ) -> MutableMapping[str, ClientAssignment]:
        """Called with Faust's assignment, just before it is announced."""
        ticks, replicas = self.app.ticks_topic, self.app.standby_replicas
        ours = {ticks, *self.app.columnar_topics, *self._table_manager.changelog_topics}
        counts = {partitions_by_topic.get(topic) for topic in ours}
        if replicas and len(counts) == 1 and None not in counts:
            before = {
                member: HeldTicks(
                    set(last.actives.get(ticks, ())), set(last.standbys.get(ticks, ()))
                )
                for member, last in self._before.items()
            }
            for member, held in place(before, partitions_by_topic[ticks], replicas).items():
                for topic in ours:
                    assignments[member].actives[topic] = sorted(held.actives)
                    assignments[member].standbys[topic] = sorted(held.standbys)
        return assignments

    def _protocol_assignments(
        self,
        assignments: MutableMapping[str, ClientAssignment],
        cl_distribution: Any,
        tp_distribution: Any,
        topic_groups: Mapping[str, int],
    ) -> dict[str, Any]:
        made = super()._protocol_assignments(
            assignments, cl_distribution, tp_distribution, topic_groups
        )
        # the consumer of a member is given its actives alone
        return {
            member: type(each)(
                each.version, sorted(assignments[member].actives.items()), each.user_data
            )
            for member, each in made.items()
        }
