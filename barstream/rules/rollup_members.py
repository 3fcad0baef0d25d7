"""Which bucket a final belongs to, and which finals a bucket is made of."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from barstream.market.schedule import Session
from barstream.model.bar import Bar
from barstream.model.finals import Finals
from barstream.model.period import DAY, MINUTE, Period
from barstream.model.time import DAY_US, MINUTE_US, ceil_minute, floor_minute
from barstream.rules.series import SeriesState


class RollUpMembers:
    """The relation of parents and children.

    Args:
        finals: all finals of a partition.
    """

    def __init__(self, finals: Finals) -> None:
        self._finals = finals
        #: The session looked up last, by slot.
        self._sessions: dict[int, Session] = {}

    def bucket(self, series: SeriesState, period: Period, child: Bar) -> int:
        """Start of the bucket of ``period`` that a minute, or a day, belongs to."""
        if period.is_made_of_days:
            return period.floor_date(child.bucket_start_us // DAY_US) * DAY_US
        if not period.is_intraday:
            return period.floor_date(child.trading_date) * DAY_US
        if period.anchor == "utc":
            return period.floor(child.bucket_start_us)
        return period.floor(child.bucket_start_us, self._open_us(series, child))

    def _open_us(self, series: SeriesState, bar: Bar) -> int:
        """Open of the session of a minute; a minute whose session is gone keeps the last grid."""
        minute_us = bar.bucket_start_us
        known = self._sessions.get(series.slot)
        if (
            known is not None
            and floor_minute(known.open_us) <= minute_us < known.close_us
            and (known.trading_date, known.number) == (bar.trading_date, bar.session)
        ):
            return known.open_us
        if series.schedule is not None:
            found = next(series.schedule.sessions_between(minute_us, minute_us + MINUTE_US), None)
            if found is not None:
                self._sessions[series.slot] = found
                return found.open_us
        if known is not None and known.open_us <= minute_us:
            return known.open_us
        return minute_us

    def is_cut(self, series: SeriesState, period: Period, bucket_us: int) -> bool:
        """Whether children of a bucket are gone or were never made: no fold of the rest stands.

        Retention takes minutes away; and where days were added later, they begin where the
        minutes that were kept began.
        """
        name = series.broker, series.symbol
        if period.is_made_of_days:
            kept_us = self._finals.retained_from_us(DAY, *name)
            if kept_us is not None and bucket_us < kept_us:
                return True
            first = self._finals.first(DAY, *name)
            if first is None or bucket_us >= first.bucket_start_us or series.schedule is None:
                return False
            begun = series.schedule.locate(np.array([series.first_tick_us], np.int64))[0]
            if begun < 0:
                return series.first_tick_us < first.bucket_start_us - 2 * DAY_US
            return series.schedule.session(int(begun)).trading_date < first.trading_date
        kept_us = self._finals.retained_from_us(MINUTE, *name)
        if kept_us is None:
            return False
        start_us: int | None = bucket_us
        if not period.is_intraday and series.schedule is not None:
            date = bucket_us // DAY_US
            start_us = series.schedule.start_of_dates(date, date + 1)
        return (bucket_us if start_us is None else floor_minute(start_us)) < kept_us

    def whole_from_us(self, series: SeriesState, periods: Iterable[Period]) -> int | None:
        """Minutes from here on lie in no bucket of ``periods`` that is cut; None: all of them."""
        kept_us = self._finals.retained_from_us(MINUTE, series.broker, series.symbol)
        if kept_us is None:
            return None
        gone_us, schedule = kept_us - MINUTE_US, series.schedule
        session = None
        if schedule is not None:
            session = next(schedule.sessions_between(gone_us, kept_us), None)
        whole_us = kept_us
        for period in periods:
            if period.is_intraday:
                start_us = period.floor(gone_us, gone_us if session is None else session.open_us)
                whole_us = max(whole_us, period.advance(start_us))
            elif not period.is_made_of_days:
                date = gone_us // DAY_US if session is None else session.trading_date
                end_us = None if schedule is None else schedule.end_of_dates(date, date + 1)
                whole_us = max(whole_us, (date + 1) * DAY_US if end_us is None else end_us)
        return ceil_minute(whole_us)

    def of(
        self, series: SeriesState, period: Period, bucket_us: int, child: Bar | None = None
    ) -> list[Bar]:
        """The finals a parent is made of, ascending; ``child`` is one that is known, if any."""
        name = series.broker, series.symbol
        end_us = period.advance(bucket_us)
        if period.is_made_of_days:
            return self._finals.between(DAY, *name, bucket_us, end_us)
        if period.is_intraday:
            bars = self._finals.between(MINUTE, *name, bucket_us, end_us)
            if period.anchor == "session" and bars:
                first = child or bars[0]
                session = first.trading_date, first.session
                bars = [bar for bar in bars if (bar.trading_date, bar.session) == session]
            return bars
        return self._minutes_of_date(series, bucket_us // DAY_US, child)

    def _minutes_of_date(
        self, series: SeriesState, trading_date: int, child: Bar | None
    ) -> list[Bar]:
        """Minutes of a trading date: in its sessions, and beyond them if these were others."""
        name = series.broker, series.symbol
        schedule = series.schedule
        open_us = close_us = None
        if schedule is not None:
            open_us = schedule.start_of_dates(trading_date, trading_date + 1)
            close_us = schedule.end_of_dates(trading_date, trading_date + 1)
        # bars keep the date they were judged by, also where the schedule says another now
        around_us = (trading_date - 1) * DAY_US, (trading_date + 2) * DAY_US
        known_us = (
            () if child is None else (child.bucket_start_us, child.bucket_start_us + MINUTE_US)
        )
        bounds = [*around_us, *known_us, *(us for us in (open_us, close_us) if us is not None)]
        bars = self._finals.between(
            MINUTE, *name, floor_minute(min(bounds)), ceil_minute(max(bounds))
        )
        return [bar for bar in bars if bar.trading_date == trading_date]
