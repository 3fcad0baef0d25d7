"""What the encoders of ticks share: their columns, and what an encoder does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from barstream.errors import BarstreamError

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]


class TickEncodingError(BarstreamError):
    """Ticks cannot be written in the configured format: see section [ticks]."""


@dataclass(frozen=True, slots=True)
class TickColumns:
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


class FieldDecimals(NamedTuple):
    """Decimal places that the fields of a feed hold; None: whatever float64 does.

    Attributes:
        price: of the price field, where the feed has one.
        quote: of bid and ask, where the feed has those.
        size: of the size field.
    """

    price: int | None = None
    quote: tuple[int | None, int | None] | None = None
    size: int | None = None


class TickEncoder(Protocol):
    """Makes record values of ticks."""

    @property
    def takes_nan(self) -> bool:
        """Whether a price that is no number can be written at all."""
        ...

    @property
    def decimals(self) -> FieldDecimals:
        """How many decimal places its fields hold."""
        ...

    def encode(self, ticks: TickColumns) -> list[bytes]:
        """One value a tick, in their order.

        Raises:
            TickEncodingError: the schema does not take a value.
        """
        ...
