"""The consumer group of an application: who is in it, and what each member says of itself.

A worker says it in the metadata it joins with, beside what Faust's assignor puts there: its version
and the settings that all workers must have alike.  A version that knows nothing of it leaves it
unread, and joins without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError, for_code

from barstream.config import Settings
from barstream.config.fingerprint import fingerprint
from barstream.errors import BarstreamError
from barstream.kafka.connection import admin_client, explained
from barstream.metrics import running_version

#: Of the metadata, beside the fields of Faust; a later version may add to what stands there.
_FIELD: Final = "barstream"
#: A group that others may join as well says what it likes.
_MOST_CHARACTERS: Final = 200
_MOST_SETTINGS: Final = 500


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a worker says of itself to its group.

    Attributes:
        version: of barstream.
        settings: those that all workers must have alike, see `barstream.config.fingerprint`.
    """

    version: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """That of a worker with these settings."""
        return cls(running_version(), fingerprint(settings))

    def added_to(self, metadata: bytes) -> bytes:
        """The JSON of a member's metadata, and this."""
        said = {"version": self.version, "settings": dict(self.settings)}
        return orjson.dumps({**orjson.loads(metadata), _FIELD: said})


@dataclass(frozen=True, slots=True)
class Member:
    """A worker in its group, as the brokers show it.

    Attributes:
        client: the name it gave its Kafka client, see `barstream.kafka.client_id`.
        host: from where it is connected.
        url: of its web views; None: it says none.
        declaration: None: it is of a version that says nothing, or none of ours.
    """

    client: str
    host: str
    url: str | None = None
    declaration: Declaration | None = None

    @property
    def name(self) -> str:
        """For people."""
        return (
            f"{self.client} at {self.host}" if self.url is None else f"{self.url} ({self.client})"
        )


async def members_of(admin: AIOKafkaAdminClient, group: str) -> list[Member] | None:
    """Who is in a group; None while it is changing, when the brokers do not say what members said.

    Raises:
        KafkaError: the brokers do not tell.
    """
    found: list[Member] = []
    for answer in await admin.describe_consumer_groups([group]):
        for code, _, state, _, _, members, *_ in answer.groups:
            if code:
                raise for_code(code)
            if state != "Stable":
                return None
            found += [_member(client, host, said) for _, client, host, said, *_ in members]
    return found


def _member(client: str, host: str, metadata: bytes) -> Member:
    try:
        said = orjson.loads(ConsumerProtocolMemberMetadata.decode(metadata).user_data)
    except Exception:  # noqa: BLE001  a member of whatever kind, whose bytes may be anything
        return Member(client, host)
    if not isinstance(said, dict):
        return Member(client, host)
    url = said.get("url")
    shown = url[:_MOST_CHARACTERS].rstrip("/") if isinstance(url, str) else None
    return Member(client, host, shown or None, _declaration(said.get(_FIELD)))


def _declaration(said: Any) -> Declaration | None:
    if not isinstance(said, dict) or not isinstance(version := said.get("version"), str):
        return None
    settings = said.get("settings")
    pairs: Sequence[tuple[str, Any]] = list(settings.items()) if isinstance(settings, dict) else []
    return Declaration(
        version[:_MOST_CHARACTERS],
        {
            name[:_MOST_CHARACTERS]: value[:_MOST_CHARACTERS]
            for name, value in pairs[:_MOST_SETTINGS]
            if isinstance(value, str)
        },
    )


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
            raise explained(error, settings, had_answered=True) from error
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
