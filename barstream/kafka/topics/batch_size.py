"""What the brokers take in one batch, topic by topic: ``max.message.bytes``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError

from barstream.kafka.admin import AdminClient
from barstream.kafka.topics.broker_settings import shown_settings

if TYPE_CHECKING:
    from barstream.kafka.cluster import Cluster

SETTING: Final = "max.message.bytes"
#: Kafka's own default, and what every topic we create is given.
PLANNED_BYTES: Final = 1_048_588
#: Every row but a rejected tick fits this, many times over.
FEWEST_BYTES: Final = 65_536
#: A batch that each of these topics takes, whatever frames it.
SMALL_BATCH_BYTES: Final = 60_000


async def largest_batches(cluster: Cluster, topics: Iterable[str]) -> dict[str, int]:
    """By topic how large a batch may be, Kafka's default where nobody says.

    Args:
        cluster: where the topics are.
        topics: their names.
    """
    found = dict.fromkeys(topics, PLANNED_BYTES)
    admin = AdminClient(**cluster.options)
    try:
        await admin.start()
        shown, _ = await shown_settings(admin, found)
    except KafkaError:
        shown = {}  # none answers: others say so
    finally:
        await admin.close()
    return found | {name: int(said.get(SETTING) or PLANNED_BYTES) for name, said in shown.items()}
