"""Where each tick of a minute is: in its bar, rejected, or not applied yet; pure.

A tick is judged by the rules that stood in the log at its offset.  What is written in
``ticks_rejected`` was rejected, whatever anybody would say now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from barstream.explain.facts import Facts, RejectionFact, Tick
from barstream.market.schedule import OFF_SESSION, SeriesSchedule
from barstream.model.bar import Bar
from barstream.model.rejection import Reason


@dataclass(frozen=True, slots=True)
class Places:
    """Every tick of the minute in the series' partition, each once, by offset.

    Attributes:
        accepted: in the bar, or in the one that is open.
        rejected: in none.
        waiting: not applied yet.
        taken_in: those of ``accepted`` that had been rejected before the bar was written anew.
    """

    accepted: tuple[Tick, ...] = ()
    rejected: tuple[RejectionFact, ...] = ()
    waiting: tuple[Tick, ...] = ()
    taken_in: tuple[Tick, ...] = ()


def places_of(facts: Facts, bar: Bar | None) -> Places:
    """Where the ticks of the minute are, of which ``bar`` is the final, if there is one."""
    if facts.seen is None:
        # of a series without a home nothing but its rejections, and what comes next, is known
        refused = {one.tick.offset for one in facts.rejected}
        return Places(
            (),
            tuple(_as_it_is_now(facts, one) for one in facts.rejected),
            tuple(tick for tick in facts.ticks if tick.offset not in refused),
        )
    recorded = {one.tick.offset: one for one in facts.rejected if one.tick.partition == facts.home}
    position = None if facts.stand is None else facts.stand.position
    close_offset = None if bar is None else bar.close_offset
    if close_offset is not None:
        # the position was read before the finals, and a worker may run
        position = max(close_offset, position or 0)
    accepted: list[Tick] = []
    rejected: list[RejectionFact] = []
    waiting: list[Tick] = []
    for tick in facts.ticks:
        if (said := recorded.get(tick.offset)) is not None:
            rejected.append(_as_it_is_now(facts, said))
        elif position is None or tick.offset >= position:
            waiting.append(tick)
        elif (found := refusal(facts, tick)) is not None:
            rejected.append(found)
        elif close_offset is not None and tick.offset >= close_offset:
            rejected.append(_late(tick))
        else:
            accepted.append(tick)
    places = Places(tuple(accepted), tuple(rejected), tuple(waiting))
    if bar is None or len(accepted) == bar.tick_count:
        return places
    return _other(facts, bar, places, recorded)


def _other(facts: Facts, bar: Bar, places: Places, recorded: Mapping[int, RejectionFact]) -> Places:
    """Where the ticks of a bar may be that they do not give by the rules that are known.

    ``recorded`` are those of its partition that the log says were rejected, by offset.
    """
    within = [tick for tick in facts.ticks if tick.offset < (bar.close_offset or 0)]
    not_rejected = tuple(tick for tick in within if tick.offset not in recorded)
    is_lost = any(facts.may_have_lost(tick.time_us, tick.offset) for tick in within)
    if len(not_rejected) == bar.tick_count and is_lost:
        return _with(facts, places, not_rejected)  # whatever the schedule says now
    if _was_written_anew(facts, bar):
        late = {offset for offset, one in recorded.items() if one.reason == Reason.LATE}
        in_time = tuple(t for t in within if t.offset not in recorded or t.offset in late)
        if len(in_time) == bar.tick_count:
            taken_in = tuple(tick for tick in in_time if tick.offset in recorded)
            return replace(_with(facts, places, in_time), taken_in=taken_in)
    return places


def _with(facts: Facts, places: Places, accepted: tuple[Tick, ...]) -> Places:
    inside = {tick.offset for tick in accepted}
    rejected = {one.tick.offset: one for one in places.rejected}
    before = {tick.offset for tick in places.accepted}
    for tick in facts.ticks:
        if tick.offset in before and tick.offset not in inside:
            rejected[tick.offset] = _late(tick)
    kept = [rejected[offset] for offset in sorted(rejected) if offset not in inside]
    return Places(accepted, tuple(kept), places.waiting)


def _was_written_anew(facts: Facts, bar: Bar) -> bool:
    """Whether it was revised, or was put in before a bar that was there already."""
    after = facts.neighbours.after
    is_behind = after is not None and after.offset < facts.finals[0].offset
    return bar.revision > 0 or is_behind


def refusal(facts: Facts, tick: Tick) -> RejectionFact | None:
    """Why a tick was rejected, from itself and the rules at its offset; None: it was not, by them.

    That its minute was closed does not follow from these.
    """
    regime = facts.regime_at(tick.offset)
    if is_future(facts, tick):
        skew_us = facts.rules_of(regime).max_future_skew_us
        return RejectionFact(
            tick,
            Reason.FUTURE,
            f"the event time is {tick.time_us - tick.appended_us} us after the record's "
            f"timestamp, {skew_us} us are allowed",
        )
    schedule = facts.schedule_of(regime)
    if schedule is None:
        return RejectionFact(tick, Reason.UNSCHEDULED, f"{_UNSCHEDULED}{_since(facts, tick)}")
    if not is_open(schedule, tick.time_us):
        return RejectionFact(tick, Reason.OFF_SESSION, f"{_OFF_SESSION}{_since(facts, tick)}")
    return None


def is_future(facts: Facts, tick: Tick) -> bool:
    """Whether its event time lies too far after its record's timestamp."""
    skew_us = facts.rules_of(facts.regime_at(tick.offset)).max_future_skew_us
    return 0 <= tick.appended_us < tick.time_us - skew_us


def is_open(schedule: SeriesSchedule, time_us: int) -> bool:
    """Whether a session has open <= time < close."""
    return bool(schedule.locate(np.array([time_us], np.int64))[0] != OFF_SESSION)


_UNSCHEDULED = "the series had no row in the market schedule when it was applied"
_OFF_SESSION = "no session had open <= event time < close when it was applied"


def _since(facts: Facts, tick: Tick) -> str:
    schedule = facts.scheduled.schedule
    now = schedule is not None and is_open(schedule, tick.time_us)
    return "; the session there is now came later" if now else ""


def _as_it_is_now(facts: Facts, said: RejectionFact) -> RejectionFact:
    """A worker says what to do in the present tense; what was done since is told here."""
    since = _since(facts, said.tick)
    if said.reason == Reason.UNSCHEDULED and facts.scheduled.schedule is not None:
        return replace(said, detail=f"{_UNSCHEDULED}{since}")
    if said.reason == Reason.OFF_SESSION and since:
        return replace(said, detail=f"{_OFF_SESSION}{since}")
    return said


def _late(tick: Tick) -> RejectionFact:
    return RejectionFact(
        tick, Reason.LATE, "the bar of its minute was final; nothing of it is in ticks_rejected"
    )
