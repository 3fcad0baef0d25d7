"""Rows that say which ticks and heartbeats of a dropped series are withdrawn.

They stay in their topics, which are logs.  Whoever reads them (a worker, a load, `verify`,
`replay`, `explain`) leaves out those of the series below these offsets, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.avro.body import decode, encode
from barstream.codecs.topics.row_version import ROW_VERSION, is_first
from barstream.market.schedule import Series
from barstream.model.key import is_stored_name, series_key

if TYPE_CHECKING:
    from barstream.codecs.ticks.decoder import TickColumns

_PREFIX: Final = b"\0withdrawn\0"


class WithdrawnEnd(NamedTuple):
    """Offsets of a partition, exclusive: what of a series lies below them is withdrawn."""

    ticks: int
    heartbeats: int


_NOTHING: Final = WithdrawnEnd(0, 0)


class WithdrawnTicks(NamedTuple):
    """Offsets and event times in microseconds of withdrawn ticks, of shape (n,)."""

    offset: NDArray[np.int64]
    time_us: NDArray[np.int64]


NO_TICKS: Final = WithdrawnTicks(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class WithdrawalRow:
    """What of a series is withdrawn; fields as in ``withdrawal.avsc``.

    Attributes:
        withdrawn_at_us: when it was dropped last, microseconds since the epoch.
        ends: by partition of the tick topic.
    """

    broker: str
    symbol: str
    withdrawn_at_us: int
    ends: Mapping[int, WithdrawnEnd] = field(default_factory=dict)

    @property
    def name(self) -> Series:
        """``(broker, symbol)``."""
        return self.broker, self.symbol

    @property
    def key(self) -> bytes:
        """Of its row."""
        return withdrawal_key(*self.name)

    def end(self, partition: int) -> WithdrawnEnd:
        """Of a partition; zeros where nothing is withdrawn."""
        return self.ends.get(partition, _NOTHING)

    def joined(self, before: WithdrawalRow | None) -> WithdrawalRow:
        """With what was withdrawn before: offsets only rise."""
        if before is None:
            return self
        ends = dict(before.ends)
        for partition, end in self.ends.items():
            was = before.end(partition)
            ends[partition] = WithdrawnEnd(
                max(end.ticks, was.ticks), max(end.heartbeats, was.heartbeats)
            )
        at_us = max(self.withdrawn_at_us, before.withdrawn_at_us)
        return WithdrawalRow(self.broker, self.symbol, at_us, ends)


def withdrawal_key(broker: str, symbol: str) -> bytes:
    """The key of the row of a series."""
    return _PREFIX + series_key(broker, symbol)


def is_withdrawal_key(key: bytes) -> bool:
    """Whether a key is one of these rows."""
    return key.startswith(_PREFIX)


def encode_withdrawal(row: WithdrawalRow) -> bytes:
    """Value of a row."""
    return encode(
        "withdrawal",
        {
            "row_version": ROW_VERSION,
            "broker": row.broker,
            "symbol": row.symbol,
            "withdrawn_at": row.withdrawn_at_us,
            "ends": [
                {"partition": partition, "ticks": end.ticks, "heartbeats": end.heartbeats}
                for partition, end in sorted(row.ends.items())
            ],
        },
    )


def decode_withdrawal(key: bytes, value: bytes) -> WithdrawalRow:
    """Inverse of `encode_withdrawal`.

    Raises:
        RowTooNew: a later release has written it.
        ValueError: the bytes are no such row, say what none can, or stand under another key.
    """
    if is_first(value):
        value = ROW_VERSION + value
    row: dict[str, Any] = decode("withdrawal", value)
    ends = {end["partition"]: WithdrawnEnd(end["ticks"], end["heartbeats"]) for end in row["ends"]}
    found = WithdrawalRow(row["broker"], row["symbol"], row["withdrawn_at"], ends)
    numbers = [row["withdrawn_at"], *ends, *(offset for end in ends.values() for offset in end)]
    is_named = is_stored_name(found.broker) and is_stored_name(found.symbol)
    if not is_named or min(numbers) < 0 or len(ends) < len(row["ends"]) or key != found.key:
        raise ValueError(f"no withdrawal under {key!r} says that: {row}")
    return found


class Withdrawn:
    """What is withdrawn of one partition.

    Args:
        ends: by series.
    """

    def __init__(self, ends: Mapping[Series, WithdrawnEnd] | None = None) -> None:
        self.ends: Mapping[Series, WithdrawnEnd] = ends or {}

    @classmethod
    def of(cls, rows: Iterable[WithdrawalRow], partition: int) -> Self:
        """As rows say, at most one a series."""
        ends = {row.name: row.end(partition) for row in rows}
        return cls({name: end for name, end in ends.items() if end != _NOTHING})

    def __len__(self) -> int:
        return len(self.ends)

    def end(self, name: Series) -> WithdrawnEnd:
        """Of a series; zeros where nothing is withdrawn."""
        return self.ends.get(name, _NOTHING)

    def holds_heartbeat(self, broker: str, symbol: str, offset: int) -> bool:
        """Whether a heartbeat at an offset of ``hb_1m`` is withdrawn."""
        return bool(self.ends) and offset < self.end((broker, symbol)).heartbeats

    def split(
        self, columns: TickColumns, offsets: NDArray[np.int64]
    ) -> tuple[TickColumns, WithdrawnTicks]:
        """The ticks that are left, and those that are withdrawn.

        Args:
            columns: what the decoder made of a chunk.
            offsets: of its records, shape (n,); records that are no ticks stay as they are.
        """
        if not self.ends or not len(columns):
            return columns, NO_TICKS
        below = np.array([self.end(name).ticks for name in columns.names], np.int64)
        places = offsets if columns.index is None else offsets[columns.index]
        gone = places < below[columns.series]
        return columns.where(~gone), WithdrawnTicks(places[gone], columns.time_us[gone])
