"""What was applied last is looked up before a chunk of another leader is applied."""

from __future__ import annotations

import asyncio
import struct
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.batch_mark import HEADER, BatchMark, mark_of
from barstream.codecs.topics.state import WrittenUpTo
from barstream.errors import ReadingStalled, StateUnusable, TailLost
from barstream.kafka.writer import _check_grown
from barstream.market.schedule import MarketScheduleProvider
from barstream.metrics import Metrics
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.intake import Intake
from barstream.runtime.restored_state import check_written
from barstream.runtime.standby import check_place


def header(base: int, count: int, epoch: int) -> bytes:
    fields = base, 0, epoch, 2, base, 0, count - 1, 0, 0, -1, -1, -1, count
    return struct.pack(HEADER.format, *fields)


def chunk(start: int, count: int, epoch: int) -> RecordChunk:
    """Records in batches of two."""
    offsets = np.arange(start, start + count, dtype=np.int64)
    nothing: list[bytes | None] = [None] * count
    headers = [header(base, 2, epoch) for base in range(start, start + count, 2)]
    return RecordChunk(
        "ticks", 0, start, start + count, nothing, nothing, offsets, offsets, True, headers=headers
    )


def columns(of: RecordChunk) -> TickColumns:
    times = of.offsets * 1_000_000
    ones = np.ones(len(of))
    return TickColumns(np.zeros(len(of), np.int32), [("B", "X")], times, ones, ones, None, [])


def engine() -> PartitionMachine:
    return PartitionMachine(0, Rules(), MarketScheduleProvider.always_open(), lambda _b, _s: None)


def test_the_batch_of_the_last_offset_applied_is_known_also_in_the_middle_of_a_chunk() -> None:
    # batches 0 1 | 2 3 | 4 5, and a barrier at 3
    made = engine()
    some = chunk(0, 6, 4)
    assert made.apply_ticks(some, columns(some), 0, at_end=False)
    assert made.last_batch == mark_of(header(4, 2, 4))
    assert made.take().last_batch == made.last_batch
    assert some.last_batch(3) == mark_of(header(2, 2, 4))
    some.mark_applied()
    assert made.take().last_batch == mark_of(header(4, 2, 4)), "not forgotten with the records"


@pytest.mark.parametrize("epoch", [4, 6, 3])
def test_a_chunk_of_another_leader_is_held_until_the_log_was_looked_at(epoch: int) -> None:
    made, asked = engine(), []
    first = chunk(0, 4, 4)
    made.apply_ticks(first, columns(first), 0, at_end=False)

    async def check_last(read: dict[int, tuple[int, BatchMark]]) -> None:
        asked.append(read)
        raise TailLost

    intake = Intake(
        cast("Any", SimpleNamespace(check_last=check_last)), cast("Any", None), cast("Any", None),
        Metrics(), cast("Any", None),
    )  # fmt: skip
    held = cast("Any", SimpleNamespace(engine=made, partition=0))
    if epoch == 4:
        assert asyncio.run(intake._continues(held, chunk(4, 4, epoch)))
        assert not asked
        return
    with pytest.raises(TailLost):
        asyncio.run(intake._continues(held, chunk(4, 4, epoch)))
    assert asked == [{0: (4, mark_of(header(2, 2, 4)))}]


@pytest.mark.law("L20")
def test_a_reader_that_was_sent_back_goes_on_only_when_the_log_was_looked_at() -> None:
    """A log that is cut sends its readers to its beginning, and may be long again by then.

    What comes begins with the leader of before, so that nothing but the place tells.
    """
    made, resumed = engine(), []
    asked: list[Any] = []
    first = chunk(0, 4, 4)
    made.apply_ticks(first, columns(first), 0, at_end=False)
    is_lost = True

    async def check(partition: int, position: int) -> None:
        asked.append((partition, position))

    async def check_last(read: dict[int, tuple[int, BatchMark]]) -> None:
        asked.append(read)
        if is_lost:
            raise TailLost

    async def resume(topic: str, partition: int, offset: int) -> None:
        resumed.append((topic, partition, offset))

    held = cast("Any", SimpleNamespace(engine=made, partition=0))
    held_by = SimpleNamespace(check_last=check_last, monitor=SimpleNamespace(check=check))
    intake = Intake(
        cast("Any", held_by), cast("Any", None), cast("Any", SimpleNamespace(resume=resume)),
        Metrics(), cast("Any", None),
    )  # fmt: skip
    # 0 1 | and then others, from 2 to 7
    again = chunk(0, 8, 4)
    with pytest.raises(TailLost):
        asyncio.run(intake._continues(held, again))
    assert asked == [(0, 4), {0: (4, mark_of(header(2, 2, 4)))}]
    assert not resumed
    is_lost = False
    assert not asyncio.run(intake._continues(held, again)), "nothing of it is taken"
    held_by.owner = lambda _event: held
    asyncio.run(intake._send_back(SimpleNamespace(value=again), held))
    assert resumed == [("ticks", 0, 4)]
    held_by.owner = lambda _event: None
    asyncio.run(intake._send_back(SimpleNamespace(value=again), held))
    assert len(resumed) == 1, "another assignment reads on by its own position"
    assert asyncio.run(intake._continues(held, chunk(4, 4, 4)))
    assert len(asked) == 4


def test_a_standby_copies_only_what_comes_next() -> None:
    check_place(chunk(4, 2, 4), 4)
    with pytest.raises(ReadingStalled, match=r"ticks\[0\] must go on at offset 4.* begins at 0"):
        check_place(chunk(0, 8, 4), 4)


def test_finals_must_reach_to_where_the_position_says() -> None:
    def table(offset: int | None) -> Any:
        return SimpleNamespace(offset=lambda: offset, partition=3)

    written = {"finals": WrittenUpTo(9, "one")}
    for reached in (9, 12):
        check_written(written, {"finals": table(reached)}, {"finals": "one"})
    for short in (8, None):
        with pytest.raises(StateUnusable, match=r"finals\[3\] must hold offset 9"):
            check_written(written, {"finals": table(short)}, {"finals": "one"})
    # made again by somebody who knows, of a timeframe that is made no more
    check_written(written, {"finals": table(0)}, {"finals": "two"})
    check_written(written, {}, {})
    with pytest.raises(StateUnusable, match="finals"):
        check_written(written, {"finals": table(8)}, {})


def test_what_is_written_must_lie_behind_what_was_written_before() -> None:
    _check_grown(("finals", 0), 12, 12)
    with pytest.raises(StateUnusable, match="at offset 12 or later, but it is at 11"):
        _check_grown(("finals", 0), 11, 12)
