"""The local RocksDB of a table's partition: bulk writes and range reads.

Faust opens and owns the databases; it writes row by row (18 us a row for the call alone) and
cannot seek, so rows go in as one ``WriteBatch`` and bars are read with an iterator here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from rocksdict import WriteBatch

from barstream.codecs.topics.batch_mark import BatchMark, mark_stored, stored
from barstream.errors import StateUnusable

#: Sorts before every key of a table, and no changelog has it.
_LAST_BATCH: Final = b"\0\0last batch"
#: How RocksDB begins the message of an exception that has no type of its own.
_CORRUPTION: Final = "Corruption"

Damaged = Callable[["LocalPartition", StateUnusable], None]
"""Told when what is on disk cannot be read, before the error is raised."""


def is_corruption(error: BaseException) -> bool:
    """Whether RocksDB says that its files are not what it wrote."""
    return str(error).startswith(_CORRUPTION)


class LocalPartition:
    """One partition of one table on this worker's disk.

    Every method raises `StateUnusable` when the files are damaged: an iterator of RocksDB ends
    at a damaged block as if there were no more rows, and must be asked.

    Args:
        store: the RocksDB store of a Faust table (``table.data``).
        partition: number of the partition.
        damaged: told of damage.
    """

    def __init__(self, store: Any, partition: int, damaged: Damaged | None = None) -> None:
        self._store = store
        self._partition = partition
        self._damaged = damaged

    @property
    def store(self) -> Any:
        """The store it is a partition of."""
        return self._store

    @property
    def partition(self) -> int:
        """Its number."""
        return self._partition

    @property
    def _db(self) -> Any:
        return self._store._db_for_partition(self._partition)

    def offset(self) -> int | None:
        """Offset of the changelog up to which (inclusive) the rows are here."""
        found = self.get(self._store.offset_key)
        return None if found is None else int(found)

    def last_batch(self) -> BatchMark | None:
        """The batch of the changelog that holds `offset`; None: nothing is known of it."""
        found = self.get(_LAST_BATCH)
        return None if found is None else mark_stored(found)

    def write(
        self,
        rows: Iterable[tuple[bytes, bytes | None]],
        offset: int,
        last_batch: BatchMark | None = None,
    ) -> None:
        """Put rows (None deletes) and the changelog offset they reach, atomically.

        Args:
            rows: keys and values.
            offset: inclusive.
            last_batch: the batch of the changelog that holds it, where that is known.
        """
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self._store.offset_key, b"%d" % offset)
        if last_batch is None:
            batch.delete(_LAST_BATCH)
        else:
            batch.put(_LAST_BATCH, stored(last_batch))
        self._write(batch)

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch)
        except Exception as error:
            self._judge(error)
            raise

    def get(self, key: bytes) -> bytes | None:
        """Value of a key."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            self._judge(error)
            raise
        return value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All rows by key."""
        cursor = self._db.iter()
        cursor.seek_to_first()
        while cursor.valid():
            if (key := cursor.key()) not in (self._store.offset_key, _LAST_BATCH):
                yield key, cursor.value()
            cursor.next()
        self._check(cursor)

    def range(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows with ``first <= key < end``, ascending, by one seek."""
        cursor = self._db.iter()
        cursor.seek(first)
        while cursor.valid() and (key := cursor.key()) < end:
            yield key, cursor.value()
            cursor.next()
        self._check(cursor)

    def range_back(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows with ``first <= key < end``, descending, by one seek."""
        cursor = self._db.iter()
        cursor.seek_for_prev(end)
        if cursor.valid() and cursor.key() == end:
            cursor.prev()
        while cursor.valid() and (key := cursor.key()) >= first:
            yield key, cursor.value()
            cursor.prev()
        self._check(cursor)

    def _check(self, cursor: Any) -> None:
        if cursor.valid():
            return
        try:
            cursor.status()
        except Exception as error:
            self._judge(error)
            raise

    def _judge(self, error: Exception) -> None:
        if not is_corruption(error):
            return
        unusable = StateUnusable(
            f"what is on disk of partition {self._partition} must be what was written, but RocksDB "
            f"says: {error}. The worker stops; started again it moves these files aside and "
            "restores the partition from Kafka. Look at the disk"
        )
        if self._damaged is not None:
            self._damaged(self, unusable)
        raise unusable from error
