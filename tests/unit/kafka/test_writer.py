"""What the brokers say of a transaction, in the words of whoever writes it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerIdMapping,
    KafkaError,
    ProducerFenced,
)

from barstream.kafka.flush import Row
from barstream.kafka.writer import PartitionWriter
from tests.cluster import cluster_at


class Refusing:
    """A producer of which no transaction begins; what it was told is wrapped, as aiokafka does.

    Args:
        told: by a broker.
        is_between: it was told between two calls, of which the next one knows nothing.
    """

    def __init__(self, told: Exception, *, is_between: bool) -> None:
        self._error = told
        if not isinstance(told, ProducerFenced):
            self._error = KafkaError("Unexpected error during batch delivery")
            self._error.__cause__ = told
        self._is_between = is_between
        self._txn_manager = cast("Any", Refusing._Manager())

    class _Manager:
        def __init__(self) -> None:
            self._transaction_waiter = asyncio.get_running_loop().create_future()

        def is_fatal_error(self) -> bool:
            return True

    async def begin_transaction(self) -> None:
        if not self._is_between:
            raise self._error
        self._txn_manager._transaction_waiter.set_exception(self._error)
        raise IllegalOperation("Can't send messages while not in transaction")


def written(told: Exception, *, is_between: bool) -> None:
    async def run() -> None:
        producer = PartitionWriter(cluster_at(), "a-1")
        producer._largest["finals"] = 1_000_000
        producer._producer = Refusing(told, is_between=is_between)
        await producer.write({("finals", 0): [Row(b"k", b"v")]})

    asyncio.run(run())


@pytest.mark.parametrize("is_between", [False, True])
@pytest.mark.parametrize("told", [InvalidProducerIdMapping(), ProducerFenced()])
def test_who_was_forgotten_may_have_lost_the_partition_as_if_fenced(
    told: Exception, is_between: bool
) -> None:
    """A process may be frozen for a week: nobody fenced it, and it may not go on all the same."""
    with pytest.raises(ProducerFenced):
        written(told, is_between=is_between)


@pytest.mark.parametrize("is_between", [False, True])
def test_other_troubles_stay_what_they_are(is_between: bool) -> None:
    with pytest.raises(KafkaError, match="Unexpected error") as raised:
        written(ValueError("something else"), is_between=is_between)
    assert isinstance(raised.value.__cause__, ValueError)
