"""What the encoders of ticks share: their columns, and what the fields of a feed hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from barstream.errors import BarstreamError

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]


#: The middle of two prices may be a few units in the last place beside what one would write.
_NOISE: Final = 4 * 2.0**-52


class TickEncodingError(BarstreamError):
    """Ticks cannot be written in the configured format: see section [ticks]."""


@dataclass(frozen=True, slots=True)
class ColumnEncoding:
    """Ticks to be encoded; columns of shape (n,), times in microseconds UTC."""

    names: tuple[tuple[str, str], ...]
    """(broker, symbol) of each series."""
    series: Int64s
    """Index into ``names``."""
    time_us: Int64s
    price: Float64s
    bid: Float64s | None
    """None: the feed has prices only; bid and ask are then both the price."""
    ask: Float64s | None
    size: Float64s | None
    """None, or NaN: the feed has none."""


class NumberField(NamedTuple):
    """What a field of a feed holds.

    Attributes:
        decimals: places of its whole numbers, which are exact; None: floating point or text.
        end: its numbers (without a point, where they are whole) are in ``[-end, end)``.
        single: floating point of 32 bits, so that most numbers are rounded.
    """

    decimals: int | None = None
    end: float = math.inf
    single: bool = False

    @property
    def largest(self) -> float:
        """Its numbers are smaller than this."""
        return self.end / 10.0 ** (self.decimals or 0)

    def nearest(self, values: Float64s) -> Float64s:
        """The numbers of the field that are nearest to ``values``, shape (n,)."""
        return values if self.decimals is None else np.round(values, self.decimals)

    def too_fine(self, values: Float64s) -> Bools:
        """Which of ``values``, shape (n,), have more decimals than the field; none that is NaN."""
        if self.decimals is None:
            return np.zeros(len(values), np.bool_)
        unit = 10.0**self.decimals
        with np.errstate(invalid="ignore", over="ignore"):
            return np.abs(np.rint(values * unit) / unit - values) > _NOISE * np.abs(values)

    def too_large(self, values: Float64s) -> Bools:
        """Which of ``values``, shape (n,), are beyond the field; none that is infinite or NaN."""
        with np.errstate(over="ignore"):
            whole = values if self.decimals is None else np.rint(values * 10.0**self.decimals)
        return np.isfinite(values) & ((whole >= self.end) | (whole < -self.end))


class FeedFields(NamedTuple):
    """What the fields of a feed hold.

    Attributes:
        price: the price, where the feed has one; None where it has bid and ask.
        quote: bid and ask, where the feed has those.
        size: the size.
        time_us: microseconds of the unit of its times.
    """

    price: NumberField | None = NumberField()
    quote: tuple[NumberField, NumberField] | None = None
    size: NumberField = NumberField()
    time_us: int = 1

    @property
    def prices(self) -> dict[str, NumberField]:
        """The fields of prices by what they are: price, or bid and ask."""
        if self.quote is None:
            return {"price": self.price or NumberField()}
        return dict(zip(("bid", "ask"), self.quote, strict=True))

    def of(self, ticks: ColumnEncoding) -> Iterator[tuple[str, Float64s, NumberField]]:
        """Each field with the column that is written into it; without sizes there is none."""
        for what, field in self.prices.items():
            column = getattr(ticks, what)
            yield what, ticks.price if column is None else column, field
        if ticks.size is not None:
            yield "size", ticks.size, self.size

    def check(self, ticks: ColumnEncoding) -> None:
        """Refuse what would be another number in the feed.

        Raises:
            TickEncodingError: names the first.
        """
        for what, values, field in self.of(ticks):
            for unfit, holds in (
                (field.too_fine(values), f"{field.decimals} decimals"),
                (field.too_large(values), f"numbers below {field.largest:.4g}"),
            ):
                if unfit.any():
                    raise TickEncodingError(
                        f"the {what} field of the feed holds {holds}, found "
                        f"{float(values[unfit.argmax()])!r}: nothing is rounded when it is encoded"
                    )


#: 64-bit floats and microseconds, as the packaged schema has them.
FLOATS: Final = FeedFields()


class TickEncoder(Protocol):
    """Makes record values of ticks."""

    @property
    def takes_nan(self) -> bool:
        """Whether a price that is no number can be written at all."""
        ...

    @property
    def fields(self) -> FeedFields:
        """What its fields hold."""
        ...

    def encode(self, ticks: ColumnEncoding) -> list[bytes]:
        """One value a tick, in their order.

        Raises:
            TickEncodingError: the schema does not take a value, or would hold another number.
        """
        ...
