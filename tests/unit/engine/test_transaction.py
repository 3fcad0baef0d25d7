"""What the brokers say of a transaction, in the words of whoever writes it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import InvalidProducerIdMapping, KafkaError, ProducerFenced

from barstream.engine.rows import Row
from barstream.engine.transaction import PartitionProducer


class Refusing:
    """A producer of which no transaction begins; what it was told is wrapped, as aiokafka does."""

    def __init__(self, told: Exception) -> None:
        self._told = told
        self._txn_manager = cast("Any", Refusing._Manager())

    class _Manager:
        _transaction_waiter = None

        def is_fatal_error(self) -> bool:
            return True

    async def begin_transaction(self) -> None:
        raise KafkaError("Unexpected error during batch delivery") from self._told


def written(told: Exception) -> None:
    async def run() -> None:
        producer = PartitionProducer({"bootstrap_servers": "127.0.0.1:9"}, "a-1")
        producer._largest["finals"] = 1_000_000
        producer._producer = Refusing(told)
        await producer.write({("finals", 0): [Row(b"k", b"v")]})

    asyncio.run(run())


def test_who_was_forgotten_may_have_lost_the_partition_as_if_fenced() -> None:
    """A process may be frozen for a week: nobody fenced it, and it may not go on all the same."""
    with pytest.raises(ProducerFenced):
        written(InvalidProducerIdMapping())


def test_other_troubles_stay_what_they_are() -> None:
    with pytest.raises(KafkaError, match="Unexpected error"):
        written(ValueError("something else"))
