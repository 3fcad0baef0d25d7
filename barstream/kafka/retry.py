"""A question to Kafka, asked again while brokers come and go.

A client draws one of the brokers that it knows.  While one of three is started anew a third of all
questions would fail, and the next one is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiokafka.errors import KafkaError, KafkaTimeoutError

T = TypeVar("T")

RETRY_S: Final = 0.5
#: A broker that is started anew is away for about that long, and others answer meanwhile.
ANSWERED_WITHIN_S: Final = 15.0


def is_passing(error: KafkaError) -> bool:
    """Whether a failure is one that ends when the broker is back."""
    return bool(error.retriable) or isinstance(error, KafkaTimeoutError)


async def retried(
    ask: Callable[[], Awaitable[T]],
    *,
    within_s: float | None = ANSWERED_WITHIN_S,
    on_failure: Callable[[KafkaError], None] = lambda _: None,
) -> T:
    """What ``ask`` returns when it succeeds.

    Args:
        ask: the question; asked anew each time.
        within_s: so long it is asked again; None: for ever.
        on_failure: told each failure that is waited out.

    Raises:
        KafkaError: one that does not pass, or the last one when the time is over.
    """
    loop = asyncio.get_running_loop()
    deadline = None if within_s is None else loop.time() + within_s
    while True:
        try:
            return await ask()
        except KafkaError as error:
            if not is_passing(error) or (deadline is not None and loop.time() >= deadline):
                raise
            on_failure(error)
        await asyncio.sleep(RETRY_S)
