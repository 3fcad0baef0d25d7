"""Why an upper bar is as it is, or is not there: its children, and what it waits for; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from barstream.explain.absence import (
    Absence,
    AbsenceReason,
    first_us,
    why_asleep,
    why_before_first,
    why_deleted,
    why_no_series,
    why_off_session,
    why_unscheduled,
)
from barstream.explain.facts import Beat, Facts, Version
from barstream.explain.sentences import at
from barstream.explain.sleep import Sleep
from barstream.explain.verdict import Explanation, Status
from barstream.market.schedule import SeriesSchedule, minutes_between, session_minutes
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.model.time import DAY_US, MINUTE_US, ceil_minute, floor_minute
from barstream.rules.series import NEVER_US

#: Of the missing children so many are named.
NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class UpperFacts:
    """Facts of an upper bar; ``facts.finals`` and ``facts.live`` are its own versions.

    Attributes:
        child: period of its children: minutes, or days of weeks and months.
        children: the newest version of each final of the bucket, ascending.
        evidence: the first heartbeat appended when the bucket and the grace were over.
    """

    facts: Facts
    child: Period
    children: tuple[Version, ...] = ()
    evidence: Beat | None = None

    @property
    def bars(self) -> list[Bar]:
        """The children."""
        return [version.bar for version in self.children if version.bar is not None]


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """What a bucket is made of.

    Attributes:
        expected: in-session minutes of the bucket after the first price and while awake (weeks and
            months: trading dates).
        missing: starts of those without a final, the first `NAMED` of them.
    """

    expected: int = 0
    real: int = 0
    synthetic: int = 0
    revised: int = 0
    missing_count: int = 0
    missing: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UpperExplanation:
    """Why an upper bar is as it is.

    Attributes:
        of: as of a minute.
        counts: its children.
        due_us: every in-session minute of the bucket lies before; None without any.
        givers: bucket start of the child that gave open, high, low and close.
        told_by_us: the minute of which the explanation says the rest: the one it waits for, or
            the first of those that have no bar.
    """

    of: Explanation
    counts: ChildCounts
    due_us: int | None
    givers: dict[str, int] = field(default_factory=dict)
    told_by_us: int | None = None

    @property
    def waits_for_us(self) -> int | None:
        """The minute it waits for, if any."""
        waits = self.of.reason is AbsenceReason.WAITING_FOR_CHILDREN
        return self.told_by_us if waits else None


def expected_children(upper: UpperFacts) -> list[int]:
    """Starts of the children the bucket should have, ascending, by the schedule of now.

    Before the first price and asleep there are none.
    """
    facts, schedule = upper.facts, upper.facts.scheduled.schedule
    if schedule is None:
        return []
    awake = _Awake(upper)
    return [start for start in children_of_bucket(facts, upper.child, schedule) if awake(start)]


def children_of_bucket(facts: Facts, child: Period, schedule: SeriesSchedule) -> list[int]:
    """Starts of in-session minutes (of weeks and months: trading dates) of the bucket."""
    period, bucket_us = facts.period, facts.bucket_us
    end_us = period.advance(bucket_us)
    if period.is_intraday:
        minutes: list[int] = []
        for session, part in minutes_between(schedule, bucket_us, end_us):
            if period.anchor == "session" and floor_minute(session.open_us) > bucket_us:
                break
            minutes += part
        return minutes
    dates = range(bucket_us // DAY_US, end_us // DAY_US)
    start_us = schedule.start_of_dates(dates.start, dates.stop)
    close_us = schedule.end_of_dates(dates.start, dates.stop)
    if start_us is None or close_us is None:
        return []
    sessions = [
        session
        for session in schedule.sessions_between(floor_minute(start_us), ceil_minute(close_us))
        if session.trading_date in dates
    ]
    if child == MINUTE:
        return [minute for session in sessions for minute in session_minutes(session)]
    return sorted({session.trading_date * DAY_US for session in sessions})


class _Awake:
    """Whether a child is to be expected: after the first price, and not slept through."""

    def __init__(self, upper: UpperFacts) -> None:
        facts = upper.facts
        self._schedule, self._child = facts.scheduled.schedule, upper.child
        self._first_us = NEVER_US if facts.row is None else facts.row.first_tick_us
        if self._first_us != NEVER_US:
            # a switch-over to a replay may have taken in ticks before the first accepted one
            real = (bar.bucket_start_us for bar in upper.bars if not bar.synthetic)
            self._first_us = min(self._first_us, next(real, self._first_us))
        self._sleep = Sleep(facts, upper.bars)

    def __call__(self, start_us: int) -> bool:
        """Of a minute, or of a day by the last minute of its sessions."""
        if self._first_us == NEVER_US:
            return False
        minute_us = start_us
        if self._child != MINUTE and self._schedule is not None:
            date = start_us // DAY_US
            close_us = self._schedule.end_of_dates(date, date + 1)
            minute_us = start_us if close_us is None else ceil_minute(close_us) - MINUTE_US
        return self.in_minute(minute_us)

    def in_minute(self, minute_us: int) -> bool:
        """Of a minute."""
        return minute_us >= floor_minute(self._first_us) and self._sleep.since_us(minute_us) is None


def count_children(upper: UpperFacts, expected: Iterable[int]) -> ChildCounts:
    """Expected, real, synthetic, revised and missing children."""
    bars = upper.bars
    there = {bar.bucket_start_us for bar in bars}
    wanted = list(expected)
    missing = [start for start in wanted if start not in there]
    return ChildCounts(
        len(wanted),
        sum(not bar.synthetic for bar in bars),
        sum(bar.synthetic for bar in bars),
        sum(bar.revision > 0 for bar in bars),
        len(missing),
        tuple(missing[:NAMED]),
    )


def explain_upper(upper: UpperFacts) -> UpperExplanation:
    """Why the upper bar ``upper`` is of is as it is."""
    facts = upper.facts
    expected = expected_children(upper)
    counts = count_children(upper, expected)
    due_us = _due_us(upper)
    givers = _givers(upper.bars)
    final = facts.final
    if final is not None and final.bar is not None:
        return UpperExplanation(_final(upper, final.bar, counts), counts, due_us, givers)
    absence, told_by_us = _why_no_final(upper, counts, due_us)
    status: Status = "open" if upper.bars or _has_open_minute(upper) else "missing"
    word = "open, not final yet" if status == "open" else "no bar"
    of = Explanation(status, f"{word}: {absence.sentence}", absence.reason, absence.what_to_do)
    return UpperExplanation(of, counts, due_us, givers, told_by_us)


def _has_open_minute(upper: UpperFacts) -> bool:
    row, schedule = upper.facts.row, upper.facts.scheduled.schedule
    if row is None or schedule is None:
        return False
    minutes = set(children_of_bucket(upper.facts, MINUTE, schedule))
    return any(bar.bucket_us in minutes for bar in row.open_bars)


def _due_us(upper: UpperFacts) -> int | None:
    schedule = upper.facts.scheduled.schedule
    minutes = [] if schedule is None else children_of_bucket(upper.facts, MINUTE, schedule)
    return minutes[-1] + MINUTE_US if minutes else None


def _final(upper: UpperFacts, bar: Bar, counts: ChildCounts) -> Explanation:
    child = "minute" if upper.child == MINUTE else "day"
    made = f"final, folded from {len(upper.children)} {child}s"
    if bar.synthetic:
        made = f"final, synthetic: none of its {len(upper.children)} {child}s has a tick"
    bars = upper.bars
    since = ""
    if bars:
        last = bars[-1].bucket_start_us
        since = f", the last of them {at(last) if upper.child == MINUTE else at(last)[:10]}"
    notes = []
    if bar.revision:
        notes.append(
            f"revision {bar.revision}: the sum of its children's and the number of children that "
            "became final after it"
        )
    if counts.missing_count:
        notes.append(
            f"{counts.missing_count} {child}s that are in session now have no final: deleted by "
            "retention, or the schedule has changed since"
        )
    return Explanation("final", made + since, notes=tuple(notes))


def _why_no_final(
    upper: UpperFacts, counts: ChildCounts, due_us: int | None
) -> tuple[Absence, int | None]:
    """The reason, and the minute of which the explanation says the rest."""
    facts = upper.facts
    found = why_no_series(facts) or _why_no_minutes(facts, due_us)
    if found is not None:
        return found, None
    row, schedule = facts.row, facts.scheduled.schedule
    if row is None or schedule is None or due_us is None:
        raise AssertionError("a series without state or schedule has been explained above")
    waits_for_us = _first_open_minute(upper, row.closed_until_us, schedule)
    if waits_for_us is None and not counts.expected:
        minute_us = children_of_bucket(facts, MINUTE, schedule)[0]
        asleep = why_asleep(facts, minute_us, Sleep(facts, upper.bars))
        if asleep is not None:
            return asleep, minute_us
    if waits_for_us is not None:
        return Absence(
            AbsenceReason.WAITING_FOR_CHILDREN,
            f"it is final with its last in-session minute {at(due_us - MINUTE_US)}; the series is "
            f"closed until {at(row.closed_until_us)} and waits for {at(waits_for_us)}",
        ), waits_for_us
    deleted = why_deleted(facts)
    if deleted is not None:
        return deleted, None
    end_us = facts.period.advance(facts.bucket_us)
    if (
        facts.period.is_made_of_days
        and not schedule.reaches(end_us // DAY_US)
        and upper.evidence is None
    ):
        return _schedule_ends(facts, end_us), None
    if not upper.bars and upper.child == MINUTE:
        minute_us = next(iter(counts.missing), children_of_bucket(facts, MINUTE, schedule)[0])
        return Absence(
            AbsenceReason.NO_CHILDREN,
            "no minute of it has a bar, and all of them are closed: why the first one has none is "
            "said below",
        ), minute_us
    return Absence(
        AbsenceReason.UNEXPLAINED,
        f"everything up to its last in-session minute {at(due_us - MINUTE_US)} is closed, yet "
        "there is no final: the timeframe was added later and is still to be filled, or its "
        "children were deleted by retention",
        f"barstream verify {facts.broker} {facts.symbol} --timeframe {facts.period}",
    ), None


def _why_no_minutes(facts: Facts, due_us: int | None) -> Absence | None:
    """Why the bucket has no minute that can have a bar; None: it has one."""
    if facts.scheduled.schedule is None:
        return why_unscheduled(facts)
    if due_us is None:
        return why_off_session(facts)
    if facts.row is not None and due_us <= first_us(facts, facts.row):
        return why_before_first(facts, facts.row)
    return None


def _first_open_minute(
    upper: UpperFacts, closed_until_us: int, schedule: SeriesSchedule
) -> int | None:
    awake = _Awake(upper)
    minutes = children_of_bucket(upper.facts, MINUTE, schedule)
    return next((m for m in minutes if m >= closed_until_us and awake.in_minute(m)), None)


def _schedule_ends(facts: Facts, end_us: int) -> Absence:
    over_us = end_us + facts.rules.grace_us + facts.rules.feed_delay_us
    return Absence(
        AbsenceReason.SCHEDULE_ENDS,
        f"its sessions are closed, but the schedule ends inside the bucket, so more may be loaded: "
        f"it is final when the schedule has a row of {at(end_us)[:10]} or later, or with a "
        f"heartbeat sent at {at(over_us)} or later",
        f"barstream schedule load (sessions from {at(end_us)[:10]} on)",
    )


def _givers(bars: Sequence[Bar]) -> dict[str, int]:
    """Which child gave which value: those with ticks decide, synthetic ones if there are none."""
    deciding = [bar for bar in bars if not bar.synthetic] or list(bars)
    if not deciding:
        return {}
    return {
        "open": deciding[0].bucket_start_us,
        "high": max(deciding, key=lambda bar: (bar.high, -bar.bucket_start_us)).bucket_start_us,
        "low": min(deciding, key=lambda bar: (bar.low, bar.bucket_start_us)).bucket_start_us,
        "close": deciding[-1].bucket_start_us,
    }
