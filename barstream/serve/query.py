"""Bars of the partitions of this worker: of one series, or of many in the order of their keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from barstream.codecs.topics.bar_json import bar_to_json
from barstream.model.bar import Bar
from barstream.model.bar_request import BarRequest, after_key
from barstream.serve.reads import NotHereError, Reads

#: Bars read, or rendered, before the event loop gets its turn again: about 10 ms.
CHUNK: Final = 1000
#: ... or series looked at.
SEEKS: Final = 100


class BarPlace(NamedTuple):
    """A key as `after_key` gives it."""

    broker: str
    symbol: str
    bucket_us: int


@dataclass(slots=True)
class FoundBars:
    """At most ``limit`` bars, the first one left off, and what retention has deleted.

    Attributes:
        retained_from_us: finals that start before this were deleted, of a series at least.
    """

    bars: list[Bar] = field(default_factory=list)
    left_off: Bar | None = None
    retained_from_us: int | None = None


def after_of(request: BarRequest) -> BarPlace | None:
    """The key a request goes on after."""
    return None if request.after is None else BarPlace(*after_key(request.after))


async def read_bars(
    reads: Reads, request: BarRequest, partitions: Iterable[int] | None = None
) -> FoundBars:
    """What is here of a request: of one series, or of all of these partitions.

    Raises:
        NotHereError: some of it is not here, or no longer.
    """
    found = FoundBars()
    if request.broker is not None and request.symbol is not None:
        await _read_series(reads, request, request.broker, request.symbol, found)
        return found
    held = reads.placement().here if partitions is None else frozenset(partitions)
    for number, (broker, symbol) in enumerate(_names(reads, request, held), 1):
        await _read_series(reads, request, broker, symbol, found)
        if found.left_off is not None:
            break
        if number % SEEKS == 0:
            await asyncio.sleep(0)
    still_here(reads, held)
    return found


def still_here(reads: Reads, partitions: Iterable[int]) -> None:
    """Nothing that was read may have been written by another worker meanwhile.

    Raises:
        NotHereError: one of the partitions is not here any more.
    """
    gone = sorted(set(partitions) - reads.placement().here)
    if gone:
        raise NotHereError(f"partitions {gone} are not on this worker any more")


def _names(
    reads: Reads, request: BarRequest, partitions: Iterable[int]
) -> Iterator[tuple[str, str]]:
    """The series asked for in the order of their keys, from the one to go on with."""
    after = after_of(request)
    names = reads.names(partitions)
    for broker, symbol in reversed(names) if request.descending else names:
        if request.broker is not None and broker != request.broker:
            continue
        name = (broker, symbol)
        if after is None or name == after[:2] or (name > after[:2]) != request.descending:
            yield name


async def _read_series(
    reads: Reads, request: BarRequest, broker: str, symbol: str, found: FoundBars
) -> None:
    period, descending = request.period, request.descending
    from_us = reads.bucket_of(broker, symbol, period, request.from_us)
    to_us, after = request.to_us, after_of(request)
    if after is not None and (broker, symbol) == after[:2]:
        if descending:
            to_us = min(to_us, after.bucket_us)
        else:
            from_us = max(from_us, after.bucket_us + 1)
    retained_us = reads.retained_from_us(broker, symbol, period)
    if retained_us is not None:
        found.retained_from_us = max(retained_us, found.retained_from_us or retained_us)
    while from_us < to_us:
        room = request.limit - len(found.bars)
        wanted = min(CHUNK, room + 1)
        bars = reads.bars(broker, symbol, period, from_us, to_us, wanted, descending=descending)
        found.bars.extend(bars[:room])
        if len(bars) > room:
            found.left_off = bars[room]
            return
        if len(bars) < wanted:
            return
        if descending:
            to_us = bars[-1].bucket_start_us
        else:
            from_us = bars[-1].bucket_start_us + 1
        await asyncio.sleep(0)


async def read_live(
    reads: Reads, request: BarRequest, partitions: Iterable[int] | None = None
) -> FoundBars:
    """The open bars of what is here of a request, in the order of their keys.

    Raises:
        NotHereError: some of it is not here, or no longer.
    """
    found = FoundBars()
    if request.broker is not None and request.symbol is not None:
        found.bars.extend(reads.live(request.broker, request.symbol, request.period))
        return found
    held = reads.placement().here if partitions is None else frozenset(partitions)
    after = after_of(request)
    for number, (broker, symbol) in enumerate(_names(reads, request, held), 1):
        for bar in reads.live(broker, symbol, request.period):
            if after is not None and (broker, symbol, bar.bucket_start_us) <= after:
                continue
            if len(found.bars) == request.limit:
                found.left_off = bar
                break
            found.bars.append(bar)
        if found.left_off is not None:
            break
        if number % SEEKS == 0:
            await asyncio.sleep(0)
    still_here(reads, held)
    return found


def bar_json(bar: Bar) -> dict[str, Any]:
    """A bar as the API shows it: its fields and ``status``, ``final`` or ``live``."""
    return {**bar_to_json(bar), "status": "final" if bar.final else "live"}


async def rendered(
    bars: Sequence[Bar], render: Callable[[Bar], dict[str, Any]] = bar_json
) -> list[dict[str, Any]]:
    """Every bar as the API shows it."""
    rows: list[dict[str, Any]] = []
    for first in range(0, len(bars), CHUNK):
        rows.extend(map(render, bars[first : first + CHUNK]))
        await asyncio.sleep(0)
    return rows
