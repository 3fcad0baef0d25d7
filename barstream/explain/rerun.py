"""What closed a minute, told by a machine that is taken through the log of its series once more.

It starts behind the minute before, and is given the ticks that were sound and the heartbeats for
the minute or a later one, by the rules of each place.  A worker may have taken a heartbeat later
than at its barrier, and when is not in the log; that nothing closed the minute before its published
``close_offset`` is, so none is given to the machine before that.

Where the rules are not told by the log, and those of now would have closed it before, only the tick
at the close is given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.rules import RulesRow
from barstream.explain.acceptance import is_future
from barstream.explain.facts import Facts, Tick
from barstream.log.rules import Regime, Regimes
from barstream.market.schedule import AlwaysOpenIndex, RowsSchedule, ScheduleIndex
from barstream.partition.machine import PartitionMachine
from barstream.partition.trace import Acceptance, Cause, Closure, Trace
from barstream.replay.heartbeats import COLUMNS, Beats
from barstream.replay.rules import RulesInTurn

_TYPES: Final = {name: pl.String if name in ("broker", "symbol") else pl.Int64 for name in COLUMNS}


@dataclass(frozen=True, slots=True)
class MinuteClose:
    """What closed a minute at its published place.

    Attributes:
        closure: as the machine told it.
        number: of the regime in force.
        furthest: of the accepted ticks below, the one with the latest event time: some closed it
            where no heartbeat did.
    """

    closure: Closure
    number: int
    furthest: Tick | None


def close_at(facts: Facts, offset: int, without: Collection[int] = ()) -> MinuteClose | None:
    """What closed the minute at a tick offset; None: nothing that is in the log.

    Args:
        facts: of the minute.
        offset: the close offset of its first version.
        without: heartbeats that are taken for nothing.
    """
    ticks = _ticks(facts)
    for some in (ticks, [tick for tick in ticks if tick.offset == offset - 1]):
        found = _Rerun(facts, some, offset, without).close()
        if found is not None and found.closure.close_offset == offset:
            return found
    return None


def close_before(facts: Facts, offset: int) -> Closure | None:
    """By what watermark the minute should have closed before a tick offset, if the log tells."""
    found = _Rerun(facts, _ticks(facts), offset, ()).close()
    if found is None or found.closure.cause is not Cause.WATERMARK:
        return None
    closure = found.closure
    is_told = not facts.may_have_lost(facts.bucket_us, closure.offset)
    return closure if closure.close_offset < offset and is_told else None


def _ticks(facts: Facts) -> list[Tick]:
    """Those that were sound: of the minute and of later ones."""
    return [tick for tick in facts.until_close if not is_future(facts, tick)]


class _Rerun:
    """A machine on its way from the minute before to the close."""

    def __init__(
        self, facts: Facts, ticks: Sequence[Tick], end: int, without: Collection[int]
    ) -> None:
        self._facts, self._ticks, self._end = facts, ticks, end
        self._regimes = _regimes(facts)
        begin = ticks[0].offset if ticks else end
        self._in_turn = RulesInTurn(self._regimes, max(0, begin - 1), {})
        provider = self._in_turn.provider
        self._machine = PartitionMachine(
            facts.home or 0, self._in_turn.rules, provider, lambda _broker, _symbol: None
        )
        self._machine.state.use_schedule(provider.index)
        self._machine.position = begin
        self._trace = self._machine.trace = Trace(*facts.name)
        series = self._machine.state.add(*facts.name)
        series.first_tick_us = facts.bucket_us
        self._machine.state.closed_until_us[series.slot] = facts.bucket_us
        self._beats = Beats(_beats(facts, end, without))

    def close(self) -> MinuteClose | None:
        """Take it there."""
        machine, begin = self._machine, self._machine.position or 0
        inside = {at for at in self._regimes.begin.tolist() if begin < at < self._end}
        for start, end in pairwise(sorted({begin, *inside, self._end})):
            self._change_rules(start)
            machine.apply_ticks(*self._chunk(start, end), 0, at_end=False)
        self._beats.give(machine, self._end, self._in_turn.number)
        machine.release()
        if (found := self._found()) is None:
            self._change_rules(self._end)
            self._beats.give(machine, self._end, self._in_turn.number)
            machine.release()
            found = self._found()
        return found

    def _change_rules(self, offset: int) -> None:
        for _ in self._in_turn.reach(offset, self._machine, self._beats):
            pass

    def _found(self) -> MinuteClose | None:
        closure = self._trace.closure_of(self._facts.bucket_us)
        if closure is None:
            return None
        accepted = {event.offset for event in self._trace if isinstance(event, Acceptance)}
        ticks = [tick for tick in self._ticks if tick.offset in accepted]
        furthest = max(ticks, key=lambda tick: (tick.time_us, -tick.offset), default=None)
        return MinuteClose(closure, self._in_turn.number, furthest)

    def _chunk(self, start: int, end: int) -> tuple[RecordChunk, TickColumns]:
        ticks = [tick for tick in self._ticks if start <= tick.offset < end]
        records = RecordChunk(
            "", self._facts.home or 0, start, end, [None] * len(ticks), [None] * len(ticks),
            np.array([tick.offset for tick in ticks], np.int64),
            np.array([tick.appended_us for tick in ticks], np.int64), False,
        )  # fmt: skip
        columns = TickColumns(
            np.zeros(len(ticks), np.int32), [self._facts.name],
            np.array([tick.time_us for tick in ticks], np.int64),
            np.array([tick.price for tick in ticks], np.float64),
            np.array([tick.size for tick in ticks], np.float64), None, [],
        )  # fmt: skip
        return records, columns


def _regimes(facts: Facts) -> Regimes[ScheduleIndex]:
    """Those of the log, or the rules of now where it does not say, with the one series."""
    every = [None] if facts.regimes is None else facts.regimes.all
    found: list[Regime[ScheduleIndex]] = []
    for each in every:
        told = each if each is not None and each.is_told else None
        rules, schedule = facts.rules_of(told), facts.schedule_of(told)
        row = RulesRow(
            rules.grace_us, rules.max_future_skew_us, rules.late_policy, rules.inactive_after,
            False, "explain",
        )  # fmt: skip
        index = ScheduleIndex({facts.name: schedule} if isinstance(schedule, RowsSchedule) else {})
        if schedule is not None and not isinstance(schedule, RowsSchedule):
            index = AlwaysOpenIndex()
        begins = (0, 0) if each is None else each.place
        found.append(Regime(*begins, row, index))
    return Regimes(found, found[-1].index)


def _beats(facts: Facts, end: int, without: Collection[int]) -> pl.DataFrame:
    """The heartbeats that may have been used at the close, none of them before it."""
    rows = []
    for beat in facts.beats:
        first, last = facts.used_between(beat)
        if beat.offset not in without and first <= end <= last:
            appended_us = None if beat.appended_us < 0 else beat.appended_us
            place = *facts.name, beat.minute_us, end, appended_us, facts.number_of(beat)
            rows.append((beat.offset, *place))
    return pl.DataFrame(rows, schema=_TYPES, orient="row")
