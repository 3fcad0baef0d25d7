"""Schedule rows that came after what they are about: bars are not judged by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from barstream.codecs.session import decode_session, split_session_key
from barstream.core.time import DAY_US, MINUTE_US, SECOND_US
from barstream.history.schedule import ScheduleRecord
from barstream.verify.names import Name

#: A row changes what is said of its trading date; sessions reach into the days beside it.
_DAYS_AROUND: Final = 1
#: Within this a worker has read a row that was appended.
_READ_WITHIN_US: Final = 60 * SECOND_US


class ScheduleChanges:
    """When rows of each series and trading date were appended.

    A tick is judged when it is applied, its bar written only when it is closed: for so long, and
    for as long as a worker may take to read a row, a row may also come *before* the bar and yet
    after what its ticks were judged by.

    Args:
        records: of topic ``market_schedule``.
        grace_us: how long after its end a minute is closed.
    """

    def __init__(self, records: Iterable[ScheduleRecord], grace_us: int) -> None:
        self._before_us = MINUTE_US + grace_us + _READ_WITHIN_US
        self._appended: dict[Name, dict[int, int]] = {}
        for record in records:
            try:
                if record.value is None:
                    broker, symbol, date, _ = split_session_key(record.key)
                else:
                    row = decode_session(record.value)
                    broker, symbol, date = row.broker, row.symbol, row.trading_date
            except ValueError:
                continue
            dates = self._appended.setdefault((broker, symbol), {})
            dates[date] = max(dates.get(date, 0), record.appended_us)

    def newest_us(self, name: Name) -> int:
        """When the newest row of a series was appended; 0: it has none."""
        return max(self._appended.get(name, {}).values(), default=0)

    def explain(self, name: Name, bucket_us: int, appended_us: int | None) -> bool:
        """Whether what was written at ``appended_us`` may have been judged by other rows.

        Never where nothing was written (None).
        """
        dates = self._appended.get(name)
        if not dates or appended_us is None:
            return False
        day = bucket_us // DAY_US
        around = range(day - _DAYS_AROUND, day + _DAYS_AROUND + 1)
        return any(dates.get(date, 0) > appended_us - self._before_us for date in around)
