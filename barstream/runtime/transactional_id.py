"""Using the transactional ids of partitions at rest before the brokers forget them.

A broker forgets the id of a producer that has written nothing for
``transactional.id.expiration.ms`` and refuses its next transaction.  By default that is seven days,
which is a market's holidays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from barstream.kafka.clients import KafkaError
from barstream.kafka.cluster import Cluster
from barstream.kafka.topics.broker_settings import broker_setting
from barstream.runtime.partition_task import PartitionTask

log = logging.getLogger(__name__)

_EXPIRATION: Final = "transactional.id.expiration.ms"
#: The longest rest, and that where brokers do not tell when they forget.
_DAY_S: Final = 86_400.0
_UNTOLD_S: Final = 3600.0
#: Of the time after which an id is forgotten: a broker may be away for as long again.
_RESTS: Final = 3
#: How often is looked, of the rest allowed.
_LOOKS: Final = 4
_ANSWER_WITHIN_S: Final = 5.0


async def longest_rest_s(cluster: Cluster) -> float:
    """How long a producer may write nothing: by what the brokers say, an hour where they do not.

    Args:
        cluster: whose brokers are asked.
    """
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            forgets_s = await _expiration_s(cluster)
    except (KafkaError, OSError, TimeoutError) as error:
        log.debug("brokers do not tell %s: %r", _EXPIRATION, error)
        return _UNTOLD_S
    return _UNTOLD_S if forgets_s is None else min(_DAY_S, forgets_s / _RESTS)


async def _expiration_s(cluster: Cluster) -> float | None:
    """Of the broker that forgets first; None where none says, as where an ACL forbids it."""
    told = await broker_setting(cluster, _EXPIRATION)
    return min((float(each) / 1000 for each in told), default=None)


async def renew(cluster: Cluster, partitions: Callable[[], Iterable[PartitionTask]]) -> None:
    """Have each partition that rests too long write its position, until cancelled.

    Args:
        cluster: whose brokers are asked.
        partitions: those held now.
    """
    while True:
        rest_s = await longest_rest_s(cluster)
        await asyncio.sleep(rest_s / _LOOKS)
        for owned in partitions():
            owned.renew(rest_s)
