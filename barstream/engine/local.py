"""The local RocksDB of a table's partition: bulk writes and range reads.

Faust opens and owns the databases; it writes row by row (18 us a row for the call alone) and
cannot seek, so rows go in as one ``WriteBatch`` and bars are read with an iterator here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rocksdict import WriteBatch


class LocalPartition:
    """One partition of one table on this worker's disk.

    Args:
        store: the RocksDB store of a Faust table (``table.data``).
        partition: number of the partition.
    """

    def __init__(self, store: Any, partition: int) -> None:
        self._store = store
        self._partition = partition

    @property
    def _db(self) -> Any:
        return self._store._db_for_partition(self._partition)

    def offset(self) -> int | None:
        """Offset of the changelog up to which (inclusive) the rows are here."""
        found = self._db.get(self._store.offset_key)
        return None if found is None else int(found)

    def write(self, rows: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        """Put rows (None deletes) and the changelog offset they reach, atomically."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self._store.offset_key, b"%d" % offset)
        self._db.write(batch)

    def get(self, key: bytes) -> bytes | None:
        """Value of a key."""
        value: bytes | None = self._db.get(key)
        return value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All rows by key."""
        for key, value in self._db.items():
            if key != self._store.offset_key:
                yield key, value

    def range(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows with ``first <= key < end``, ascending, by one seek."""
        cursor = self._db.iter()
        cursor.seek(first)
        while cursor.valid() and (key := cursor.key()) < end:
            yield key, cursor.value()
            cursor.next()

    def range_back(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows with ``first <= key < end``, descending, by one seek."""
        cursor = self._db.iter()
        cursor.seek_for_prev(end)
        if cursor.valid() and cursor.key() == end:
            cursor.prev()
        while cursor.valid() and (key := cursor.key()) >= first:
            yield key, cursor.value()
            cursor.prev()
