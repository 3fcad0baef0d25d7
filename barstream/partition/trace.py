"""What a machine decides about one series, told in the order in which it happens in the log.

A machine that is given a trace tells it; one that is not pays nothing.  Ticks and what follows from
them stand at their offsets; a heartbeat, and a grace that is shorter than it was, at the position
reached, which is before the tick there::

    at 4   Acceptance(4, minute 8)          the tick at offset 4 enters minute 8
           Closure(.. until 7, WATERMARK)   ... and passes the minutes before 7 and the grace
    at 5   Closure(.. until 8, HEARTBEAT)   everything below 5 is applied: a barrier
           HeartbeatNote(17, CLOSED)        ... that of the heartbeat at 17, of which this came
           Refusal(5, LATE)                 the tick at offset 5

Of minutes that are closed without a bar a `Closure` says why not: there was no price yet, or the
series was asleep; of others none is in session.  What wakes a series is its next tick in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from barstream.model.finals import Change
from barstream.model.rejection import Reason
from barstream.model.tick import Ticks
from barstream.model.time import MINUTE_US
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.rules.close import Gap
from barstream.rules.series import SeriesState

if TYPE_CHECKING:
    from barstream.codecs.record_chunk import RecordChunk
    from barstream.codecs.ticks.decoder import TickColumns


class Cause(StrEnum):
    """What makes minutes final: late ticks make bars where they were passed over."""

    WATERMARK = "watermark"
    HEARTBEAT = "heartbeat"
    GRACE = "grace"
    LATE_TICK = "late_tick"


class Fate(StrEnum):
    """What becomes of a heartbeat; each is one of these in the end.

    `WAITING` is one that is held: by its own barrier, or by that of one before it.
    """

    WAITING = "waiting"
    EARLY = "early"
    WITHDRAWN = "withdrawn"
    UNPRICED = "unpriced"
    PASSED = "passed"
    CLOSED = "closed"


class Acceptance(NamedTuple):
    """A tick enters the bar of a minute; with ``is_late`` one that was closed."""

    offset: int
    minute_us: int
    is_late: bool = False


class Refusal(NamedTuple):
    """A record that makes no bar."""

    offset: int
    reason: Reason


class HeartbeatNote(NamedTuple):
    """A heartbeat, by its offset in ``hb_1m``, and what becomes of it.

    Attributes:
        fate: `UNPRICED`: the series has no tick yet; `PASSED`: its minute was closed before.
        position: up to which ticks are applied; None: none are.
    """

    offset: int
    minute_us: int
    fate: Fate
    position: int | None


class Closure(NamedTuple):
    """Minutes are closed, by one cause.

    Attributes:
        start_us: the first of them; `NEVER_US` where none was closed before.
        until_us: exclusive.
        cause: never `Cause.LATE_TICK`.
        offset: of the tick, of the heartbeat in ``hb_1m``, or from which on the grace holds.
        close_offset: offset (exclusive) up to which ticks could enter.
        finals: the minutes that have a bar, ascending.
        gaps: those in session that have none.
    """

    start_us: int
    until_us: int
    cause: Cause
    offset: int
    close_offset: int
    finals: tuple[int, ...]
    gaps: tuple[Gap, ...]


class Rewrite(NamedTuple):
    """Late ticks have made bars of minutes that were closed, or revised them.

    Attributes:
        offset: of the last of the ticks.
        made: minutes that had no bar, and the offset of the tick by which each has one.
        revised: minutes.
    """

    offset: int
    made: tuple[tuple[int, int], ...]
    revised: tuple[int, ...]


Event = Acceptance | Refusal | HeartbeatNote | Closure | Rewrite

#: At one offset: what comes before its tick, the tick, and what that brings about.
_BEFORE, _TICK, _BEHIND = range(3)


class Trace:
    """The story of one series in one partition.

    Args:
        broker: normalised.
        symbol: normalised.
    """

    def __init__(self, broker: str, symbol: str) -> None:
        self.name = broker, symbol
        self._told: list[tuple[int, int, Event]] = []
        #: Where the events of the chunk begin that is applied, and its ticks of the series.
        self._chunk_at = 0
        self._mine = np.empty(0, np.int64)

    def __iter__(self) -> Iterator[Event]:
        """Everything, in order."""
        return (event for _, _, event in self._told)

    def closure_of(self, minute_us: int) -> Closure | None:
        """How a minute was closed, with a bar or without one; None: it was not."""
        for event in self:
            if isinstance(event, Closure) and event.start_us <= minute_us < event.until_us:
                return event
        return None

    def woken_by(self, minute_us: int) -> int | None:
        """Offset of the first tick in time after a minute; None: none has come."""
        return next(
            (
                event.offset
                for event in self
                if isinstance(event, Acceptance)
                and not event.is_late
                and event.minute_us > minute_us
            ),
            None,
        )

    # -- told by the machine ----------------------------------------------------------------------

    def is_of(self, series: SeriesState | QueuedHeartbeat) -> bool:
        """Whether this is its story."""
        return (series.broker, series.symbol) == self.name

    def begin_chunk(self, chunk: RecordChunk, columns: TickColumns) -> None:
        """Ticks of this chunk are applied from here on, in pieces."""
        self._chunk_at = len(self._told)
        at = columns.places_of(self.name)
        self._mine = chunk.offsets[at if columns.index is None else columns.index[at]]

    def end_chunk(self) -> None:
        """Put what was told of a chunk in order: the machine goes through it rule by rule."""
        self._told[self._chunk_at :] = sorted(self._told[self._chunk_at :], key=itemgetter(0, 1))

    def accept(self, ticks: Ticks, *, is_late: bool = False) -> None:
        """Ticks, of any series, that entered bars."""
        mine = np.isin(ticks.offset, self._mine)
        minute = ticks.placed_us[mine] - ticks.placed_us[mine] % MINUTE_US
        for offset, minute_us in zip(ticks.offset[mine].tolist(), minute.tolist(), strict=True):
            self._tell(offset, _TICK, Acceptance(offset, minute_us, is_late))

    def refuse(self, refused: Iterable[tuple[NDArray[np.int64], Reason]]) -> None:
        """Ticks, of any series, that entered none."""
        for offsets, reason in refused:
            for offset in offsets[np.isin(offsets, self._mine)].tolist():
                self._tell(offset, _TICK, Refusal(offset, reason))

    def refuse_record(self, offset: int, reason: Reason) -> None:
        """A record of the series that is no tick."""
        self._tell(offset, _TICK, Refusal(offset, reason))

    def close(self, closure: Closure) -> None:
        """Minutes of the series were closed."""
        if closure.cause is Cause.WATERMARK:
            self._tell(closure.offset, _BEHIND, closure)
        else:
            self._tell(closure.close_offset, _BEFORE, closure)

    def rewrite(self, changes: Iterable[Change]) -> None:
        """Finals of the series were revised or made."""
        changes = list(changes)
        if not changes:
            return
        offset = max(change.new.close_offset or 0 for change in changes) - 1
        made = ((c.new.bucket_start_us, c.tick_offset) for c in changes if c.old is None)
        revised = (c.new.bucket_start_us for c in changes if c.old is not None)
        self._tell(offset, _BEHIND, Rewrite(offset, tuple(made), tuple(revised)))

    def note(self, heartbeat: QueuedHeartbeat, fate: Fate, position: int | None) -> None:
        """A heartbeat, of any series, was taken."""
        if self.is_of(heartbeat):
            told = HeartbeatNote(heartbeat.offset, heartbeat.minute_us, fate, position)
            self._tell(-1 if position is None else position, _BEFORE, told)

    def _tell(self, at: int, rank: int, event: Event) -> None:
        self._told.append((at, rank, event))
