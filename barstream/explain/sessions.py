"""The schedule of one series around a bucket, and when its rows were written."""

from __future__ import annotations

from collections.abc import Iterable

from barstream.explain.facts import Scheduled
from barstream.log.schedule import ScheduleRecord
from barstream.market.schedule import ScheduleIndex, SeriesSchedule, Session
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US
from barstream.rules.series import FOREVER_US

_LONG_US = 400 * DAY_US


def scheduled(
    index: ScheduleIndex,
    records: Iterable[ScheduleRecord],
    broker: str,
    symbol: str,
    period: Period,
    bucket_us: int,
) -> Scheduled:
    """What the schedule says of a bucket.

    Args:
        index: of ``records``; of a pipeline without schedule the one that is always open.
        records: of the schedule topic, in the order they were appended.
        broker: normalised.
        symbol: normalised.
        period: of the bucket.
        bucket_us: its start.
    """
    schedule = index.for_series(broker, symbol)
    refused = tuple(str(conflict) for conflict in index.problems.get((broker, symbol), ()))
    if schedule is None:
        return Scheduled(None, refused=refused)
    session = session_of(schedule, period, bucket_us)
    if session is not None:
        written_us = written_at(records, broker, symbol, session)
        return Scheduled(schedule, session, row_appended_us=written_us, refused=refused)
    return Scheduled(
        schedule,
        before=_last_before(schedule, bucket_us),
        after=next(schedule.sessions_between(period.advance(bucket_us), FOREVER_US), None),
        refused=refused,
    )


def session_of(schedule: SeriesSchedule, period: Period, bucket_us: int) -> Session | None:
    """The first session with a minute in the bucket."""
    end_us = period.advance(bucket_us)
    if period.is_intraday:
        return next(schedule.sessions_between(bucket_us, end_us), None)
    open_us = schedule.start_of_dates(bucket_us // DAY_US, end_us // DAY_US)
    if open_us is None:
        return None
    return session_at(schedule, open_us - open_us % MINUTE_US)


def session_at(schedule: SeriesSchedule, minute_us: int) -> Session | None:
    """The session with an instant of a minute."""
    return next(schedule.sessions_between(minute_us, minute_us + MINUTE_US), None)


def bucket_of(schedule: SeriesSchedule | None, period: Period, time_us: int) -> int:
    """Start of the bucket that holds ``time_us``; anchored to sessions, that of its session."""
    if period.anchor != "session":
        return period.floor(time_us)
    minute_us = time_us - time_us % MINUTE_US
    found = None
    if schedule is not None:
        found = next(schedule.sessions_between(minute_us, minute_us + MINUTE_US), None)
        found = found or _last_before(schedule, minute_us)
    return period.floor(minute_us, minute_us if found is None else found.open_us)


def written_at(
    records: Iterable[ScheduleRecord], broker: str, symbol: str, session: Session
) -> int | None:
    """When the row of ``session`` was written as it is: the first of records that say the same."""
    since_us: int | None = None
    for record in records:
        try:
            named, row = record.read()
        except ValueError:
            continue  # workers refuse it as well
        if named != (broker, symbol, session.trading_date, session.number):
            continue
        if row is None or (
            (row.open_us, row.close_us, row.close_tolerance_us)
            != (session.open_us, session.close_us, session.close_tolerance_us)
        ):
            since_us = None
        elif since_us is None:
            since_us = record.appended_us
    return since_us


def _last_before(schedule: SeriesSchedule, time_us: int) -> Session | None:
    for start_us in (max(0, time_us - _LONG_US), 0):
        found = None
        for found in schedule.sessions_between(start_us, time_us):  # noqa: B007 - the last one
            pass
        if found is not None:
            return found
    return None
