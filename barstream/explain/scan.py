"""Looking for the ticks of a bucket in the series' partition of the tick topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.record_chunk import RecordChunk
from barstream.explain.facts import RejectionFact, Tick
from barstream.explain.tick_decoder import Mine, SeriesDecoder
from barstream.explain.window import Progress, forward
from barstream.kafka.cluster import Cluster
from barstream.log.snapshot import Span, chunks
from barstream.rules.series import FOREVER_US

#: So many records that are no tick are kept.
_UNDATED: Final = 20


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked for; times half-open, microseconds.

    Attributes:
        bucket: event times between which ticks that are wanted lie.
        closes_us: before it no tick closes the bucket, whatever the grace was.
        around: append times between which records that are no tick are of interest.
        is_of_bucket: whether a tick is wanted.
        passes: whether a tick was accepted and closes the bucket.
        is_accepted: whether it was accepted.
        is_recorded: whether the log says that it was rejected.
        close_offset: of the final; None: there is none.
        graces: number and beginning of each regime with a shorter grace than the one before it, and
            the event time from which on a tick had passed the bucket by it.
        placed_us: the event time by which a tick is placed.
    """

    bucket: tuple[int, int]
    closes_us: int
    around: tuple[int, int]
    is_of_bucket: Callable[[Tick], bool]
    passes: Callable[[Tick], bool]
    is_accepted: Callable[[Tick], bool]
    is_recorded: Callable[[Tick], bool]
    close_offset: int | None = None
    graces: tuple[tuple[int, int, int], ...] = ()
    placed_us: Callable[[Tick], int] = lambda tick: tick.time_us


#: Every tick there is; none of them closes anything.
EVERY_TICK: Final = Looked(
    (0, FOREVER_US),
    FOREVER_US,
    (0, 0),
    lambda _: True,
    lambda _: False,
    lambda _: False,
    lambda _: False,
)


@dataclass(slots=True)
class FoundTicks:
    """What a scan came to, by offset.

    Attributes:
        closing: the first tick that closes the bucket.
        until_close: those of the bucket and of later ones below the close offset, and the one just
            before that.
        graced: the first regime whose shorter grace had passed the bucket where it began.
    """

    ticks: list[Tick] = field(default_factory=list)
    invalid: list[RejectionFact] = field(default_factory=list)
    undated: list[RejectionFact] = field(default_factory=list)
    closing: Tick | None = None
    until_close: list[Tick] = field(default_factory=list)
    graced: int | None = None
    append_times: bool = True

    def add(self, waiting: FoundTicks) -> None:
        """Take in the ticks of a later scan, of what is not applied yet: it closed nothing."""
        self.ticks += waiting.ticks
        self.invalid += waiting.invalid
        self.undated += waiting.undated


async def scan(
    cluster: Cluster,
    topic: str,
    place: tuple[int, Span],
    decoder: SeriesDecoder,
    looked: Looked,
    key: bytes,
    progress: Progress,
) -> FoundTicks:
    """Look through the offsets of one partition.

    Args:
        cluster: where the topic is.
        topic: of the ticks.
        place: partition and offsets.
        decoder: of the series.
        looked: what is looked for.
        key: that the series' records usually have, by which records that are no tick are judged.
        progress: told how far it has come.
    """
    partition, span = place
    found = FoundTicks()
    for window in forward(span, "ticks", progress):
        async for chunk in chunks(cluster, topic, {partition: window}):
            found.append_times &= chunk.append_time or not len(chunk)
            async for part, mine in decoder.of_chunk(chunk):
                _take(part, mine, looked, key, found)
    return found


def _take(chunk: RecordChunk, mine: Mine, looked: Looked, key: bytes, found: FoundTicks) -> None:
    low_us, high_us = looked.bucket
    inside = (mine.time_us >= low_us) & (mine.time_us < high_us)
    for row in np.flatnonzero(inside).tolist():
        tick = _tick(chunk, mine, row)
        if not looked.is_of_bucket(tick):
            continue
        found.ticks.append(tick)
        if (wrong := mine.invalid.get(int(mine.at[row]))) is not None:
            found.invalid.append(RejectionFact(tick, wrong.reason, wrong.detail))
    sound = np.ones(len(mine.at), np.bool_)
    if mine.invalid:
        sound = ~np.isin(mine.at, list(mine.invalid))
    _take_closing(chunk, mine, sound, looked, found)
    _take_grace(chunk, mine, sound, looked, found)
    for each in mine.unreadable:
        stamp_us = int(chunk.timestamps_us[each.position])
        is_mine = chunk.keys[each.position] == key
        if is_mine and looked.around[0] <= stamp_us < looked.around[1]:
            offset = int(chunk.offsets[each.position])
            nothing = Tick(offset, -1, float("nan"), float("nan"), stamp_us, chunk.partition)
            if len(found.undated) < _UNDATED:
                found.undated.append(RejectionFact(nothing, each.reason, each.detail))


def _take_closing(
    chunk: RecordChunk, mine: Mine, sound: NDArray[np.bool_], looked: Looked, found: FoundTicks
) -> None:
    reaches = np.flatnonzero(sound & (mine.time_us >= looked.closes_us)).tolist()
    if found.closing is None:
        for row in reaches:
            tick = _tick(chunk, mine, row)
            if looked.passes(tick):
                found.closing = tick
                break
    if looked.close_offset is None:
        return
    offsets = chunk.offsets[mine.at]
    below = (mine.time_us >= looked.bucket[0]) & (offsets < looked.close_offset)
    below |= offsets == looked.close_offset - 1
    for row in np.flatnonzero(sound & below).tolist():
        tick = _tick(chunk, mine, row)
        if not looked.is_recorded(tick):
            found.until_close.append(tick)


def _take_grace(
    chunk: RecordChunk, mine: Mine, sound: NDArray[np.bool_], looked: Looked, found: FoundTicks
) -> None:
    offsets = chunk.offsets[mine.at]
    for number, begin, passed_us in looked.graces:
        if found.graced is not None and found.graced <= number:
            return
        below = sound & (offsets < begin) & (mine.time_us >= passed_us)
        ticks = (_tick(chunk, mine, row) for row in np.flatnonzero(below).tolist())
        if any(looked.placed_us(each) >= passed_us and looked.is_accepted(each) for each in ticks):
            found.graced = number


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
