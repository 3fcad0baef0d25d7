"""Ticks to record values, in columns: for our own feeds, which write the packaged tick.avsc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from barstream.codecs.avro.body import Column, encode_batch
from barstream.model.key import series_key


def encode_ticks(
    broker: str | Sequence[str] | Any,
    symbol: str | Sequence[str] | Any,
    time_us: Column,
    price: Column,
    size: Column | None = None,
) -> list[bytes]:
    """Values of ticks as plain Avro bodies of ``tick.avsc``.

    Args:
        broker: one for all, or one a tick (sequence, array or Arrow array).
        symbol: likewise.
        time_us: event times in microseconds since the epoch, shape (n,).
        price: shape (n,).
        size: shape (n,); None: no sizes, written as 0.

    Raises:
        ValueError: the columns differ in length, or a value does not fit.
    """
    n = len(time_us)
    return encode_batch(
        "tick",
        {
            "broker": [broker] * n if isinstance(broker, str) else broker,
            "symbol": [symbol] * n if isinstance(symbol, str) else symbol,
            "time": time_us,
            "price": price,
            "size": np.zeros(n) if size is None else size,
        },
    )


def tick_keys(brokers: Sequence[str], symbols: Sequence[str]) -> list[bytes]:
    """Keys of ticks, ``broker NUL symbol``; each distinct key is made once."""
    known: dict[tuple[str, str], bytes] = {}
    return [
        known.get(pair) or known.setdefault(pair, series_key(*pair))
        for pair in zip(brokers, symbols, strict=True)
    ]
