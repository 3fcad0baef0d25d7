"""Bars: the partial bar ticks are merged into, and the bar that is published."""

from __future__ import annotations

from dataclasses import dataclass

from barstream.model.exact_sum import float_of, unrounded


@dataclass(slots=True)
class Bar:
    """One bucket of one series, of a minute or of a longer period; it does not carry which.

    Open is the price of the earliest tick by (event time, offset), close that of the latest.
    ``first_offset`` and ``last_offset`` are the lowest and highest offset of its ticks in the
    series' tick partition; ``close_offset`` is the offset up to which (exclusive) a tick could
    enter.  A live bar has none, a synthetic bar (no tick in the bucket) has no times and no
    tick offsets.  ``revision`` is 0 for the first final.  ``volume_units`` is the exact volume
    where ``volume`` is rounded and late ticks may still be added to it, see
    `barstream.model.exact_sum`.
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


@dataclass(slots=True)
class PartialBar:
    """What the accepted ticks of one bucket amount to so far.

    `merge` is associative and commutative, so the order in which ticks arrive and the way they
    are batched never change a bar.  ``volume_units`` is exact, see `barstream.model.exact_sum`.
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
    tick_count: int
    first_offset: int
    last_offset: int

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
        self.tick_count += other.tick_count
        if other.first_offset < self.first_offset:
            self.first_offset = other.first_offset
        if other.last_offset > self.last_offset:
            self.last_offset = other.last_offset

    def to_bar(
        self, broker: str, symbol: str, close_offset: int | None, *, revisable: bool = False
    ) -> Bar:
        """The bar of these ticks: final when ``close_offset`` is given, live otherwise.

        One that is ``revisable`` carries its exact volume.
        """
        volume = float_of(self.volume_units)
        return Bar(
            broker,
            symbol,
            self.bucket_us,
            self.trading_date,
            self.session,
            self.open,
            self.high,
            self.low,
            self.close,
            volume,
            self.tick_count,
            self.open_time_us,
            self.close_time_us,
            False,
            0,
            self.first_offset,
            self.last_offset,
            close_offset,
            close_offset is not None,
            unrounded(self.volume_units, volume) if revisable else None,
        )


def synthetic_bar(
    broker: str,
    symbol: str,
    bucket_us: int,
    trading_date: int,
    session: int,
    price: float,
    close_offset: int,
) -> Bar:
    """The final of an in-session minute without a tick: flat at the previous close."""
    return Bar(
        broker, symbol, bucket_us, trading_date, session, price, price, price, price, 0.0, 0,
        None, None, True, 0, None, None, close_offset,
    )  # fmt: skip
