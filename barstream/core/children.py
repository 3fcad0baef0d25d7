"""Which bucket a final belongs to, and which finals a bucket is made of."""

from __future__ import annotations

from typing import Final

from barstream.core.bars import Bar
from barstream.core.finals import Finals
from barstream.core.period import DAY, MINUTE, Period
from barstream.core.schedule import Session
from barstream.core.state import SeriesState
from barstream.core.time import DAY_US, MINUTE_US, ceil_minute, floor_minute

_STEP_US: Final = 60 * MINUTE_US


class Children:
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
        if open_us is None or close_us is None:
            middle_us = trading_date * DAY_US + DAY_US // 2
            open_us, close_us = middle_us - DAY_US // 2, middle_us + DAY_US // 2
        if child is not None:
            open_us = min(open_us, child.bucket_start_us)
            close_us = max(close_us, child.bucket_start_us + MINUTE_US)
        open_us, close_us = floor_minute(open_us), ceil_minute(close_us)
        bars = self._finals.between(MINUTE, *name, open_us, close_us)
        bars = [bar for bar in bars if bar.trading_date == trading_date]
        # bars keep the date they were judged by, also where the schedule says another now
        while True:
            before = self._finals.between(MINUTE, *name, open_us - _STEP_US, open_us)
            more = [bar for bar in before if bar.trading_date == trading_date]
            if not more:
                break
            bars, open_us = more + bars, open_us - _STEP_US
        while True:
            after = self._finals.between(MINUTE, *name, close_us, close_us + _STEP_US)
            more = [bar for bar in after if bar.trading_date == trading_date]
            if not more:
                return bars
            bars, close_us = bars + more, close_us + _STEP_US
