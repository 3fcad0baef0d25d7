"""Rows of the universe as bytes: ``schemas/series_seen.avsc``, a plain Avro body."""

from __future__ import annotations

import logging

from barstream.codecs import avro
from barstream.core.keys import split_series_key
from barstream.core.universe import SeriesSeen, Universe

log = logging.getLogger(__name__)


def encode(row: SeriesSeen) -> bytes:
    """The value of a row; its key is ``series_key(row.broker, row.symbol)``."""
    return avro.encode(
        "series_seen",
        {
            "broker": row.broker,
            "symbol": row.symbol,
            "partition": row.partition,
            "first_tick": row.first_tick_us,
            "last_trading_date": row.last_trading_date,
            "live": row.live,
            "closed_until": row.closed_until_us,
        },
    )


def decode(value: bytes) -> SeriesSeen:
    """The row in ``value``.

    Raises:
        ValueError: the bytes are not one row.
    """
    row = avro.decode("series_seen", value)
    return SeriesSeen(
        row["broker"],
        row["symbol"],
        row["partition"],
        row["first_tick"],
        row["last_trading_date"],
        row["live"],
        row["closed_until"],
    )


def apply_row(universe: Universe, key: bytes | None, value: bytes | None) -> None:
    """Take one record of topic ``series_seen`` into ``universe``; no value: a tombstone.

    Raises:
        ValueError: key or value is not one of that topic.
    """
    if value is not None:
        universe.put(decode(value))
    elif key is not None:
        universe.remove(*split_series_key(key))


class UniverseReading:
    """The record handler that fills a universe (``TopicReader`` of ``series_seen``).

    A record that is no row is logged and counted in ``refused``: one bad row must not keep
    every other series from its heartbeats.
    """

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.refused = 0

    def __call__(
        self,
        key: bytes | None,
        value: bytes | None,
        partition: int,
        offset: int,
        _timestamp_us: int,
        /,
    ) -> None:
        try:
            apply_row(self.universe, key, value)
        except ValueError as error:
            self.refused += 1
            log.warning(
                "row of series_seen refused partition=%d offset=%d error=%s",
                partition,
                offset,
                error,
            )
