"""Is a broker ready for what the tests do: metadata, consumer groups, transactions."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

_GROUP, _TRANSACTION = 0, 1


def probe(bootstrap: str, nodes: int, *, transactions: bool = True) -> str | None:
    """None when ready, else what is missing.  Runs in a thread: callers may be inside a loop.

    Without ``transactions`` a cluster that can have none is ready too.
    """
    kinds = (_GROUP, _TRANSACTION) if transactions else (_GROUP,)
    answer: list[str | None] = [None]

    def run() -> None:
        answer[0] = asyncio.run(_probe(bootstrap, nodes, kinds))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answer[0]


async def _probe(bootstrap: str, nodes: int, kinds: Sequence[int]) -> str | None:
    # A refused connection is the normal answer of a broker that is coming up.
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        return await asyncio.wait_for(_ask(bootstrap, nodes, kinds), 10)
    except (KafkaError, OSError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        logger.setLevel(level)


async def _ask(bootstrap: str, nodes: int, kinds: Sequence[int]) -> str | None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        await admin.start()
        brokers = (await admin.describe_cluster())["brokers"]
        if len(brokers) < nodes:
            return f"{len(brokers)} of {nodes} brokers have registered"
        # Asking for a coordinator also creates the internal topics, which otherwise costs the
        # first test a second.
        for kind in kinds:
            await admin.find_coordinator("ready", kind)
    finally:
        await admin.close()
    return None
