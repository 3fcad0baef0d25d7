"""Looking at a topic again and again, with one client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from barstream.kafka.clients import KafkaConsumer, KafkaError, make_consumer
from barstream.kafka.cluster import Cluster

log = logging.getLogger(__name__)


async def poll(
    cluster: Cluster,
    every_s: float,
    look: Callable[[KafkaConsumer], Awaitable[None]],
    *,
    committed: bool = False,
    at_once: bool = False,
) -> NoReturn:
    """Look until cancelled, or until a look raises; while no broker answers, nothing is known.

    Args:
        cluster: where the topics are.
        every_s: how often.
        look: asks the client that it is given.
        committed: whether ends are those of committed records.
        at_once: whether the first look comes before the first pause.
    """
    consumer = make_consumer(cluster, committed=committed)
    started, pause_s = False, 0.0 if at_once else every_s
    try:
        while True:
            await asyncio.sleep(pause_s)
            pause_s = every_s
            try:
                if not started:
                    await consumer.start()
                    started = True
                await look(consumer)
            except (KafkaError, TimeoutError, OSError) as error:
                log.debug("no answer: %s %r", getattr(look, "__qualname__", look), error)
    finally:
        await consumer.stop()
