"""Why a minute has no final bar: one reason, the first that holds in the order they are asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from barstream.explain.close_cause import came_behind_first_tick, is_legal
from barstream.explain.facts import Facts, SeriesFact, Stand
from barstream.explain.sentences import at, counted, session_words, span
from barstream.explain.sessions import session_at
from barstream.explain.sleep import Sleep
from barstream.log.rules import Regime
from barstream.market.schedule import ScheduleIndex
from barstream.market.universe import did_you_mean
from barstream.model.period import MINUTE
from barstream.model.time import (
    DAY_US,
    MINUTE_US,
    floor_minute,
    iso_date_from_days,
    iso_from_us,
)
from barstream.rules.series import NEVER_US


class AbsenceReason(StrEnum):
    """Why there is no final."""

    NEVER_SEEN = "never_seen"
    DROPPED = "dropped"
    UNSCHEDULED = "unscheduled"
    NO_PRICE = "no_price"
    OFF_SESSION = "off_session"
    BEFORE_FIRST_PRICE = "before_first_price"
    ASLEEP = "asleep"
    NOT_OVER = "not_over"
    NOT_APPLIED = "not_applied"
    WAITING_FOR_BARRIER = "waiting_for_barrier"
    HEARTBEAT_NOT_SENT = "heartbeat_not_sent"
    HEARTBEATS_OFF = "heartbeats_off"
    HISTORICAL = "historical"
    DELETED = "deleted"
    SCHEDULE_NEWER = "schedule_newer"
    WAITING_FOR_CHILDREN = "waiting_for_children"
    NO_CHILDREN = "no_children"
    SCHEDULE_ENDS = "schedule_ends"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Absence:
    """The reason, the same in a sentence, and the command or deed that mends it, if any."""

    reason: AbsenceReason
    sentence: str
    what_to_do: str | None = None


def why_no_final(facts: Facts) -> Absence:
    """Why the minute ``facts`` are of has no final."""
    found = why_no_series(facts) or why_deleted(facts)
    if found is not None:
        return found
    row = facts.row
    if row is None:
        raise AssertionError("a series without state has been explained above")
    if facts.bucket_us < row.closed_until_us:
        return _why_passed_over(facts, row)
    if facts.open_bar is not None:  # begun in session, whatever the schedule says now
        return _why_open(facts, row)
    if facts.scheduled.schedule is None:
        return why_unscheduled(facts)
    if facts.scheduled.session is None:
        return why_off_session(facts)
    if facts.bucket_us < first_us(facts, row):
        return why_before_first(facts, row)
    return why_asleep(facts, facts.bucket_us, Sleep(facts)) or _why_open(facts, row)


def first_us(facts: Facts, row: SeriesFact) -> int:
    """The first minute that has a price: of the first tick, or of one that came late."""
    earliest = facts.neighbours.real_before
    first = floor_minute(row.first_tick_us)
    return (
        first
        if earliest is None or earliest.bar is None
        else min(first, earliest.bar.bucket_start_us)
    )


def why_no_series(facts: Facts) -> Absence | None:
    """Why the series has no bars at all; None: it can have some."""
    stand, row = facts.stand, facts.row
    name = f"{facts.broker} {facts.symbol}"
    if row is None or row.first_tick_us == NEVER_US:
        unapplied = _unapplied(facts)
        if unapplied is not None:
            return unapplied
        if facts.seen is not None and stand is not None and stand.position is None:
            return Absence(
                AbsenceReason.NOT_APPLIED,
                f"no worker of this app_id has applied anything of partition {stand.partition} yet",
                "start `barstream worker` with these settings",
            )
        if facts.dropped_at_us is not None and not facts.refused_before:
            return Absence(
                AbsenceReason.DROPPED,
                f"{name} was dropped at {iso_from_us(facts.dropped_at_us)} (`barstream series "
                "drop`): its bars are withdrawn, its ticks of before make none, and none has come "
                "since",
                "load the right ticks, or start its feed",
            )
        if facts.scheduled.schedule is None and facts.refused_before.get("unscheduled"):
            return why_unscheduled(facts)
        if facts.refused_before:
            counted = ", ".join(f"{count} {why}" for why, count in facts.refused_before.items())
            return Absence(
                AbsenceReason.NO_PRICE,
                f"there is no price: no tick of {name} was ever accepted, these were rejected: "
                f"{counted}",
            )
        return _never_seen(facts)
    return None


def _never_seen(facts: Facts) -> Absence:
    name = f"{facts.broker} {facts.symbol}"
    scheduled = facts.scheduled
    seen = f"no tick of {name} was ever seen in the tick topic"
    if scheduled.schedule is None:
        seen += ", and it has no schedule either"
    elif scheduled.session is None or scheduled.row_appended_us is not None:
        # one that is off session leaves no trace but a number
        seen += " in one of its sessions (outside of them ticks are only counted, in GET /status)"
    if scheduled.session is None and scheduled.schedule is not None:
        seen += f"; {_sessions_around(facts)}"
    return Absence(
        AbsenceReason.NEVER_SEEN,
        f"{seen}{did_you_mean(facts.similar)}",
        None
        if facts.similar
        else "look at the spelling, and at what the feed sends to the tick topic",
    )


def why_unscheduled(facts: Facts) -> Absence:
    """The series has no rows in the schedule."""
    scheduled = facts.scheduled
    refused = (
        f"; the rows there are do not go together: {'; '.join(scheduled.refused)}"
        if scheduled.refused
        else ""
    )
    return Absence(
        AbsenceReason.UNSCHEDULED,
        f"{facts.broker} {facts.symbol} has no schedule: its ticks are rejected as unscheduled, "
        f"and no minute is in session{refused}",
        f"barstream schedule load --calendar FX --broker {facts.broker} --symbol {facts.symbol} "
        "(or another calendar, or a file)",
    )


def why_off_session(facts: Facts) -> Absence:
    """The minute lies in no session: between two of them, or where the schedule does not reach."""
    before, after = facts.scheduled.before, facts.scheduled.after
    load = (
        "barstream schedule load --calendar NAME (or FILE) with sessions of this date, before its "
        "ticks come: a minute that was passed over stays without a bar"
    )
    return Absence(
        AbsenceReason.OFF_SESSION,
        f"off session: no session of {facts.broker} {facts.symbol} has an instant of this "
        f"{'minute' if facts.period == MINUTE else 'bucket'}; {_sessions_around(facts)}",
        None if before and after else load,
    )


def _sessions_around(facts: Facts) -> str:
    before, after = facts.scheduled.before, facts.scheduled.after
    last = f"the session before: {session_words(before)}" if before else "no session before it"
    following = f"the session after: {session_words(after)}" if after else "no session after it"
    return f"{last}; {following}"


def why_before_first(facts: Facts, row: SeriesFact) -> Absence:
    """The series has no price before its first tick, so there is nothing to fill with."""
    rejected = [one for one in facts.rejected if one.tick.partition == facts.home]
    earlier = f": {counted(len(rejected))} of it came, and none was accepted" if rejected else ""
    return _with_elsewhere(
        facts,
        Absence(
            AbsenceReason.BEFORE_FIRST_PRICE,
            f"before the first price: the first accepted tick of the series has event time "
            f"{at(row.first_tick_us)}, and nothing is filled before it{earlier}",
        ),
    )


def _with_elsewhere(facts: Facts, found: Absence) -> Absence:
    """First of all that ticks came, and went to a partition where they count for nothing."""
    if not facts.elsewhere:
        return found
    others = sorted({tick.partition for tick in facts.elsewhere})
    return Absence(
        found.reason,
        f"{counted(len(facts.elsewhere))} came in partition {', '.join(map(str, others))} and made "
        f"no bar, because the series is at home in partition {facts.home}; there it was "
        f"{found.sentence}",
        "send all ticks of a series to one partition",
    )


def why_asleep(facts: Facts, minute_us: int, sleep: Sleep) -> Absence | None:
    """The series slept through a minute; None: it was awake, or nothing shows it."""
    since_us, date = sleep.since_us(minute_us), sleep.last_date(minute_us)
    if since_us is None or date is None:
        return None
    tick, woken = facts.woken_by, ""
    if tick is not None:
        woken = f"; woken by the tick at offset {tick.offset} with event time {at(tick.time_us)}"
    elif facts.period == MINUTE:
        woken = "; no tick has woken it yet"
    return _with_elsewhere(
        facts,
        Absence(
            AbsenceReason.ASLEEP,
            f"asleep since {at(since_us)}: {sleep.inactive_after} trading dates had passed without "
            f"a tick since {iso_date_from_days(date)}, and nothing is filled from there{woken}",
        ),
    )


def why_deleted(facts: Facts) -> Absence | None:
    """There was a bar, or may have been, and retention took it; None: nothing says so."""
    newest = facts.finals[-1] if facts.finals else None
    if newest is not None and newest.bar is None:
        return Absence(
            AbsenceReason.DELETED,
            f"deleted: a tombstone of its key was appended at {at(newest.appended_us)} "
            f"(offset {newest.offset})",
        )
    earliest_us, row = facts.neighbours.earliest_us, facts.row
    if not facts.finals_begin or row is None:
        return None
    if facts.period.advance(facts.bucket_us) <= floor_minute(row.first_tick_us):
        return None
    if facts.scheduled.session is None and facts.period == MINUTE:
        return None
    if facts.bucket_us >= row.closed_until_us or facts.period.advance(facts.bucket_us) > (
        row.closed_until_us if earliest_us is None else earliest_us
    ):
        return None
    since_us = facts.now_us - round(facts.kept_days * DAY_US)
    return Absence(
        AbsenceReason.DELETED,
        f"deleted by retention: finals are kept {facts.kept_days:g} days (since {at(since_us)}), "
        f"their topic begins at offset {facts.finals_begin}"
        + ("" if earliest_us is None else f", of this series with {at(earliest_us)}"),
        "`barstream replay` makes it again if the ticks are still there",
    )


def _unapplied(facts: Facts) -> Absence | None:
    """Ticks of a series without state stand in the log and have not been applied."""
    stand, first = facts.stand, facts.unapplied
    if stand is None or first is None:
        return None
    return Absence(
        AbsenceReason.NOT_APPLIED,
        f"its first tick stands at offset {first.offset} of partition {first.partition}, which "
        f"{_applied(stand)}",
        "start a worker, or wait for it",
    )


def _applied(stand: Stand) -> str:
    if stand.position is None:
        return "no worker has applied yet"
    return f"is applied up to {stand.position} of {stand.end} (lag {stand.lag})"


def _why_open(facts: Facts, row: SeriesFact) -> Absence:
    rules, stand, minute_us = facts.rules, facts.stand, facts.bucket_us
    if stand is None or stand.position is None:
        return Absence(AbsenceReason.NOT_APPLIED, "no worker has applied the partition yet")
    tick = facts.closing_tick
    if tick is not None and tick.offset >= stand.position:
        return Absence(
            AbsenceReason.NOT_APPLIED,
            f"the partition is not applied that far: the tick at offset {tick.offset} (event time "
            f"{at(tick.time_us)}) will close it, and partition {stand.partition} "
            f"{_applied(stand)}",
            "start a worker, or wait for it; `/health/ready` and `/status` show how it comes on",
        )
    waiting = next((beat for beat in facts.beats if is_legal(facts, beat)), None)
    if waiting is not None and waiting.barrier > stand.position:
        return Absence(
            AbsenceReason.WAITING_FOR_BARRIER,
            f"the heartbeat that closes it was sent at {at(waiting.sent_at_us)} (offset "
            f"{waiting.offset}) and waits for its barrier {waiting.barrier}: partition "
            f"{stand.partition} {_applied(stand)}",
            "start a worker, or wait for it",
        )
    if waiting is not None:
        return Absence(
            AbsenceReason.NOT_APPLIED,
            f"the heartbeat that closes it stands at offset {waiting.offset}, heartbeats are used "
            f"in order and up to {stand.heartbeat_position} of {stand.heartbeat_end}",
            "start a worker, or wait for it",
        )
    due_us = facts.due_us
    if facts.now_us < facts.end_us:
        return Absence(
            AbsenceReason.NOT_OVER,
            f"the minute is not over yet: it is due at {_due(facts, due_us)}",
        )
    if not row.live:
        return Absence(
            AbsenceReason.HISTORICAL,
            "the series is historical: none of its last 16 accepted ticks was appended within "
            f"{span(rules.grace_us + rules.feed_delay_us)} of its event time, so the clock does "
            "not close it; it closes with a tick of "
            f"{at(rules.closes_at_us(minute_us))} or later, or with the heartbeat `barstream ticks "
            "load` sends at its end",
        )
    if facts.now_us < due_us:
        return Absence(
            AbsenceReason.NOT_OVER,
            f"the minute is over, and waits for ticks out of order until {_due(facts, due_us)}",
        )
    if not rules.heartbeats:
        return Absence(
            AbsenceReason.HEARTBEATS_OFF,
            "heartbeats are off (heartbeats.enabled): it closes with a tick of "
            f"{at(rules.closes_at_us(minute_us))} or later",
        )
    early = [beat for beat in facts.beats if beat.minute_us == minute_us]
    also = (
        f"; the one at offset {early[0].offset} was appended at {at(early[0].appended_us)}, before "
        "the minute could be over, and closes nothing: the sender's clock was ahead"
        if early
        else ""
    )
    return Absence(
        AbsenceReason.HEARTBEAT_NOT_SENT,
        f"it was due {span(facts.now_us - due_us)} ago, at {at(due_us)}, and no heartbeat for it "
        f"was sent{also}",
        "look whether a worker leads (`/status`) and what its log says of heartbeats",
    )


def _due(facts: Facts, due_us: int) -> str:
    rules = facts.rules
    is_tolerant = facts.end_us > facts.bucket_us + MINUTE_US
    parts = ["end of the close tolerance" if is_tolerant else "end"]
    parts.append(f"grace {span(rules.grace_us)}")
    if rules.feed_delay_us:
        parts.append(f"feed delay {span(rules.feed_delay_us)}")
    return f"{at(due_us)} ({', '.join(parts)}), in {span(max(0, due_us - facts.now_us))}"


def _why_passed_over(facts: Facts, row: SeriesFact) -> Absence:
    """Why a closed minute has no bar, by the rules that were in force when it was closed."""
    possible = (_why_passed_in(facts, row, regime) for regime in _passed_in(facts, row))
    return next((one for one in possible if one is not None), None) or _unexplained(facts, row)


def _why_passed_in(
    facts: Facts, row: SeriesFact, regime: Regime[ScheduleIndex] | None
) -> Absence | None:
    """Why it got none if it was closed by these rules; None: by these it should have one."""
    schedule, minute_us = facts.schedule_of(regime), facts.bucket_us
    then = None if schedule is None else session_at(schedule, minute_us)
    if then is None and facts.scheduled.session is None:
        return (
            why_unscheduled(facts) if facts.scheduled.schedule is None else why_off_session(facts)
        )
    if minute_us < first_us(facts, row):
        return why_before_first(facts, row)
    if then is None:
        return _schedule_newer(facts)
    asleep = why_asleep(facts, minute_us, Sleep(facts, regime=regime))
    if asleep is not None:
        return asleep
    written_us, passed_us = facts.scheduled.row_appended_us, passed_by_us(facts)
    if regime is not None and not facts.may_have_lost(facts.bucket_us, regime.begin):
        return None
    if written_us is not None and passed_us is not None and written_us > passed_us:
        return _schedule_newer(facts)
    return None


def _passed_in(facts: Facts, row: SeriesFact) -> list[Regime[ScheduleIndex] | None]:
    """By what the partition was judged when the minute was closed; None: that is not known.

    Of several the first by which the minute has no bar: a heartbeat may have been used before the
    first tick of the series, and was nothing then.
    """
    regimes, tick, stand = facts.regimes, facts.closing_tick, facts.stand
    if regimes is None:
        return [None]
    late = facts.neighbours.real_before
    if facts.bucket_us < floor_minute(row.first_tick_us) and late is not None and late.bar:
        # closed without a price, and again when a late tick made a bar before it
        return [facts.regime_at(late.bar.first_offset or 0)]
    # at one offset it was first a grace that closed it, then a heartbeat, then the tick itself
    found: list[tuple[int, int, int, bool]] = []
    if facts.graced is not None:
        found.append((regimes.all[facts.graced].begin, facts.graced, 0, True))
    used = 0 if stand is None or stand.heartbeat_position is None else stand.heartbeat_position
    found += [
        (
            facts.used_between(beat)[0],
            facts.number_of(beat),
            1,
            came_behind_first_tick(facts, beat),
        )
        for beat in facts.beats
        if beat.offset < used and is_legal(facts, beat)
    ]
    if tick is not None:
        found.append((tick.offset, regimes.number_at(tick.offset), 2, True))
    position = None if stand is None else stand.position
    if position is not None:
        found.append((position, regimes.number_at(position), 3, True))
    found.sort()
    first = next((at for at, (*_, is_sure) in enumerate(found, 1) if is_sure), 0)
    return [facts.regime_of(number) for _, number, *_ in found[:first]] or [None]


def _schedule_newer(facts: Facts) -> Absence:
    written_us = facts.scheduled.row_appended_us
    written = "" if written_us is None else f", written at {at(written_us)},"
    return Absence(
        AbsenceReason.SCHEDULE_NEWER,
        f"its session row{written} was not in force yet when the series was closed past this "
        "minute: a schedule never changes what is closed",
        "`barstream replay` with the schedule of now shows the bar it would be",
    )


def _unexplained(facts: Facts, row: SeriesFact) -> Absence:
    return Absence(
        AbsenceReason.UNEXPLAINED,
        f"the series is closed until {at(row.closed_until_us)} and this minute was in session, yet "
        "there is no final: nothing in the log explains it",
        f"barstream verify {facts.broker} {facts.symbol}",
    )


def passed_by_us(facts: Facts) -> int | None:
    """The earliest append time of anything that shows the series closed past the minute."""
    times = [beat.appended_us for beat in facts.beats if is_legal(facts, beat)]
    if facts.closing_tick is not None:
        times.append(facts.closing_tick.appended_us)
    if facts.neighbours.after is not None:
        times.append(facts.neighbours.after.appended_us)
    return min((us for us in times if us >= 0), default=None)
