"""Faust's assignor, for members that come back under another address."""

from __future__ import annotations

import logging
from typing import Any

from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor as Stock

log = logging.getLogger(__name__)


class PartitionAssignor(Stock):
    """Takes an assignment that was made for an earlier address of this worker.

    A static member (``group.instance.id``) that is started again gets from the broker the
    assignment it had, without a rebalance.  Faust refuses it when the worker's URL has changed
    since, by an assertion nobody hears: the worker stands still for ever.
    """

    def on_assignment(self, assignment: Any) -> None:
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
            metadata.url = url
            assignment.user_data = self._compress(metadata.dumps())
        super().on_assignment(assignment)
