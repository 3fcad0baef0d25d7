"""The admin client: aiokafka's, but a broker that is away is not asked."""

from __future__ import annotations

import random
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient


class AdminClient(AIOKafkaAdminClient):  # type: ignore[misc]
    """Asks any broker that takes a connection, where it matters to nobody which.

    aiokafka draws one of those that the cluster names, and of three brokers one of which is away
    a third of all questions would fail.
    """

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        if node_id is None:
            node_id = await self._reachable_node()
        return await super()._send_request(request, node_id)

    async def _reachable_node(self) -> int | None:
        """One that is connected, or can be; None: none, and the error is aiokafka's."""
        nodes = [broker.nodeId for broker in self._client.cluster.brokers()]
        for node in random.sample(nodes, len(nodes)):
            if await self._client.ready(node):
                return node  # type: ignore[no-any-return]
        return None
