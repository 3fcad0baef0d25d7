"""The universe: which series were seen in ticks, where, and how each of them stands.

One row per series (topic ``series_seen``, read whole by every worker), so that the leader
knows the series of all partitions.  A series leaves by the schedule alone: after
``inactive_after`` trading dates without a tick it is asleep (:func:`standing`), and its
next tick brings it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher, get_close_matches
from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from barstream.market.schedule import SeriesSchedule

UNKNOWN: Final = -1
#: A misspelt name is compared to so many others at most: a worker answers meanwhile.
_COMPARED: Final = 2_000
#: Two thousand comparisons with a longer symbol hold a worker up, and nobody misspells one.
_LONGEST: Final = 64
#: Of the symbols alone, as a broker's name that is right makes all of its series alike: EURUSX and
#: EURUSD are, XAUUSD and EURUSD are not.
_ALIKE: Final = 0.7

SeriesName = tuple[str, str]
Standing = Literal["active", "historical", "asleep", "unscheduled"]


def nearest_series(
    name: SeriesName, known: Iterable[SeriesName], most: int = 3
) -> list[SeriesName]:
    """The series that ``name`` may have been meant to be, those spelled most alike first.

    Their symbols are spelled alike; their brokers may be called anything.
    """
    if len(name[1]) > _LONGEST:
        return []
    # one that was seen and has sessions is known twice
    others = [each for each in dict.fromkeys(islice(known, _COMPARED)) if each != name]
    symbols = {each[1].upper() for each in others}
    alike = set(get_close_matches(name[1].upper(), symbols, len(symbols) or 1, _ALIKE))

    def likeness(other: SeriesName) -> float:
        return SequenceMatcher(None, " ".join(other).upper(), " ".join(name).upper()).ratio()

    return nlargest(most, (each for each in others if each[1].upper() in alike), key=likeness)


def did_you_mean(near: Iterable[SeriesName]) -> str:
    """``; did you mean FX EURUSD?``, to be put behind what was found; empty without any."""
    names = " or ".join(map(" ".join, near))
    return f"; did you mean {names}?" if names else ""


class SeriesSeen(NamedTuple):
    """What the worker that owns a series tells all the others about it."""

    broker: str
    symbol: str
    partition: int
    """Partition of the tick topic its ticks are seen in, never a computed one."""
    first_tick_us: int
    """Event time of its first accepted tick; -1: not known."""
    last_trading_date: int
    """Days since 1970-01-01 of the newest trading date that has an accepted tick."""
    live: bool
    """Its ticks arrive as they happen; False: historical, closed by its loader alone."""
    closed_until_us: int
    """Every minute before this instant needs no heartbeat any more; -1: nothing closed."""

    @property
    def name(self) -> SeriesName:
        """``(broker, symbol)``."""
        return self.broker, self.symbol


class Universe:
    """The newest row of every series; changed by rows and tombstones as they are read."""

    def __init__(self) -> None:
        self._rows: dict[SeriesName, SeriesSeen] = {}
        self._snapshot: tuple[SeriesSeen, ...] | None = ()
        self._listeners: list[Callable[[SeriesSeen], None]] = []

    def put(self, row: SeriesSeen) -> None:
        """A row replaces the earlier one of its series, unless it names another partition.

        The partition that was named first is the home of a series until a tombstone: of two
        workers that saw its ticks in two partitions, all readers follow the same one.
        """
        before = self._rows.get(row.name)
        if before is not None and before.partition != row.partition:
            for listener in self._listeners:
                listener(before)
        elif before != row:
            self._rows[row.name] = row
            self._snapshot = None

    def on_conflict(self, listener: Callable[[SeriesSeen], None]) -> None:
        """Call ``listener(kept)`` when a row names another partition than the one ``kept``."""
        self._listeners.append(listener)

    def remove(self, broker: str, symbol: str) -> None:
        """A tombstone: the series is forgotten until its next row."""
        if self._rows.pop((broker, symbol), None) is not None:
            self._snapshot = None

    def get(self, broker: str, symbol: str) -> SeriesSeen | None:
        """The row of one series, None if it was never seen."""
        return self._rows.get((broker, symbol))

    def rows(self) -> tuple[SeriesSeen, ...]:
        """All rows by name: an immutable snapshot, safe to hand to another thread."""
        if self._snapshot is None:
            self._snapshot = tuple(self._rows[name] for name in sorted(self._rows))
        return self._snapshot

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[SeriesSeen]:
        return iter(self.rows())

    def __contains__(self, name: object) -> bool:
        return name in self._rows


def standing(
    row: SeriesSeen, schedule: SeriesSchedule | None, now_us: int, inactive_after: int
) -> Standing:
    """How a series stands at ``now_us``; only an ``active`` one gets new heartbeats."""
    if not row.live:
        return "historical"
    if schedule is None:
        return "unscheduled"
    asleep_us = schedule.asleep_from(row.last_trading_date, inactive_after)
    return "asleep" if asleep_us is not None and asleep_us <= now_us else "active"
