"""Repeated heartbeats: evidence that a week or month is over where the schedule ends inside it.

A bar made of days is final when its last in-session minute is closed and the schedule goes on
after its bucket: no session can be added to it any more.  Where the schedule ends inside, the
nominal end must have passed instead, and it must have passed *in the log*, so that every replay
sees it.  For that the last minute of the series is sent once more, after the end::

    bucket     Monday                              Friday                Monday
               |== sessions ==|== sessions ==|......no rows yet..........| end
    heartbeat                              ^ k                             ^ k again
                                                       end + grace + feed_delay

The minute was emitted before, so the repeat closes nothing: only its append time counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from barstream.market.schedule import SeriesSchedule, Session, session_minutes
from barstream.market.universe import SeriesSeen
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US, ceil_minute, floor_minute
from barstream.rules.heartbeat_due import HeartbeatRules

#: Before every trading date.
_EVER: Final = -(1 << 40)


class Repeat(NamedTuple):
    """A minute to be sent once more, because a bucket ended after the schedule did."""

    series: SeriesSeen
    minute_us: int
    end_us: int
    """00:00 UTC of the bucket that follows, microseconds."""


class Repeats:
    """Which repeats are due at ``now_us``; those of one series after the other are asked for.

    Args:
        now_us: the instant that is planned for.
        periods: of the upper bars; only those made of days matter.
        rules: grace and feed delays.
    """

    def __init__(self, now_us: int, periods: Iterable[Period], rules: HeartbeatRules) -> None:
        self._now_us = now_us
        self._periods = tuple(period for period in periods if period.is_made_of_days)
        self._rules = rules
        self._passed: dict[str, tuple[int, int]] = {}

    def due(
        self, row: SeriesSeen, schedule: SeriesSchedule, first_us: int, heard_us: int
    ) -> Repeat | None:
        """The repeat that is due of a series, if any; one is enough for all its buckets.

        Args:
            row: the series.
            schedule: its sessions.
            first_us: every minute before it was emitted or is closed.
            heard_us: append time of its newest heartbeat, as far as known.
        """
        if not self._periods:
            return None
        grace_us = self._rules.grace_us
        passed_us, newest_date = self._passed_for(row.broker)
        # of nearly all series the schedule goes on, and that is all they cost
        if schedule.reaches(newest_date) or heard_us >= newest_date * DAY_US + grace_us:
            return None
        last = _last_awake(row, schedule, self._rules.inactive_after)
        if last is None or first_us <= session_minutes(last)[-1]:
            return None  # still to be emitted: that heartbeat will be evidence itself
        ends = (
            period.advance(period.floor_date(date) * DAY_US)
            for period in self._periods
            # rows may have been withdrawn from behind the newest tick
            for date in (last.trading_date, row.last_trading_date)
        )
        end_us = max(
            (us for us in ends if us <= passed_us and not schedule.reaches(us // DAY_US)),
            default=None,
        )
        if end_us is None or heard_us >= end_us + grace_us:
            return None
        return Repeat(row, session_minutes(last)[-1], end_us)

    def _passed_for(self, broker: str) -> tuple[int, int]:
        """Until when buckets are over for a broker, and the newest date at which one ended."""
        passed = self._passed.get(broker)
        if passed is None:
            passed_us = self._now_us - self._rules.lateness_us(broker)
            starts = (period.floor_date(passed_us // DAY_US) for period in self._periods)
            passed = self._passed[broker] = passed_us, max(starts)
        return passed


def _last_awake(row: SeriesSeen, schedule: SeriesSchedule, inactive_after: int) -> Session | None:
    """The last session of a schedule that has an end, before the series falls asleep."""
    end_date = -_EVER
    asleep_us = schedule.asleep_from(row.last_trading_date, inactive_after)
    if asleep_us is not None:
        end_date = _session_at(schedule, floor_minute(asleep_us)).trading_date
    close_us = schedule.end_of_dates(_EVER, end_date)
    return None if close_us is None else _session_at(schedule, ceil_minute(close_us) - MINUTE_US)


def _session_at(schedule: SeriesSchedule, minute_us: int) -> Session:
    """The session of an in-session minute: there is one, because no two share a minute."""
    return next(schedule.sessions_between(minute_us, minute_us + MINUTE_US))
