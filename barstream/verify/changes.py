"""Schedule rows that came after what they are about: bars are not judged by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from barstream.codecs.session import decode_session, split_session_key
from barstream.core.time import DAY_US
from barstream.history.schedule import ScheduleRecord
from barstream.verify.names import Name

#: A row changes what is said of its trading date; sessions reach into the days beside it.
_DAYS_AROUND: Final = 1


class ScheduleChanges:
    """When rows of each series and trading date were appended.

    Args:
        records: of topic ``market_schedule``.
    """

    def __init__(self, records: Iterable[ScheduleRecord]) -> None:
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
        """Whether a row about this time came after what was written at ``appended_us``.

        ``None``: nothing was written; any row about it may be the reason.
        """
        dates = self._appended.get(name)
        if not dates or appended_us is None:
            return False
        day = bucket_us // DAY_US
        around = range(day - _DAYS_AROUND, day + _DAYS_AROUND + 1)
        return any(dates.get(date, 0) > appended_us for date in around)
