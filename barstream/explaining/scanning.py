"""Looking for the ticks of a bucket in the series' partition of the tick topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from barstream.core.reasons import Reason
from barstream.explaining.decoding import Mine, SeriesDecoder
from barstream.explaining.facts import RejectedTick, Tick
from barstream.explaining.windows import Progress, forward
from barstream.history.reading import Options, Span, chunks
from barstream.transport.chunk import RecordChunk

#: So many records that are no tick are kept.
_UNDATED: Final = 20


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked for; times half-open, microseconds.

    Attributes:
        bucket: event times of the ticks that are wanted.
        closes_us: a tick with this event time or a later one closes the bucket.
        around: append times between which records that are no tick are of interest.
        max_future_skew_us: a tick further than this after its append time is rejected.
        counts: whether a tick that may close is accepted: in session.
    """

    bucket: tuple[int, int]
    closes_us: int
    around: tuple[int, int]
    max_future_skew_us: int
    counts: Callable[[int], bool]


@dataclass(slots=True)
class Found:
    """What a scan came to, by offset; ``closing`` is the first tick that closes."""

    ticks: list[Tick] = field(default_factory=list)
    future: list[RejectedTick] = field(default_factory=list)
    undated: list[RejectedTick] = field(default_factory=list)
    closing: Tick | None = None
    append_times: bool = True


async def scan(
    options: Options,
    topic: str,
    place: tuple[int, Span],
    decoder: SeriesDecoder,
    looked: Looked,
    key: bytes,
    progress: Progress,
) -> Found:
    """Look through the offsets of one partition.

    Args:
        options: where the cluster is.
        topic: of the ticks.
        place: partition and offsets.
        decoder: of the series.
        looked: what is looked for.
        key: that the series' records usually have, by which records that are no tick are judged.
        progress: told how far it has come.
    """
    partition, span = place
    found = Found()
    for window in forward(span, "ticks", progress):
        async for chunk in chunks(options, topic, {partition: window}):
            found.append_times &= chunk.append_time or not len(chunk)
            _take(chunk, await decoder.of_chunk(chunk), looked, key, found)
    return found


def _take(chunk: RecordChunk, mine: Mine, looked: Looked, key: bytes, found: Found) -> None:
    low_us, high_us = looked.bucket
    inside = (mine.time_us >= low_us) & (mine.time_us < high_us)
    for row in np.flatnonzero(inside).tolist():
        tick = _tick(chunk, mine, row)
        found.ticks.append(tick)
        if _is_future(tick, looked):
            found.future.append(_future(tick, looked))
    if found.closing is None:
        for row in np.flatnonzero(mine.time_us >= looked.closes_us).tolist():
            tick = _tick(chunk, mine, row)
            if looked.counts(tick.time_us) and not _is_future(tick, looked):
                found.closing = tick
                break
    for each in mine.refused:
        stamp_us = int(chunk.timestamps_us[each.position])
        is_mine = chunk.keys[each.position] == key
        if is_mine and looked.around[0] <= stamp_us < looked.around[1]:
            offset = int(chunk.offsets[each.position])
            nothing = Tick(offset, -1, float("nan"), float("nan"), stamp_us, chunk.partition)
            if len(found.undated) < _UNDATED:
                found.undated.append(RejectedTick(nothing, each.reason, each.detail))


def _tick(chunk: RecordChunk, mine: Mine, row: int) -> Tick:
    at = int(mine.at[row])
    return Tick(
        int(chunk.offsets[at]),
        int(mine.time_us[row]),
        float(mine.price[row]),
        float(mine.size[row]),
        int(chunk.timestamps_us[at]),
        chunk.partition,
    )


def _is_future(tick: Tick, looked: Looked) -> bool:
    return 0 <= tick.appended_us < tick.time_us - looked.max_future_skew_us


def _future(tick: Tick, looked: Looked) -> RejectedTick:
    return RejectedTick(
        tick,
        Reason.FUTURE,
        f"the event time is {tick.time_us - tick.appended_us} us after the record's timestamp, "
        f"{looked.max_future_skew_us} us are allowed",
    )
