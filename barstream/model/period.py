"""Periods: how long a bar is, and where its bucket begins.

Minutes and hours lie on a grid of event time: the UTC grid, or one that starts anew at each
session's open.  Days, weeks and months lie on the calendar of trading dates: a bucket starts at
00:00 UTC of its trading date, its Monday, its 1st, whenever its sessions trade.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, Self

from barstream.model.time import DAY_US, MINUTE_US
from barstream.model.topic_name import UNITS, timeframe

Unit = Literal["m", "h", "d", "wk", "mo"]
Anchor = Literal["utc", "session"]

_HOUR_US: Final = 60 * MINUTE_US
_UNIT_US: Final = {"m": MINUTE_US, "h": _HOUR_US}
_UNIT_DAYS: Final = {"d": 1, "wk": 7}
#: How many of a unit make its parent, which the size of a period must divide.
_PARENT: Final = {
    "m": (60, "an hour"),
    "h": (24, "a day"),
    "d": (1, "a trading date"),
    "wk": (1, "a week"),
    "mo": (12, "a year"),
}
#: 1970-01-05 was a Monday: days from the epoch to the start of the first whole week.
_MONDAY: Final = 4
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_TEXT: Final = re.compile(r"([0-9]+)(m|h|d|wk|mo)(?:\+([0-9]+)(m|h|d|wk|mo))?(@session)?")
#: More than ten thousand of anything is a mistake.
_LARGEST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Period:
    """A number of minutes, hours, days, weeks or months, and the grid it lies on.

    A value: equal periods are one, ``str`` prints what `parse` reads (``5m 1h 1d 1wk 1mo``, with
    an offset ``4h+1h``, anchored to sessions ``1h@session``).  Sixty minutes are an hour.

    Attributes:
        count: how many units, 1 or more.
        unit: ``m``, ``h``, ``d``, ``wk`` or ``mo``.
        offset: by how much the grid is shifted: minutes for ``m`` and ``h``, else units; counted
            from the epoch (weeks from Monday 1970-01-05, months from January 1970).  None: no
            shift, and the size must divide an hour, a day or a year, so that every one of those
            begins with a bucket.
        anchor: ``session`` starts the grid at each session's open, floored to the minute.

    Raises:
        ValueError: no such period, or its buckets would not fit; says why and what to do.
    """

    count: int
    unit: Unit
    offset: int | None = None
    anchor: Anchor = "utc"

    def __post_init__(self) -> None:
        timeframe(self.count, self.unit)
        if self.count > _LARGEST:
            raise ValueError(f"a period has at most {_LARGEST} units, found {self.timeframe}")
        if self.anchor not in ("utc", "session"):
            raise ValueError(f"an anchor must be utc or session, found {self.anchor!r}")
        if self.anchor == "session":
            self._check_session_anchor()
        if self.unit == "m" and self.count % 60 == 0:
            # one value, one name: 60m is 1h
            object.__setattr__(self, "count", self.count // 60)
            object.__setattr__(self, "unit", "h")
        if self.anchor == "utc":
            self._check_grid()

    def _check_session_anchor(self) -> None:
        if not self.is_intraday:
            raise ValueError(
                f"{self.timeframe} cannot be anchored to sessions: days, weeks and months follow "
                "trading dates already; leave the anchor out"
            )
        if self.offset is not None:
            raise ValueError(
                f"{self.timeframe} has an offset and a session anchor: the grid starts either at "
                "an offset or at each open, use one of them"
            )

    def _check_grid(self) -> None:
        if self.offset is not None:
            size = self._size_us // MINUTE_US if self.is_intraday else self.count
            if not 0 <= self.offset < size:
                raise ValueError(
                    f"the offset of {self.timeframe} must be 0 or more and below its size, found "
                    f"{self.offset} {'minutes' if self.is_intraday else self.unit}"
                )
            return
        whole, parent = _PARENT[self.unit]
        if whole % self.count:
            sizes = ", ".join(f"{n}{self.unit}" for n in range(1, whole + 1) if whole % n == 0)
            raise ValueError(
                f"{self.timeframe} does not divide {parent}, so its buckets would not begin with "
                f"one: use {sizes}, or say where the grid begins with an offset, "
                f"{self.timeframe}+0{self.unit}"
                + (", or anchor it to sessions" if self.is_intraday else "")
            )

    @classmethod
    def minutes(cls, count: int, *, offset: int | None = None, anchor: Anchor = "utc") -> Self:
        """``count`` minutes; ``offset`` in minutes."""
        return cls(count, "m", offset, anchor)

    @classmethod
    def hours(cls, count: int, *, offset: int | None = None, anchor: Anchor = "utc") -> Self:
        """``count`` hours; ``offset`` in minutes."""
        return cls(count, "h", offset, anchor)

    @classmethod
    def days(cls, count: int = 1, *, offset: int | None = None) -> Self:
        """``count`` trading dates; more than one needs an ``offset`` (days)."""
        return cls(count, "d", offset)

    @classmethod
    def weeks(cls, count: int = 1, *, offset: int | None = None) -> Self:
        """``count`` weeks from Monday; more than one needs an ``offset`` (weeks)."""
        return cls(count, "wk", offset)

    @classmethod
    def months(cls, count: int = 1, *, offset: int | None = None) -> Self:
        """``count`` months; ``offset`` in months."""
        return cls(count, "mo", offset)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The period of a text such as ``5m``, ``4h+90m``, ``1h@session``, ``1wk``.

        Raises:
            ValueError: the text is none, or the period is not possible.
        """
        spelled = text.strip()
        # M is minutes to some and months to others; every other letter has one reading
        if "M" in spelled:
            raise ValueError(f"a period is written in lower case, months as mo; found {text!r}")
        found = _TEXT.fullmatch(spelled.lower())
        if found is None:
            raise ValueError(
                f"a period must be a number and one of {' '.join(UNITS)}, such as 5m, 1h, 1d, "
                f"1wk, 1mo, 4h+1h (offset) or 1h@session; found {text!r}"
            )
        count, unit, shift, shift_unit, session = found.groups()
        offset = None if shift is None else _offset(unit, int(shift), shift_unit, text)
        wanted: Any = unit
        return cls(int(count), wanted, offset, "session" if session else "utc")

    @property
    def timeframe(self) -> str:
        """Count and unit, as in the names of topics: ``5m``."""
        return f"{self.count}{self.unit}"

    def __str__(self) -> str:
        text = self.timeframe
        if self.offset is not None:
            unit, shown = (self.unit, self.offset)
            if self.is_intraday:
                whole = self.offset % 60 == 0 and self.unit == "h"
                unit, shown = ("h", self.offset // 60) if whole else ("m", self.offset)
            text += f"+{shown}{unit}"
        return text + ("@session" if self.anchor == "session" else "")

    @property
    def is_intraday(self) -> bool:
        """Whether buckets are spans of event time (minutes, hours) and not of trading dates."""
        return self.unit in _UNIT_US

    @property
    def is_made_of_days(self) -> bool:
        """Whether bars are folded from those of days; all others are folded from minutes."""
        return not self.is_intraday and not (self.unit == "d" and self.count == 1)

    @property
    def _size_us(self) -> int:
        return self.count * _UNIT_US[self.unit]

    @property
    def size_us(self) -> int:
        """Length of a bucket of minutes or hours, microseconds.

        Raises:
            ValueError: days, weeks and months have none: use `advance`.
        """
        if not self.is_intraday:
            raise ValueError(f"{self} is a span of trading dates and has no length in time")
        return self._size_us

    def floor(self, ts_us: int, open_us: int | None = None) -> int:
        """Start of the bucket that holds an instant, microseconds since the epoch.

        Args:
            ts_us: the instant; of days, weeks and months its UTC date counts as trading date.
            open_us: open of the session it lies in, required by a session anchor alone.

        Raises:
            ValueError: a session anchor and no open.
        """
        if not self.is_intraday:
            return self.floor_date(ts_us // DAY_US) * DAY_US
        if self.anchor == "session":
            if open_us is None:
                raise ValueError(f"the bucket of {self} depends on the open of the session")
            start_us = open_us - open_us % MINUTE_US
        else:
            start_us = (self.offset or 0) * MINUTE_US
        return ts_us - (ts_us - start_us) % self._size_us

    def floor_date(self, trading_date: int) -> int:
        """First date of the bucket of a trading date, both in days since 1970-01-01.

        Raises:
            ValueError: minutes and hours do not go by dates.
        """
        if self.is_intraday:
            raise ValueError(f"{self} goes by event time and not by trading dates")
        if self.unit == "mo":
            day = date.fromordinal(_EPOCH_ORDINAL + trading_date)
            month = (day.year - 1970) * 12 + day.month - 1
            return _first_of_month(month - (month - (self.offset or 0)) % self.count)
        size = self.count * _UNIT_DAYS[self.unit]
        start = (self.offset or 0) * _UNIT_DAYS[self.unit] + (_MONDAY if self.unit == "wk" else 0)
        return trading_date - (trading_date - start) % size

    def advance(self, start_us: int, count: int = 1) -> int:
        """The bucket start ``count`` buckets after (before, if negative) one, microseconds.

        A session anchor starts anew at each open, so there this is the nominal start.
        """
        if self.unit == "mo":
            day = date.fromordinal(_EPOCH_ORDINAL + start_us // DAY_US)
            month = (day.year - 1970) * 12 + day.month - 1
            return _first_of_month(month + count * self.count) * DAY_US
        if self.is_intraday:
            return start_us + count * self._size_us
        return start_us + count * self.count * _UNIT_DAYS[self.unit] * DAY_US

    def contains(self, start_us: int, ts_us: int) -> bool:
        """Whether the bucket that starts at ``start_us`` holds an instant: start <= t < end.

        Of days, weeks and months the instant stands for the trading date it lies in.
        """
        return start_us <= ts_us < self.advance(start_us)


def _offset(unit: str, shift: int, shift_unit: str, text: str) -> int:
    if unit in _UNIT_US and shift_unit in _UNIT_US:
        return shift * _UNIT_US[shift_unit] // MINUTE_US
    if unit != shift_unit:
        raise ValueError(
            f"the offset of a period in {unit} is given in "
            f"{'m or h' if unit in _UNIT_US else unit}; found {text!r}"
        )
    return shift


def _first_of_month(month: int) -> int:
    """Days since 1970-01-01 of the first day of a month counted from January 1970."""
    return date(1970 + month // 12, month % 12 + 1, 1).toordinal() - _EPOCH_ORDINAL


#: What ticks become; every other period is made from it.
MINUTE: Final = Period.minutes(1)
#: What weeks and months are made from.
DAY: Final = Period.days(1)
