"""All rows of topic ``market_schedule`` in memory, as the topic has them.

What the rows mean is for ``barstream.market.schedule``; here they are only kept, so that a
series can be judged again whenever one of its rows changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barstream.codecs.topics.session import NO_REGISTRY, read_session
from barstream.codecs.topics.session_schemas import SessionSchemas
from barstream.market.schedule import Series, SessionRow

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

    Args:
        schemas: knows the schemas that rows name, and how brokers and symbols are spelled.

    Attributes:
        refused: records that hold no row, with the reason; they stand for nothing.
        records: how many records were applied.
        name_rule: how names are spelled.
        ends: by partition, one past the last of them.
    """

    def __init__(self, schemas: SessionSchemas = NO_REGISTRY) -> None:
        self.refused: dict[Record, str] = {}
        self.records = 0
        self._schemas = schemas
        self.name_rule = schemas.name_rule
        #: Records whose schema is still to be fetched: value, offset and timestamp.  One the
        #: registry does not have is in ``refused`` meanwhile.
        self._waiting: dict[Record, tuple[bytes, int, int]] = {}
        self.ends: dict[int, int] = {}
        self._stored: dict[Series, dict[Record, StoredRow]] = {}
        self._series_of: dict[Record, Series] = {}
        self._dirty: set[Series] = set()
        self._newly_refused: list[Record] = []

    def apply(
        self, key: bytes | None, value: bytes | None, partition: int, offset: int, timestamp_us: int
    ) -> None:
        """Take one record of the topic; a ``RecordHandler`` of the topic reader."""
        self.records += 1
        self.ends[partition] = max(self.ends.get(partition, 0), offset + 1)
        record = partition, key or b""
        self._forget(record)
        if value is not None and self._schemas.missing((value,)):
            self._waiting[record] = value, offset, timestamp_us
            return
        self._enter(record, value, offset, timestamp_us)

    async def fetch_schemas(self) -> None:
        """Take the records that wait for their schema; to be awaited before rows are asked for.

        Raises:
            RegistryError: the registry does not answer; they go on waiting.
        """
        if not self._waiting:
            return
        await self._schemas.fetch(self._schemas.missing(row[0] for row in self._waiting.values()))
        for record, (value, offset, timestamp_us) in list(self._waiting.items()):
            if self._schemas.missing((value,)):
                continue  # it came meanwhile, and names yet another schema
            if not self._schemas.may_come(value):
                del self._waiting[record]
                self.refused.pop(record, None)
            elif record in self.refused:
                continue
            self._enter(record, value, offset, timestamp_us)

    def _enter(self, record: Record, value: bytes | None, offset: int, timestamp_us: int) -> None:
        partition, key = record
        try:
            identity, row = read_session(key, value, self._schemas)
        except ValueError as error:
            # A tombstone for a key we never understood has nothing more to withdraw.
            if value is not None:
                self.refused[record] = f"partition={partition} offset={offset} key={key!r}: {error}"
                self._newly_refused.append(record)
            return
        broker, symbol, trading_date, session = identity
        series = broker, symbol
        self._series_of[record] = series
        self._stored.setdefault(series, {})[record] = StoredRow(
            partition, key, offset, timestamp_us, trading_date, session, row
        )
        self._dirty.add(series)

    def _forget(self, record: Record) -> None:
        self.refused.pop(record, None)
        self._waiting.pop(record, None)
        series = self._series_of.pop(record, None)
        if series is not None:
            del self._stored[series][record]
            self._dirty.add(series)

    def take_dirty(self) -> set[Series]:
        """The series touched since the last call."""
        dirty, self._dirty = self._dirty, set()
        return dirty

    def take_refused(self) -> list[str]:
        """Why records were refused since the last call, of those that still are."""
        records, self._newly_refused = dict.fromkeys(self._newly_refused), []
        return [self.refused[record] for record in records if record in self.refused]

    @property
    def is_dirty(self) -> bool:
        """Whether there is anything to judge again, to fetch or to report."""
        waiting = (row[0] for row in self._waiting.values())
        return bool(self._dirty or self._newly_refused or self._schemas.missing(waiting))

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
