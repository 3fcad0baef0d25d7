"""Are brokers ready for what the tests do: metadata, consumer groups, transactions, copies."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

_GROUP, _TRANSACTION = 0, 1
Question = Callable[[AIOKafkaAdminClient], Awaitable[str | None]]
"""None when all is well, else what is not."""


def probe(bootstrap: str, nodes: int, *, transactions: bool = True) -> str | None:
    """None when ready, else what is missing.  Runs in a thread: callers may be inside a loop.

    Without ``transactions`` a cluster that can have none is ready too.
    """
    kinds = (_GROUP, _TRANSACTION) if transactions else (_GROUP,)
    return _in_thread(lambda: _probe(bootstrap, partial(_ready, nodes=nodes, kinds=kinds)))


def lagging_copy(bootstrap: str) -> str | None:
    """None when every copy of every partition is in sync, else one that is not."""
    return _in_thread(lambda: _probe(bootstrap, _lagging_copy))


def _in_thread(question: Callable[[], Coroutine[Any, Any, str | None]]) -> str | None:
    answer: list[str | None] = [None]

    def run() -> None:
        answer[0] = asyncio.run(question())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answer[0]


async def _probe(bootstrap: str, question: Question) -> str | None:
    # A refused connection is the normal answer of a broker that is coming up.
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        return await asyncio.wait_for(_ask(bootstrap, question), 10)
    except (KafkaError, OSError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        logger.setLevel(level)


async def _ask(bootstrap: str, question: Question) -> str | None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        await admin.start()
        return await question(admin)
    finally:
        await admin.close()


async def _ready(admin: AIOKafkaAdminClient, nodes: int, kinds: Sequence[int]) -> str | None:
    brokers = (await admin.describe_cluster())["brokers"]
    if len(brokers) < nodes:
        return f"{len(brokers)} of {nodes} brokers have registered"
    # Asking for a coordinator also creates the internal topics, which otherwise costs the
    # first test a second.
    for kind in kinds:
        await admin.find_coordinator("ready", kind)
    return None


async def _lagging_copy(admin: AIOKafkaAdminClient) -> str | None:
    for topic in await admin.describe_topics():
        for partition in topic["partitions"]:
            lacking = set(partition["replicas"]) - set(partition["isr"])
            if lacking or partition["leader"] < 0:
                return f"{topic['topic']}[{partition['partition']}] lacks {sorted(lacking)}"
    return None
