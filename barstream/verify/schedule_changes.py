"""Schedule rows that came after what they are about: bars are not judged by them.

Which rows were in force stands in the log.  What is here is for what the log does not say: ticks
that were judged before workers wrote it, and rows that compaction has taken since.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from barstream.log.rules import Regimes
from barstream.log.schedule import ScheduleRecord
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from barstream.verify.findings import Kind
from barstream.verify.hours import HoursIndex
from barstream.verify.series_number import Name

#: A row changes what is said of its trading date; sessions reach into the days beside it.
_DAYS_AROUND: Final = 1
#: Within this a worker has read a row that was appended, and one load has written its rows.
_READ_WITHIN_US: Final = 5 * SECOND_US
_NEVER_US: Final = -(1 << 60)


class ScheduleChanges:
    """When rows of each series and trading date were appended.

    A tick is judged when it is applied, its bar written only when it is closed, and a worker takes
    a moment to read a row: one that *changes* what was known of its date may come before the bar
    and yet after its ticks.  The first rows of a date change nothing: before them was no bar.

    Args:
        records: of topic ``market_schedule``.
        grace_us: how long after its end a minute is closed.
        regimes: what the log says of the rules.
    """

    def __init__(
        self, records: Iterable[ScheduleRecord], grace_us: int, regimes: Regimes[HoursIndex]
    ) -> None:
        self._regimes = regimes
        self._open_us = MINUTE_US + grace_us
        self._appended: dict[Name, dict[int, int]] = {}
        self._changed: dict[Name, dict[int, int]] = {}
        self._withdrawn: set[Name] = set()
        for record in records:
            try:
                (broker, symbol, date, _), _ = record.read()
            except ValueError:
                continue
            self._note((broker, symbol), date, record)

    def _note(self, name: Name, date: int, record: ScheduleRecord) -> None:
        dates, now_us = self._appended.setdefault(name, {}), record.appended_us
        known_us = min((dates[day] for day in _around(date) if day in dates), default=None)
        if record.value is None:
            self._withdrawn.add(name)
        if record.value is None or (known_us is not None and known_us < now_us - _READ_WITHIN_US):
            self._changed.setdefault(name, {})[date] = now_us
        dates[date] = now_us

    def has_withdrawn(self, name: Name) -> bool:
        """Whether a session of the series was withdrawn, as far as the topic still shows."""
        return name in self._withdrawn

    def explain(
        self, name: Name, bucket_us: int, appended_us: int | None, offset: int | None
    ) -> bool:
        """Whether what was written may have been judged by other rows than is known.

        Never where nothing was written.

        Args:
            name: the series.
            bucket_us: of what was judged.
            appended_us: when it was written; None: it was not.
            offset: of a tick that was judged with it; None: of none, and the times alone tell.
        """
        if offset is not None and offset >= self._regimes.told_from:
            return self._regimes.may_have_lost(name, bucket_us, offset)
        if appended_us is None:
            return False
        read_us = appended_us - _READ_WITHIN_US
        appended, changed = self._appended.get(name, {}), self._changed.get(name, {})
        return any(
            appended.get(date, _NEVER_US) > read_us
            or changed.get(date, _NEVER_US) > read_us - self._open_us
            for date in _around(bucket_us // DAY_US)
        )

    def kind_of(
        self, name: Name, bucket_us: int, appended_us: int | None, offset: int | None
    ) -> Kind:
        """What it is that is wrong with what was written at ``appended_us``, see `explain`."""
        explained = self.explain(name, bucket_us, appended_us, offset)
        return "schedule" if explained else "difference"


def _around(date: int) -> range:
    return range(date - _DAYS_AROUND, date + _DAYS_AROUND + 1)
