"""A producer that has failed between two calls says why at the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiokafka.errors import IllegalOperation, InvalidProducerIdMapping, KafkaError, ProducerFenced
from aiokafka.producer.transaction_manager import TransactionManager

from barstream.kafka.producer_failure import cause_told, fatal_error


class Producer:
    """As far as its state goes, which is aiokafka's own."""

    def __init__(self) -> None:
        self._txn_manager = TransactionManager("a-1", 1_000)
        self._txn_manager._pid_waiter = asyncio.get_running_loop().create_future()
        self._txn_manager.set_pid_and_epoch(1, 0)


def told_by(error: Exception, fail: Callable[[Any], None]) -> None:
    async def go() -> None:
        producer: Any = Producer()
        producer._txn_manager.begin_transaction()
        fail(producer._txn_manager)
        with cause_told(producer):
            raise error

    asyncio.run(go())


@pytest.mark.parametrize("error", [IllegalOperation("not in transaction"), AssertionError()])
def test_the_next_call_tells_what_ended_it(error: Exception) -> None:
    with pytest.raises(ProducerFenced):
        told_by(error, lambda state: state.fatal_error(ProducerFenced()))


def test_what_a_broker_said_stays_the_cause() -> None:
    wrapped = KafkaError("Unexpected error during batch delivery")
    wrapped.__cause__ = InvalidProducerIdMapping()
    with pytest.raises(KafkaError) as raised:
        told_by(IllegalOperation("not in transaction"), lambda state: state.fatal_error(wrapped))
    assert isinstance(raised.value.__cause__, InvalidProducerIdMapping)


def test_where_nothing_is_known_it_is_an_error_of_kafka_all_the_same() -> None:
    with pytest.raises(KafkaError, match="failed between two calls"):
        told_by(IllegalOperation("not in transaction"), lambda _: None)


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="x"):
        told_by(ValueError("x"), lambda state: state.fatal_error(ProducerFenced()))


def test_a_cause_that_was_wrapped_is_kept() -> None:
    async def go() -> BaseException | None:
        producer: Any = Producer()
        wrapped = KafkaError("Unexpected error during batch delivery")
        wrapped.__cause__ = InvalidProducerIdMapping()
        producer._txn_manager.begin_transaction()
        producer._txn_manager.fatal_error(wrapped)
        return fatal_error(producer)

    found = asyncio.run(go())
    assert isinstance(cast("BaseException", found).__cause__, InvalidProducerIdMapping)
