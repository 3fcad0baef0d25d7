"""What is read back is compared with what must be there."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from barstream.codecs.topics.state import (
    POSITION_KEY,
    Position,
    encode_position,
    encode_series,
)
from barstream.errors import ReadingStalled, StateUnusable
from barstream.kafka.offsets import Extent
from barstream.market.schedule import MarketScheduleProvider
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import PartitionState, Rules
from barstream.runtime.restore import check_not_skipped
from barstream.runtime.restored_state import restore_engine
from barstream.store.rocksdb import LocalPartition

TP = TopicPartition("finals", 2)


class Begins:
    """A consumer that says where the changelog begins."""

    def __init__(self, begin: int) -> None:
        self._begin = begin

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, self._begin)


def test_rows_that_were_skipped_are_told_from_rows_that_were_deleted() -> None:
    """Position 10, the next fetch begins at 20: is 10 still in the topic?"""
    asyncio.run(check_not_skipped(cast("Any", Begins(20)), TP, 10, 20))
    asyncio.run(check_not_skipped(cast("Any", Begins(15)), TP, 10, 20))
    for begin in (0, 10):
        with pytest.raises(ReadingStalled, match=r"finals\[2\] must be read on at offset 10"):
            asyncio.run(check_not_skipped(cast("Any", Begins(begin)), TP, 10, 20))


def test_series_without_the_position_of_their_partition_are_refused() -> None:
    """Everything since the beginning of the ticks would be applied to them once more."""
    state = PartitionState(Rules())
    series = state.add("B", "S")
    rows: dict[bytes, bytes] = {series.key: encode_series(state, series)}
    with pytest.raises(StateUnusable, match="1 series and no position"):
        restored(rows)
    rows[POSITION_KEY] = encode_position(Position(7, 3))
    assert restored(rows) == 7
    assert restored({}) == 0


def restored(rows: dict[bytes, bytes]) -> int:
    """Where ticks are read on."""
    provider = MarketScheduleProvider.always_open()
    engine = PartitionMachine(0, Rules(), provider, lambda _broker, _symbol: None)
    engine.state.use_schedule(provider.index)
    table = cast("LocalPartition", rows)  # what is asked of it, a dict has
    return restore_engine(engine, table, "ticks", None, Extent(0, 100), Extent(0, 100)).ticks
