"""Ticks as columns to record values, in the format and with the field names in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from barstream.codecs import avro
from barstream.config import Settings

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]


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


class TickEncoder(Protocol):
    """Makes record values of ticks."""

    def encode(self, ticks: TickColumns) -> list[bytes]:
        """One value a tick, in their order."""
        ...


class PackagedTicks:
    """The packaged ``tick.avsc``."""

    def encode(self, ticks: TickColumns) -> list[bytes]:
        """One plain Avro body a tick."""
        owner = pa.array(ticks.series)
        size = np.zeros(len(ticks.series)) if ticks.size is None else np.nan_to_num(ticks.size)
        return avro.encode_batch(
            "tick",
            {
                "broker": pa.array([broker for broker, _ in ticks.names]).take(owner),
                "symbol": pa.array([symbol for _, symbol in ticks.names]).take(owner),
                "time": ticks.time_us,
                "price": ticks.price,
                "size": size,
            },
        )


def tick_encoder(settings: Settings) -> TickEncoder:
    """The encoder for ``settings.ticks``."""
    del settings
    return PackagedTicks()
