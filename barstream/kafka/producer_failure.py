"""What a producer that has failed for good says: why, and not that no transaction is open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError


def fatal_error(producer: AIOKafkaProducer) -> BaseException | None:
    """What has ended a transactional producer; None: it goes on, or the cause is not known."""
    state = producer._txn_manager
    if not state.is_fatal_error():
        return None
    ended = state._transaction_waiter
    return None if ended is None or not ended.done() else ended.exception()


@contextmanager
def cause_told(producer: AIOKafkaProducer) -> Iterator[None]:
    """Have a call that comes after the failure tell it, too.

    The sender of aiokafka works beside its caller, as when a frozen process wakes; the next call
    finds that no transaction is open, and neither of the two ways to say so is an error of Kafka.

    Raises:
        KafkaError: what has ended the producer.
    """
    try:
        yield
    except (AssertionError, IllegalOperation) as error:
        told = fatal_error(producer)
        if isinstance(told, KafkaError):
            raise told from told.__cause__  # what the broker said
        raise KafkaError("the producer failed between two calls") from error


def hear_out(producer: AIOKafkaProducer, sent: Iterable[asyncio.Future[Any]] = ()) -> None:
    """Take the errors left in futures that nobody awaits, which would be logged one by one.

    Args:
        producer: stopped.
        sent: of its sends.
    """
    waiting = [*sent, producer._txn_manager._transaction_waiter]
    for batches in producer._message_accumulator._batches.values():
        waiting.extend(batch._drain_waiter for batch in batches)
    for future in waiting:
        if future is not None and future.done() and not future.cancelled():
            future.exception()
