"""Looking at a topic again and again, with one client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from barstream.kafka.clients import KafkaConsumer, KafkaError, make_consumer

log = logging.getLogger(__name__)


async def poll(
    options: Mapping[str, Any],
    every_s: float,
    look: Callable[[KafkaConsumer], Awaitable[None]],
    *,
    committed: bool = False,
    at_once: bool = False,
) -> NoReturn:
    """Look until cancelled, or until a look raises; while no broker answers, nothing is known.

    Args:
        options: connection options, see `barstream.kafka.connection.client_options`.
        every_s: how often.
        look: asks the client that it is given.
        committed: whether ends are those of committed records.
        at_once: whether the first look comes before the first pause.
    """
    consumer = make_consumer(options, committed=committed)
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
