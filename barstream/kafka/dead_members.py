"""Members of consumer groups whose process was killed are taken out of them.

Kafka does so after their session timeout.  The embedded broker never does while the group is
stable, and a group whose leader was killed waits for it for ever: nobody takes its partitions
over, and no worker that is started again gets any.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from barstream.kafka.admin import AdminClient
from barstream.kafka.client_id import is_dead

log = logging.getLogger(__name__)

_POLL_S: Final = 1.0


class MemberWatch:
    """Looks at the groups of the broker at ``bootstrap`` every second; a context manager.

    Members are known by their `barstream.kafka.client_id`: those of other machines, containers and
    programs are left alone.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="member watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            # a broker that is busy, or about to stop, is asked again
            with suppress(KafkaError, OSError, TimeoutError):
                asyncio.run(self._watch())
            self._stop.wait(_POLL_S)

    async def _watch(self) -> None:
        admin = AdminClient(bootstrap_servers=self._bootstrap)
        try:
            await admin.start()
            while not self._stop.is_set():
                await _take_out_the_dead(admin)
                await asyncio.to_thread(self._stop.wait, _POLL_S)
        finally:
            await admin.close()


async def _take_out_the_dead(admin: AIOKafkaAdminClient) -> None:
    groups = [name for name, _ in await admin.list_consumer_groups()]
    if not groups:
        return
    for answer in await admin.describe_consumer_groups(groups):
        for _, group, _, _, _, members, *_ in answer.groups:
            for member, client, *_ in members:
                if is_dead(client):
                    await _take_out(admin, group, member)


async def _take_out(admin: Any, group: str, member: str) -> None:
    coordinator = await admin.find_coordinator(group)
    await admin._client.send(coordinator, LeaveGroupRequest(group, member))
    log.debug("a member was killed and is out of its group group=%s member=%s", group, member)
