"""Settings of topics and brokers, as the brokers show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from barstream.kafka.admin import AdminClient
from barstream.kafka.retry import retried

if TYPE_CHECKING:
    from barstream.kafka.cluster import Cluster


async def shown_settings(
    admin: AIOKafkaAdminClient,
    names: Iterable[str],
    kind: ConfigResourceType = ConfigResourceType.TOPIC,
) -> tuple[dict[str, dict[str, str]], str]:
    """Settings as far as the brokers show them, and why they do not show the others.

    They do not where there is no such request, or an ACL forbids it.

    Args:
        admin: started.
        names: of topics, or ids of brokers.
        kind: which of the two.

    Returns:
        Settings by name; and a reason, empty where there is none.
    """
    found: dict[str, dict[str, str]] = {}
    reason = ""
    try:
        asked = [ConfigResource(kind, name) for name in names]
        answers = await retried(lambda: admin.describe_configs(asked))
    except (KafkaError, NotImplementedError) as error:
        return {}, f"the broker answers {error}"
    for answer in answers:
        for code, message, _, name, entries in answer.resources:
            if code:
                reason = message or for_code(code).__name__
            else:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found, reason


async def broker_setting(cluster: Cluster, name: str) -> list[str]:
    """What each broker has for ``name``, of those that say.

    Args:
        cluster: whose brokers are asked.
        name: of the setting.

    Raises:
        KafkaError: no broker answered.
    """
    admin = AdminClient(**cluster.options)
    await admin.start()
    try:
        nodes = [str(broker["node_id"]) for broker in (await admin.describe_cluster())["brokers"]]
        shown, _ = await shown_settings(admin, nodes, ConfigResourceType.BROKER)
    finally:
        await admin.close()
    return [settings[name] for settings in shown.values() if settings.get(name)]
