"""What made a minute final: a tick past its end and grace, a heartbeat, a grace, or a late tick.

What happened at one place of the tick partition happened in this order, and the first that could
close the minute did::

    tick at close_offset - 1 | heartbeats | a worker with other rules | its heartbeats | ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from barstream.explain.acceptance import refusal
from barstream.explain.facts import Beat, Facts, Tick, Version
from barstream.explain.rerun import MinuteClose, close_at, close_before
from barstream.explain.sentences import at, span
from barstream.model.bar import Bar
from barstream.model.time import floor_minute
from barstream.partition.trace import Cause
from barstream.rules.heartbeat_due import minute_end_us

By = Literal["watermark", "heartbeat", "late_tick", "grace", "unproven"]
_NO_END = 1 << 62


@dataclass(frozen=True, slots=True)
class Closing:
    """What closed a minute, as far as the log still shows it.

    Attributes:
        by: ``unproven`` where it does not.
        close_offset: offset (exclusive) up to which ticks could enter, in the version closed.
        tick: the tick that closed it or, of ``late_tick``, made it or the bar it follows.
        beat: the heartbeat that closed it.
        sentence: the same for people.
    """

    by: By
    close_offset: int
    sentence: str
    tick: Tick | None = None
    beat: Beat | None = None


def is_legal(facts: Facts, beat: Beat) -> bool:
    """Whether a heartbeat was appended late enough for its own minute: others close nothing."""
    regime = facts.regime_of_beat(beat)
    end_us = minute_end_us(beat.minute_us, facts.schedule_of(regime))
    closes_us = end_us + facts.rules_of(regime).grace_us
    return beat.appended_us < 0 or beat.appended_us >= closes_us


def passes(facts: Facts, tick: Tick) -> bool:
    """Whether a tick was accepted and had passed the end of the minute and the grace."""
    rules = facts.rules_of(facts.regime_at(tick.offset))
    is_past = facts.placed_us(tick) >= rules.closes_at_us(facts.bucket_us)
    return is_past and refusal(facts, tick) is None


def is_used_behind(facts: Facts, beat: Beat, offset: int) -> bool:
    """Whether a heartbeat, and so all that stand behind it, were used above a tick offset."""
    return is_legal(facts, beat) and facts.used_between(beat)[0] > offset


def closing_of(facts: Facts, version: Version) -> Closing | None:
    """What closed the minute of ``version``, the oldest one in the log; None of a tombstone."""
    bar = version.bar
    if bar is None or bar.close_offset is None:
        return None
    close_offset = bar.close_offset
    at_once = _first_of(facts, _at(facts, close_offset))
    if at_once is not None and at_once.by == "watermark":
        return at_once
    late = made_late_by(facts, bar)
    if late is None:
        return at_once if at_once is not None and not bar.revision else _unproven(facts, bar)
    if at_once is None:
        return _by_late_tick(facts, late, close_offset)
    match was_closed_at(facts, close_offset - 1):
        case True:
            return _by_late_tick(facts, late, close_offset)
        case False:
            return at_once
        case None:
            return Closing(
                "unproven",
                close_offset,
                f"either {at_once.sentence}; or the minute had been closed before, and the tick at "
                f"offset {late.offset} was late and is in bars nevertheless",
                late,
                at_once.beat,
            )


def _first_of(facts: Facts, possible: Iterator[Closing]) -> Closing | None:
    """The first that happened; a heartbeat used before the first tick of the series was nothing."""
    first_tick, found = _first_tick_below(facts), list[Closing]()
    for one in possible:
        found.append(one)
        if one.beat is None or one.beat.barrier > first_tick:
            break
    if len(found) < 2:
        return found[0] if found else None
    each = "; or that one came before the first tick of the series, and it was ".join(
        one.sentence for one in found
    )
    return Closing("unproven", found[0].close_offset, f"either {each}", beat=found[0].beat)


def came_behind_first_tick(facts: Facts, beat: Beat) -> bool:
    """Whether a heartbeat was used behind the first tick of its series, as far as is known."""
    first = _first_tick_below(facts)
    return first == _NO_END or beat.barrier > first


def _first_tick_below(facts: Facts) -> int:
    """A tick offset at or above that of the first accepted tick of the series."""
    bars = [facts.final, facts.first, facts.neighbours.real_before]
    offsets = [one.bar.first_offset for one in bars if one is not None and one.bar is not None]
    return min((at for at in offsets if at is not None), default=_NO_END)


def _at(facts: Facts, offset: int) -> Iterator[Closing]:
    """What closed the minute at a tick offset; and what did if that heartbeat was nothing."""
    without: set[int] = set()
    while (found := close_at(facts, offset, without)) is not None:
        closure = found.closure
        match closure.cause:
            case Cause.HEARTBEAT:
                beat = next(beat for beat in facts.beats if beat.offset == closure.offset)
                yield _by_beat(facts, beat, offset)
                without.add(beat.offset)
            case Cause.GRACE if found.furthest is not None:
                yield _by_grace(facts, found, found.furthest)
                return
            case _:
                tick = next(tick for tick in facts.until_close if tick.offset == closure.offset)
                yield _by_tick(facts, tick, offset)
                return


def made_late_by(facts: Facts, bar: Bar) -> Tick | None:
    """The tick before its close offset, if that may have made the bar although it was late.

    Of several late ticks that made it together it is the last.
    """
    tick = facts.before_close
    if tick is None or refusal(facts, tick) is not None:
        return None
    if facts.rules_of(facts.regime_at(tick.offset)).late_policy != "revise":
        return None
    minute_us = floor_minute(facts.placed_us(tick))
    if minute_us == facts.bucket_us:
        # each of them but the first is a revision
        return tick if not bar.synthetic and bar.tick_count == bar.revision + 1 else None
    follows = minute_us < facts.bucket_us and bar.synthetic
    return tick if follows and (bar.revision or bar.close == tick.price) else None


def was_closed_at(facts: Facts, offset: int) -> bool | None:
    """Whether the minute was closed when the tick at ``offset`` came; None: the log leaves it open.

    Not by a heartbeat alone if that may have been used later.
    """
    tick = facts.closing_tick
    if tick is not None and tick.offset < offset:
        return True
    after = None if facts.neighbours.after is None else facts.neighbours.after.bar
    if after is not None and after.close_offset is not None and after.close_offset <= offset:
        return True
    used = [
        facts.used_between(beat)
        for beat in facts.beats
        if is_legal(facts, beat) and beat.barrier <= offset
    ]
    if any(last <= offset for _, last in used):
        return True
    return None if any(first <= offset for first, _ in used) else False


def _by_tick(facts: Facts, tick: Tick, close_offset: int) -> Closing:
    past_us = facts.rules_of(facts.regime_at(tick.offset)).closes_at_us(facts.bucket_us)
    sentence = (
        f"the watermark: the tick at offset {tick.offset} has event time "
        f"{at(tick.time_us)}, at or after {at(past_us)} (end and grace), so ticks up to that one "
        f"could enter: close_offset {close_offset}"
    )
    return Closing("watermark", close_offset, sentence, tick=tick)


def _by_beat(facts: Facts, beat: Beat, close_offset: int) -> Closing:
    of = "" if beat.minute_us == facts.bucket_us else f" for the later minute {at(beat.minute_us)}"
    where = (
        f"at its barrier: close_offset {close_offset}"
        if beat.barrier == close_offset
        else f"when ticks had been applied up to {close_offset}, past its barrier {beat.barrier}: "
        f"close_offset {close_offset}"
    )
    sentence = f"the heartbeat at offset {beat.offset}{of}, sent by the {beat.source}, {where}"
    return Closing("heartbeat", close_offset, sentence, beat=beat)


def _by_grace(facts: Facts, found: MinuteClose, reached: Tick) -> Closing:
    """A worker went on there with a shorter grace, by which the minute was over."""
    before, now = (
        facts.rules_of(facts.regime_of(number)) for number in (found.number - 1, found.number)
    )
    offset = found.closure.offset
    closes_us = now.closes_at_us(facts.bucket_us)
    sentence = (
        f"a shorter grace: a worker went on at offset {offset} with {span(now.grace_us)} instead "
        f"of {span(before.grace_us)}, and the tick at offset {reached.offset} with event time "
        f"{at(reached.time_us)} had passed {at(closes_us)} (end and grace)"
    )
    return Closing("grace", offset, sentence, tick=reached)


def _by_late_tick(facts: Facts, tick: Tick, close_offset: int) -> Closing:
    minute_us = floor_minute(facts.placed_us(tick))
    if minute_us == facts.bucket_us:
        sentence = (
            f"made by the late tick at offset {tick.offset}: the minute had been closed "
            "without a bar"
        )
    else:
        sentence = (
            f"filled after the bar of {at(minute_us)}, which the late tick at offset {tick.offset} "
            "made: the minute had been closed without a bar"
        )
    return Closing("late_tick", close_offset, sentence, tick=tick)


def _unproven(facts: Facts, bar: Bar) -> Closing:
    close_offset = bar.close_offset or 0
    return Closing("unproven", close_offset, _unproven_sentence(facts, bar))


def _unproven_sentence(facts: Facts, bar: Bar) -> str:
    close_offset = bar.close_offset or 0
    if bar.revision:
        return (
            f"the first version is not in the log any more; revision {bar.revision} came with the "
            f"late tick at offset {close_offset - 1}"
        )
    if (before := close_before(facts, close_offset)) is not None:
        return (
            f"the tick at offset {before.offset} passed the end of the minute and the grace, so "
            f"close_offset should be {before.close_offset} and is {close_offset}: "
            f"`barstream verify {facts.broker} {facts.symbol}` says more"
        )
    of_minute = [beat for beat in facts.beats if beat.minute_us == facts.bucket_us]
    if of_minute and of_minute[0].barrier > close_offset:
        return (
            "what closed it is not in the log any more: the heartbeat of this minute that is left "
            f"has barrier {of_minute[0].barrier}, past close_offset {close_offset}; it was "
            "sent again, and compaction keeps the newest"
        )
    past_us = facts.rules_of(facts.regime_at(max(0, close_offset - 1))).closes_at_us(
        facts.bucket_us
    )
    return (
        f"the tick before close_offset {close_offset} does not pass {at(past_us)} (end and grace), "
        "and no heartbeat that can have closed it there is in the log: it was deleted by "
        "retention, or `barstream verify` will say more"
    )
