"""The fold of final bars into the bar of a longer period."""

from __future__ import annotations

from collections.abc import Sequence

from barstream.model.bar import Bar
from barstream.model.exact_sum import ExactSum


class Fold:
    """What the children of one bucket amount to so far; they are added in ascending order.

    Bars with ticks decide prices and times, so that a parent equals the bar built straight from
    its ticks; synthetic ones count only while there is no other.  ``volume`` is the exactly
    rounded sum of the children's.  Trading date and session are those of the first child,
    ``close_offset`` is the highest, ``revision`` the sum.
    """

    __slots__ = (
        "_close", "_close_offset", "_close_time_us", "_first", "_first_offset", "_has_ticks",
        "_high", "_last_offset", "_low", "_open", "_open_time_us", "_revision", "_tick_count",
        "_turnover", "_volume",
    )  # fmt: skip

    _first: Bar | None
    _open: float
    _high: float
    _low: float
    _close: float
    _open_time_us: int | None
    _close_time_us: int | None
    _first_offset: int | None
    _last_offset: int | None
    _close_offset: int
    #: None: that of a child is not known.
    _turnover: ExactSum | None

    def __init__(self) -> None:
        self._first = None
        self._has_ticks = False
        self._open_time_us = self._close_time_us = None
        self._first_offset = self._last_offset = None
        self._close_offset = -1
        self._tick_count = self._revision = 0
        self._volume = ExactSum()
        self._turnover = ExactSum()

    def __bool__(self) -> bool:
        """Whether there is a child."""
        return self._first is not None

    def add(self, children: Sequence[Bar]) -> None:
        """Take the next children, ascending."""
        if not children:
            return
        if self._first is None:
            self._first = children[0]
        for child in children:
            if child.close_offset is not None and child.close_offset > self._close_offset:
                self._close_offset = child.close_offset
            self._revision += child.revision
            if child.turnover is None:
                self._turnover = None
            if child.synthetic:
                if not self._has_ticks:
                    self._take_flat(child, first=child is self._first)
                continue
            if not self._has_ticks:
                self._has_ticks = True
                self._open, self._open_time_us = child.open, child.open_time_us
                self._high, self._low = child.high, child.low
                self._first_offset, self._last_offset = child.first_offset, child.last_offset
            else:
                self._high = max(self._high, child.high)
                self._low = min(self._low, child.low)
                self._take_offsets(child)
            self._close, self._close_time_us = child.close, child.close_time_us
            self._tick_count += child.tick_count
            self._volume.add(child.volume)
            if child.turnover is not None and self._turnover is not None:
                self._turnover.add(child.turnover)

    def _take_flat(self, child: Bar, *, first: bool) -> None:
        if first:
            self._open, self._high, self._low = child.open, child.high, child.low
        else:
            self._high = max(self._high, child.high)
            self._low = min(self._low, child.low)
        self._close = child.close

    def _take_offsets(self, child: Bar) -> None:
        if self._first_offset is None or (
            child.first_offset is not None and child.first_offset < self._first_offset
        ):
            self._first_offset = child.first_offset
        if self._last_offset is None or (
            child.last_offset is not None and child.last_offset > self._last_offset
        ):
            self._last_offset = child.last_offset

    def copy(self) -> Fold:
        """Another fold that stands where this one does."""
        other = Fold()
        for name in self.__slots__:
            if hasattr(self, name):
                setattr(other, name, getattr(self, name))
        other._volume = self._volume.copy()
        other._turnover = None if self._turnover is None else self._turnover.copy()
        return other

    def to_bar(self, bucket_start_us: int) -> Bar:
        """The parent, final.

        Raises:
            ValueError: there are no children.
        """
        first = self._first
        if first is None:
            raise ValueError("a bar is made of at least one child, found none")
        return Bar(
            broker=first.broker,
            symbol=first.symbol,
            bucket_start_us=bucket_start_us,
            trading_date=first.trading_date,
            session=first.session,
            open=self._open,
            high=self._high,
            low=self._low,
            close=self._close,
            volume=self._volume.value,
            turnover=None if self._turnover is None else self._turnover.value,
            tick_count=self._tick_count,
            open_time_us=self._open_time_us,
            close_time_us=self._close_time_us,
            synthetic=not self._has_ticks,
            revision=self._revision,
            first_offset=self._first_offset,
            last_offset=self._last_offset,
            close_offset=self._close_offset,
        )


def fold(children: Sequence[Bar], bucket_start_us: int) -> Bar:
    """The parent of ``children``, ascending and at least one, in one go.

    Raises:
        ValueError: there are no children.
    """
    whole = Fold()
    whole.add(children)
    return whole.to_bar(bucket_start_us)
