"""Blocks depend on offsets and not on how a fetch cut the log; ticks out of range are left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.ticks.rejections import Rejected
from barstream.log.selection import Selection
from barstream.market.schedule import ScheduleIndex, SessionRow
from barstream.model.rejection import Reason
from barstream.replay.tick_block import BLOCK, TicksInRange, blocks, placed
from barstream.rules.series import NEVER_US

MINUTE = 60_000_000


def chunk(start: int, end: int, offsets: list[int]) -> RecordChunk:
    inside = [offset for offset in offsets if start <= offset < end]
    return RecordChunk(
        "ticks", 0, start, end, [b"k%d" % at for at in inside], [b"v%d" % at for at in inside],
        np.array(inside, np.int64), np.array(inside, np.int64), True,
    )  # fmt: skip


def cut_into_blocks(bounds: list[int], offsets: list[int]) -> list[tuple[int, int, list[object]]]:
    async def fetched() -> AsyncIterator[RecordChunk]:
        for start, end in pairwise(bounds):
            yield chunk(start, end, offsets)

    async def gather() -> list[tuple[int, int, list[object]]]:
        return [
            (each.start, each.next_offset, [*each.values, *each.offsets.tolist()])
            async for each in blocks(fetched())
        ]

    return asyncio.run(gather())


@given(
    st.integers(0, 2 * BLOCK),
    st.integers(1, 3 * BLOCK),
    st.lists(st.integers(0, 5 * BLOCK), max_size=8),
    st.lists(st.integers(0, 5 * BLOCK), max_size=20),
)
def test_any_fetching_gives_the_same_blocks(
    begin: int, length: int, cuts: list[int], found: list[int]
) -> None:
    end, offsets = begin + length, sorted(set(found))
    inner = sorted({cut for cut in cuts if begin < cut < end})
    whole = cut_into_blocks([begin, end], offsets)
    assert cut_into_blocks([begin, *inner, end], offsets) == whole
    assert [each[0] for each in whole] == [begin, *range((begin // BLOCK + 1) * BLOCK, end, BLOCK)]
    assert [each[1] for each in whole] == [*[each[0] for each in whole[1:]], end]


def ticks(*rows: tuple[str, int]) -> TickColumns:
    names = sorted({("B", symbol) for symbol, _ in rows})
    return TickColumns(
        np.array([names.index(("B", symbol)) for symbol, _ in rows], np.int32), names,
        np.array([at for _, at in rows], np.int64), np.ones(len(rows)), np.ones(len(rows)), None,
        [Rejected(0, Reason.UNDECODABLE, "")],
    )  # fmt: skip


def left(found: TickColumns) -> list[tuple[str, int]]:
    named = [found.names[at][1] for at in found.series.tolist()]
    assert sorted(set(named)) == [name for _, name in found.names], "a name without a tick"
    return list(zip(named, found.time_us.tolist(), strict=True))


def test_ticks_before_the_start_bucket_of_their_series_are_left_out() -> None:
    some = ticks(("X", MINUTE - 1), ("Y", MINUTE - 1), ("X", MINUTE), ("Z", 0))
    in_range = TicksInRange(Selection(), {("B", "X"): MINUTE}, NEVER_US, None, whole=True)
    found = in_range.of(some, some.time_us, lambda *_: NEVER_US)
    assert left(found) == [("Y", MINUTE - 1), ("X", MINUTE), ("Z", 0)]
    assert len(found.rejected) == 1


def test_other_series_and_records_that_are_no_ticks_are_left_out_of_a_part() -> None:
    some = ticks(("X", 0), ("Y", 0))
    found = TicksInRange(Selection("B", "Y"), {}, NEVER_US, None, whole=False).of(
        some, some.time_us, lambda *_: NEVER_US
    )
    assert left(found) == [("Y", 0)]
    assert found.rejected == []


def test_ticks_after_the_range_still_close_it_until_it_is_closed() -> None:
    # X is over, Y is not: what comes late for X is still judged
    some = ticks(("X", 5 * MINUTE), ("Y", 5 * MINUTE), ("X", MINUTE))
    closed = {"X": 3 * MINUTE, "Y": 2 * MINUTE}
    found = TicksInRange(Selection(), {}, NEVER_US, 3 * MINUTE, whole=False).of(
        some, some.time_us, lambda _, symbol: closed[symbol]
    )
    assert left(found) == [("Y", 5 * MINUTE), ("X", MINUTE)]


def test_a_tick_within_the_close_tolerance_is_in_range_by_its_minute() -> None:
    # X closes at the end of minute 0: what comes 10 s later is of that minute, not of the range
    hours = ScheduleIndex.build([SessionRow("B", "X", 0, 0, 0, MINUTE, 30_000_000)])
    some = ticks(("X", MINUTE + 10_000_000), ("X", MINUTE + 40_000_000), ("Y", MINUTE + 10_000_000))
    at_us = placed(some, hours)
    assert at_us.tolist() == [MINUTE - 1, MINUTE + 40_000_000, MINUTE + 10_000_000]
    in_range = TicksInRange(Selection(), {}, MINUTE, None, whole=True)
    found = in_range.of(some, at_us, lambda *_: NEVER_US)
    assert left(found) == [("X", MINUTE + 40_000_000), ("Y", MINUTE + 10_000_000)]
    assert placed(some, ScheduleIndex()) is some.time_us
