"""What made a minute final: a tick past its end and grace, a heartbeat, or a late tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from barstream.core.bars import Bar
from barstream.core.time import MINUTE_US
from barstream.explaining.facts import Beat, Facts, Rules, Tick, Version
from barstream.explaining.words import at, span

By = Literal["watermark", "heartbeat", "late_tick", "grace", "unproven"]


@dataclass(frozen=True, slots=True)
class Closing:
    """What closed a minute, as far as the log still shows it.

    Attributes:
        by: ``unproven`` where it does not.
        close_offset: offset (exclusive) up to which ticks could enter, in the version closed.
        tick: the tick that closed it or, of ``late_tick``, made it.
        beat: the heartbeat that closed it.
        sentence: the same for people.
    """

    by: By
    close_offset: int
    sentence: str
    tick: Tick | None = None
    beat: Beat | None = None


def is_legal(beat: Beat, rules: Rules) -> bool:
    """Whether a heartbeat was appended late enough for its own minute: others close nothing."""
    return beat.appended_us < 0 or beat.appended_us >= rules.closes_at_us(beat.minute_us)


def closing_of(facts: Facts, version: Version) -> Closing | None:
    """What closed the minute of ``version``, the oldest one in the log; None of a tombstone."""
    bar = version.bar
    if bar is None or bar.close_offset is None:
        return None
    close_offset = bar.close_offset
    tick = facts.closing_tick
    if tick is not None and tick.offset == close_offset - 1:
        return _by_tick(facts, tick, close_offset)
    late = next((tick for tick in facts.ticks if tick.offset == close_offset - 1), None)
    if bar.revision == 0 and late is not None and facts.rules.late_policy == "revise":
        sentence = (
            f"made by the late tick at offset {late.offset}: the minute had been closed "
            "without a bar"
        )
        return Closing("late_tick", close_offset, sentence, tick=late)
    beat = next(
        (
            beat
            for beat in facts.beats
            if beat.barrier <= close_offset and is_legal(beat, facts.rules)
        ),
        None,
    )
    if beat is not None and bar.revision == 0:
        return _by_beat(facts, beat, close_offset)
    if facts.shortened_us is not None:
        sentence = (
            f"a shorter grace: a worker went on at offset {close_offset} with "
            f"{span(facts.shortened_us)} instead of {span(facts.rules.grace_us)}, and the ticks "
            "before had passed its minute by that"
        )
        return Closing("grace", close_offset, sentence)
    return Closing("unproven", close_offset, _unproven(facts, bar))


def _by_tick(facts: Facts, tick: Tick, close_offset: int) -> Closing:
    past_us = facts.rules.closes_at_us(facts.bucket_us)
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


def _unproven(facts: Facts, bar: Bar) -> str:
    if bar.revision:
        return (
            f"the first version is not in the log any more; revision {bar.revision} came with the "
            f"late tick at offset {(bar.close_offset or 0) - 1}"
        )
    of_minute = [beat for beat in facts.beats if beat.minute_us == facts.bucket_us]
    if of_minute:
        return (
            "what closed it is not in the log any more: the heartbeat of this minute that is left "
            f"has barrier {of_minute[0].barrier}, past close_offset {bar.close_offset}; it was "
            "sent again, and compaction keeps the newest"
        )
    return (
        f"no tick before close_offset {bar.close_offset} passes "
        f"{at(facts.bucket_us + MINUTE_US + facts.rules.grace_us)} and no heartbeat for it is in "
        "the log: it was deleted by retention, or `barstream verify` will say more"
    )
