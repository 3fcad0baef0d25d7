"""What the brokers take in one batch, topic by topic: ``max.message.bytes``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

SETTING: Final = "max.message.bytes"
#: Kafka's own default, and what every topic we create is given.
PLANNED_BYTES: Final = 1_048_588
#: Every row but a rejected tick fits this, many times over.
FEWEST_BYTES: Final = 65_536


async def largest_batches(options: Mapping[str, Any], topics: Iterable[str]) -> dict[str, int]:
    """By topic how large a batch may be, Kafka's default where nobody says.

    Args:
        options: what an aiokafka client needs to connect.
        topics: their names.
    """
    found = dict.fromkeys(topics, PLANNED_BYTES)
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in found]
        for answer in await admin.describe_configs(asked):
            for code, _, _, name, entries in answer.resources:
                if not code:
                    said = {entry[0]: entry[1] for entry in entries}
                    found[name] = int(said.get(SETTING) or PLANNED_BYTES)
    except (NotImplementedError, KafkaError):
        pass  # an ACL forbids it, or the broker has no such request, or none answers: others say so
    finally:
        await admin.close()
    return found
