"""Bars: the partial bar ticks are merged into, and the bar that is published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

import msgspec

from barstream.model.exact_sum import float_of, product, ratio, units_of, unrounded
from barstream.model.time import date_from_days, datetime_from_us


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket of one series, of a minute or of a longer period; it does not carry which.

    Open is the price of the earliest tick by (event time, offset), close that of the latest.
    ``first_offset`` and ``last_offset`` are the lowest and highest offset of its ticks in the
    series' tick partition; ``close_offset`` is the offset up to which (exclusive) a tick could
    enter.  A live bar has none, a synthetic bar (no tick in the bucket) has no times and no
    tick offsets.  ``revision`` is 0 for the first final.  ``turnover`` is what its sizes cost at
    their prices; None: a version made it, or a part of it, that did not add it up.
    ``volume_units`` and ``turnover_units`` are exact where the float is rounded and late ticks may
    still be added, see `barstream.model.exact_sum`.

    Times are integer microseconds since the epoch, ``trading_date`` is in days since then; the
    same as aware datetimes, in UTC, and as a date are `bucket_start`, `open_time`, `close_time`
    and `trading_day`.
    """

    broker: str
    symbol: str
    bucket_start_us: int
    trading_date: int
    session: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float | None
    tick_count: int
    open_time_us: int | None
    close_time_us: int | None
    synthetic: bool
    revision: int
    first_offset: int | None
    last_offset: int | None
    close_offset: int | None
    final: bool = True
    volume_units: int | None = None
    turnover_units: int | None = None

    @property
    def vwap(self) -> float | None:
        """Turnover by volume: the price weighted by size; None where there is none of either."""
        if self.turnover is None or not self.volume:
            return None
        return ratio(self.turnover, self.volume)

    @property
    def bucket_start(self) -> datetime:
        """Start of the bucket, in UTC."""
        return datetime_from_us(self.bucket_start_us)

    @property
    def open_time(self) -> datetime | None:
        """Event time of its earliest tick, in UTC; None of a synthetic bar."""
        return None if self.open_time_us is None else datetime_from_us(self.open_time_us)

    @property
    def close_time(self) -> datetime | None:
        """Event time of its latest tick, in UTC; None of a synthetic bar."""
        return None if self.close_time_us is None else datetime_from_us(self.close_time_us)

    @property
    def trading_day(self) -> date:
        """The date by which its session is named."""
        return date_from_days(self.trading_date)

    @property
    def rounded(self) -> Self:
        """The same bar without its exact sums, as it is read."""
        if self.volume_units is None and self.turnover_units is None:
            return self
        return self.replace(volume_units=None, turnover_units=None)

    def replace(self, **changes: Any) -> Self:
        """The same bar with other values in some fields."""
        return msgspec.structs.replace(self, **changes)


@dataclass(slots=True)
class PartialBar:
    """What the accepted ticks of one bucket amount to so far.

    `merge` is associative and commutative, so the order in which ticks arrive and the way they
    are batched never change a bar.  ``volume_units`` and ``turnover_units`` are exact, see
    `barstream.model.exact_sum`; the latter is None of a bar that was begun by a version without.
    """

    bucket_us: int
    trading_date: int
    session: int
    open: float
    open_time_us: int
    open_offset: int
    high: float
    low: float
    close: float
    close_time_us: int
    close_offset: int
    volume_units: int
    turnover_units: int | None
    tick_count: int
    first_offset: int
    last_offset: int

    @classmethod
    def of_tick(
        cls,
        bucket_us: int,
        trading_date: int,
        session: int,
        time_us: int,
        price: float,
        size: float,
        offset: int,
    ) -> Self:
        """What one tick amounts to."""
        return cls(
            bucket_us=bucket_us,
            trading_date=trading_date,
            session=session,
            open=price,
            open_time_us=time_us,
            open_offset=offset,
            high=price,
            low=price,
            close=price,
            close_time_us=time_us,
            close_offset=offset,
            volume_units=units_of(size),
            turnover_units=units_of(product(price, size)),
            tick_count=1,
            first_offset=offset,
            last_offset=offset,
        )

    def merge(self, other: PartialBar) -> None:
        """Take the ticks of ``other``, a disjoint part of the same bucket, into this one."""
        if (other.open_time_us, other.open_offset) < (self.open_time_us, self.open_offset):
            self.open = other.open
            self.open_time_us, self.open_offset = other.open_time_us, other.open_offset
            # the session a bar was judged by is that of its first tick
            self.trading_date, self.session = other.trading_date, other.session
        if (other.close_time_us, other.close_offset) > (self.close_time_us, self.close_offset):
            self.close = other.close
            self.close_time_us, self.close_offset = other.close_time_us, other.close_offset
        if other.high > self.high:
            self.high = other.high
        if other.low < self.low:
            self.low = other.low
        self.volume_units += other.volume_units
        if self.turnover_units is None or other.turnover_units is None:
            self.turnover_units = None
        else:
            self.turnover_units += other.turnover_units
        self.tick_count += other.tick_count
        if other.first_offset < self.first_offset:
            self.first_offset = other.first_offset
        if other.last_offset > self.last_offset:
            self.last_offset = other.last_offset

    def to_bar(
        self,
        broker: str,
        symbol: str,
        close_offset: int | None,
        *,
        revision: int = 0,
        revisable: bool = False,
    ) -> Bar:
        """The bar of these ticks: final when ``close_offset`` is given, live otherwise.

        One that is ``revisable`` carries its exact volume and turnover.
        """
        volume = float_of(self.volume_units)
        turnover = turnover_units = None
        if self.turnover_units is not None:
            turnover = float_of(self.turnover_units)
            turnover_units = unrounded(self.turnover_units, turnover) if revisable else None
        return Bar(
            broker=broker,
            symbol=symbol,
            bucket_start_us=self.bucket_us,
            trading_date=self.trading_date,
            session=self.session,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=volume,
            turnover=turnover,
            tick_count=self.tick_count,
            open_time_us=self.open_time_us,
            close_time_us=self.close_time_us,
            synthetic=False,
            revision=revision,
            first_offset=self.first_offset,
            last_offset=self.last_offset,
            close_offset=close_offset,
            final=close_offset is not None,
            volume_units=unrounded(self.volume_units, volume) if revisable else None,
            turnover_units=turnover_units,
        )


def synthetic_bar(
    broker: str,
    symbol: str,
    bucket_us: int,
    trading_date: int,
    session: int,
    price: float,
    close_offset: int,
    revision: int = 0,
) -> Bar:
    """The final of an in-session minute without a tick: flat at the previous close."""
    return Bar(
        broker=broker,
        symbol=symbol,
        bucket_start_us=bucket_us,
        trading_date=trading_date,
        session=session,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=0.0,
        turnover=0.0,
        tick_count=0,
        open_time_us=None,
        close_time_us=None,
        synthetic=True,
        revision=revision,
        first_offset=None,
        last_offset=None,
        close_offset=close_offset,
    )
