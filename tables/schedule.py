"""All rows of topic ``market_schedule`` in memory, as the topic has them.

What the rows mean is for ``barstream.core.schedule``; here they are only kept, so that a
series can be judged again whenever one of its rows changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barstream.codecs.session import decode_session, split_session_key
from barstream.core.schedule import Series, SessionRow

Record = tuple[int, bytes]
"""Partition and raw key: what compaction holds to be one record."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """The newest record of a key: its row, or None where a tombstone withdrew it."""

    partition: int
    key: bytes
    offset: int
    timestamp_us: int
    trading_date: int
    session: int
    row: SessionRow | None

    @property
    def age(self) -> tuple[int, int, int]:
        return self.timestamp_us, self.offset, self.partition


class ScheduleRows:
    """Rows by series, fed record by record.

    Producers that hash differently may put one session into two partitions, or spell its
    key in two ways: then the record produced last counts.

    Attributes:
        refused: records that hold no row, with the reason; they stand for nothing.
        records: how many records were applied.
    """

    def __init__(self) -> None:
        self.refused: dict[Record, str] = {}
        self.records = 0
        self._stored: dict[Series, dict[Record, StoredRow]] = {}
        self._series_of: dict[Record, Series] = {}
        self._dirty: set[Series] = set()

    def apply(
        self, key: bytes | None, value: bytes | None, partition: int, offset: int, timestamp_us: int
    ) -> None:
        """Take one record of the topic; a ``RecordHandler`` of the topic reader."""
        self.records += 1
        record = partition, key or b""
        self._forget(record)
        row: SessionRow | None = None
        try:
            if value is None:
                broker, symbol, trading_date, session = split_session_key(record[1])
            else:
                row = decode_session(value)
                broker, symbol, trading_date, session = (
                    row.broker,
                    row.symbol,
                    row.trading_date,
                    row.session,
                )
        except ValueError as error:
            # A tombstone for a key we never understood has nothing more to withdraw.
            if value is not None:
                self.refused[record] = f"partition={partition} offset={offset} key={key!r}: {error}"
            return
        series = broker, symbol
        self._series_of[record] = series
        self._stored.setdefault(series, {})[record] = StoredRow(
            partition, record[1], offset, timestamp_us, trading_date, session, row
        )
        self._dirty.add(series)

    def _forget(self, record: Record) -> None:
        self.refused.pop(record, None)
        series = self._series_of.pop(record, None)
        if series is not None:
            del self._stored[series][record]
            self._dirty.add(series)

    def take_dirty(self) -> set[Series]:
        """The series touched since the last call."""
        dirty, self._dirty = self._dirty, set()
        return dirty

    @property
    def is_dirty(self) -> bool:
        return bool(self._dirty)

    def series(self) -> Iterable[Series]:
        """Every series with a record, withdrawn ones included."""
        return self._stored.keys()

    def rows_of(self, series: Series) -> list[SessionRow]:
        """The rows in force of one series, in no order."""
        newest: dict[tuple[int, int], StoredRow] = {}
        for stored in self._stored.get(series, {}).values():
            identity = stored.trading_date, stored.session
            other = newest.get(identity)
            if other is None or stored.age > other.age:
                newest[identity] = stored
        return [stored.row for stored in newest.values() if stored.row is not None]

    def records_of(self, row: SessionRow) -> list[Record]:
        """Every record that holds the session of ``row``, under whatever key and partition."""
        return [
            record
            for record, stored in self._stored.get((row.broker, row.symbol), {}).items()
            if (stored.trading_date, stored.session) == (row.trading_date, row.session)
            and stored.row is not None
        ]

    def partition_of(self, key: bytes, partitions: int) -> int | None:
        """The first of ``partitions`` in which ``key`` was seen, withdrawn or not."""
        return next((each for each in range(partitions) if (each, key) in self._series_of), None)

    def __len__(self) -> int:
        """Records that hold a row."""
        return sum(
            stored.row is not None for held in self._stored.values() for stored in held.values()
        )
