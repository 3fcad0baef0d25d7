"""Rows of the universe as bytes: ``schemas/series_seen.avsc``, a plain Avro body."""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import Final

from barstream.codecs.avro import body
from barstream.market.universe import SeriesSeen, Universe
from barstream.model.key import is_stored_name, series_key, split_series_key
from barstream.model.time import DAY_US, END_OF_TIME_US

#: No cluster has so many partitions in one topic.
_NO_PARTITION: Final = 100_000
#: What a worker writes for a time that never was; any negative number is read like it.
_NEVER_US: Final = -(1 << 60)

#: By name in the schema the attribute of `SeriesSeen`, in the order of both.
_FIELDS: Final = {
    "broker": "broker",
    "symbol": "symbol",
    "partition": "partition",
    "first_tick": "first_tick_us",
    "last_trading_date": "last_trading_date",
    "live": "live",
    "closed_until": "closed_until_us",
}
_values_of: Final = attrgetter(*_FIELDS.values())

log = logging.getLogger(__name__)


def encode(row: SeriesSeen) -> bytes:
    """The value of a row; its key is ``series_key(row.broker, row.symbol)``."""
    return body.encode("series_seen", dict(zip(_FIELDS, _values_of(row), strict=True)))


def decode(value: bytes) -> SeriesSeen:
    """The row in ``value``.

    Raises:
        ValueError: the bytes are not one row.
    """
    row = body.decode("series_seen", value)
    return SeriesSeen(*(row[name] for name in _FIELDS))


def apply_row(universe: Universe, key: bytes | None, value: bytes | None) -> None:
    """Take one record of topic ``series_seen`` into ``universe``; no value: a tombstone.

    Raises:
        ValueError: key or value is not one of that topic.
    """
    if value is not None:
        row = decode(value)
        _check(row, key)
        universe.put(row)
    elif key is not None:
        universe.remove(*split_series_key(key))


def _check(row: SeriesSeen, key: bytes | None) -> None:
    """Refuse a row that no worker writes: a wrong home would turn every tick of a series away."""
    if key != series_key(row.broker, row.symbol):
        raise ValueError(f"the row is of {row.name}, the key says {key!r}")
    if not (is_stored_name(row.broker) and is_stored_name(row.symbol)):
        raise ValueError(f"names are trimmed here and have 1 to 200 characters, found {row.name}")
    if not 0 <= row.partition < _NO_PARTITION:
        raise ValueError(f"there is no partition {row.partition}")
    if not -1 <= row.last_trading_date <= END_OF_TIME_US // DAY_US:
        raise ValueError(f"trading date {row.last_trading_date} is no day from 1970 to 9999")
    for name, us in (("first_tick", row.first_tick_us), ("closed_until", row.closed_until_us)):
        if not _NEVER_US <= us < END_OF_TIME_US + DAY_US:
            raise ValueError(f"{name} {us} is no time from 1970 to 9999")


class UniverseReading:
    """The record handler that fills a universe (``TopicFollower`` of ``series_seen``).

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
