"""The log of a partition, given to the definition of a bar in the order that the contract says.

Ticks in the order of their offsets.  A heartbeat closes when everything below its barrier has been
applied, and never before one that stands before it in ``hb_1m``; before the tick at that offset::

    ticks   0   1   2   3   4
    hb_1m           ^ barrier 2: after the tick at 1, before the one at 2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from typing import NamedTuple

from tests.reference.series import PlainSeries


class LoggedTick(NamedTuple):
    """A tick that can be read, at its offset."""

    offset: int
    symbol: str
    time_us: int
    price: float
    size: float


class LoggedHeartbeat(NamedTuple):
    """A heartbeat; one that ``closes`` nothing came too early, and holds up those behind it.

    ``came_at`` is the tick offset up to which a worker had applied when it read it; ``offset`` is
    its own.
    """

    symbol: str
    minute_us: int
    barrier: int
    appended_us: int = -1
    came_at: int = 0
    closes: bool = True
    offset: int = -1


Event = tuple[int, int, LoggedTick | LoggedHeartbeat]
"""The tick offset at which it happens, heartbeats (0) before ticks (1), and what happens."""


def events(
    ticks: Iterable[LoggedTick], heartbeats: Iterable[LoggedHeartbeat], end: int | None = None
) -> Iterator[Event]:
    """What happens, in order; heartbeats with a barrier above ``end`` wait for ever."""
    return merge(
        _beats(heartbeats, end), ((each.offset, 1, each) for each in ticks), key=lambda e: e[:2]
    )


def _beats(heartbeats: Iterable[LoggedHeartbeat], end: int | None) -> Iterator[Event]:
    at = 0
    for each in heartbeats:
        at = max(at, each.barrier, each.came_at)
        if end is not None and at > end:
            return
        if each.closes:
            yield at, 0, each


def applied(
    log: Iterable[Event], series_of: Callable[[LoggedTick], PlainSeries]
) -> dict[str, PlainSeries]:
    """Every series after the last event, by symbol.

    Args:
        log: see `events`.
        series_of: the series of its first tick; a heartbeat of one without a tick is nothing.
    """
    found: dict[str, PlainSeries] = {}
    for at, _, event in log:
        series = found.get(event.symbol)
        if isinstance(event, LoggedTick):
            if series is None:
                series = found[event.symbol] = series_of(event)
            series.tick(event.offset, event.time_us, event.price, event.size)
        elif series is not None:
            series.heartbeat(event.minute_us, at)
    return found
