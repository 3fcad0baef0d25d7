"""The consumer group of an application, asked by commands that write what its workers write."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.kafka import admin_client, explained


class WorkersRunning(BarstreamError):
    """Workers run that would not know of what the command writes; nothing was written.

    Stop all workers of the application, wait until the group is empty, and do it again.
    """


async def require_no_workers(settings: Settings) -> None:
    """Refuse while the application's group has members: their state would not know of it.

    Raises:
        WorkersRunning: there are.
        BrokerUnreachableError, AccessRefusedError: the broker cannot be asked.
    """
    async with admin_client(settings) as admin:
        try:
            members = await _members(admin, settings.app_id)
        except (KafkaError, OSError) as error:
            raise explained(error, settings) from error
    if members:
        raise WorkersRunning(
            f"no worker of {settings.app_id} must run, but its group has {len(members)} "
            f"member(s): {', '.join(members)}; stop them all (one that was killed leaves after "
            f"{settings.kafka.session_timeout_s:g} s), and start them when this is done: they "
            "take what was written from the topics"
        )


async def _members(admin: AIOKafkaAdminClient, group: str) -> list[str]:
    found: list[str] = []
    for answer in await admin.describe_consumer_groups([group]):
        for _, _, state, _, _, members, *_ in answer.groups:
            if state not in ("Empty", "Dead"):
                found += [f"{client} at {host}" for _, client, host, *_ in members] or [state]
    return found
