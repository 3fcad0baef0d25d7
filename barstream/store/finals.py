"""The finals on this worker's disk, and which of them Kafka has deleted.

Kafka deletes by time of production: a bar of 2013 that was loaded today is kept as long as a bar
of today.  So nothing here goes by ``bucket_start`` or by the clock.  Offsets of the changelog
are cut into windows, about a day each, and of each window the earliest bar of each series is
noted, in the same write as the bars.  When the changelog begins behind a window, the bars of
that window that were not written again since are gone from Kafka; and what is earlier than
every bar noted in the windows after it was not written again.

That is exact for a series whose bars are written in order, and keeps more than Kafka has (never
less) where earlier bars were written later.  See ``docs/decisions/0006-local-retention.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

from rocksdict import WriteBatch

from barstream.codecs.topics.batch_mark import BatchMark
from barstream.errors import StateUnusable
from barstream.model.key import split_bar_key
from barstream.model.time import DAY_US, MINUTE_US
from barstream.store.rocksdb import Damaged, LocalPartition

# No name begins with these bytes: they are not UTF-8.
_WINDOW: Final = b"\xff\0"
_EARLIEST: Final = b"\xff\1"
_RETAINED: Final = b"\xfe"
_END: Final = b"\xff"


class FinalsPartition(LocalPartition):
    """One partition of the finals; ``bar_key`` to bar."""

    def __init__(self, store: Any, partition: int, damaged: Damaged | None = None) -> None:
        super().__init__(store, partition, damaged)
        #: First offsets of the windows, ascending; None until they are needed.
        self._starts: list[int] | None = None
        #: Of the window being written: earliest bar by series, both parts of its key.
        self._earliest: dict[bytes, bytes] = {}

    def write(
        self,
        rows: Iterable[tuple[bytes, bytes | None]],
        offset: int,
        last_batch: BatchMark | None = None,
    ) -> None:
        """Put rows, their changelog offset, and what is noted of them, atomically."""
        rows = list(rows)
        super().write([*rows, *self._notes(rows)], offset, last_batch)

    def _notes(self, rows: list[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes | None]]:
        notes: list[tuple[bytes, bytes | None]] = []
        starts = self._windows()
        if not starts:
            before = self.offset()
            starts.append(0 if before is None else before + 1)
            notes.append((_WINDOW + _number(starts[-1]), b"0"))
        earliest, changed = self._earliest, set()
        for key, _ in rows:
            cut = key.rfind(b"\0") + 1
            if not cut or key >= _WINDOW[:1] or key.startswith(_RETAINED):
                raise StateUnusable(
                    f"keys of finals are broker NUL symbol NUL bucket start, found {key!r}: the "
                    "topic of the table was written by another program; start over under another "
                    "app_id and topics.base"
                )
            series, start = key[:cut], key[cut:]
            known = earliest.get(series)
            if known is None or start < known:
                earliest[series] = start
                changed.add(series)
        place = _EARLIEST + _number(starts[-1])
        notes.extend((place + series, earliest[series]) for series in changed)
        return notes

    def _windows(self) -> list[int]:
        if self._starts is None:
            self._starts = [
                int.from_bytes(key[len(_WINDOW) :]) for key, _ in self.range(_WINDOW, _EARLIEST)
            ]
            if self._starts:
                self._earliest = dict(self._noted(self._starts[-1]))
        return self._starts

    def _noted(self, start: int) -> Iterator[tuple[bytes, bytes]]:
        first = _EARLIEST + _number(start)
        for key, value in self.range(first, _EARLIEST + _number(start + 1)):
            yield key[len(first) :], value

    def begin_window(self, now_us: int) -> bool:
        """Begin another window if the last one is a day old and holds anything."""
        starts, offset = self._windows(), self.offset()
        if not starts or offset is None or offset + 1 <= starts[-1]:
            return False
        opened_us = int(self.get(_WINDOW + _number(starts[-1])) or b"0")
        if now_us - opened_us < DAY_US:
            return False
        noted = [(_WINDOW + _number(offset + 1), b"%d" % now_us)]
        super().write(noted, offset, self.last_batch())
        starts.append(offset + 1)
        self._earliest = {}
        return True

    def expire(self, begin: int) -> Iterator[bytes]:
        """Delete what Kafka has deleted, a series at a time; writes may come in between.

        Args:
            begin: the first offset the changelog still has.

        Yields:
            The series (``broker NUL symbol NUL``) just looked at.
        """
        starts = self._windows()
        for start in [first for first, end in pairwise(starts) if end <= begin]:
            for series in [name for name, _ in self._noted(start)]:
                self._expire(series, begin)
                yield series
            batch = WriteBatch(raw_mode=True)
            batch.delete_range(_EARLIEST + _number(start), _EARLIEST + _number(start + 1))
            batch.delete(_WINDOW + _number(start))
            self._write(batch)
            starts.remove(start)

    def _expire(self, series: bytes, begin: int) -> None:
        starts = self._windows()
        kept = [first for first, end in pairwise(starts) if end > begin]
        notes = [self.get(_EARLIEST + _number(start) + series) for start in kept]
        notes.append(self._earliest.get(series))
        low = min((note for note in notes if note is not None), default=_END)
        last = next(self.range_back(series, series + low), None)
        if last is None:
            return
        retained_us = split_bar_key(last[0])[2] + MINUTE_US
        batch = WriteBatch(raw_mode=True)
        batch.delete_range(series, series + low)
        batch.put(_RETAINED + series, b"%d" % retained_us)
        self._write(batch)

    def retained_from_us(self, broker: str, symbol: str) -> int | None:
        """Bars of the series that start before this were deleted; None: none were."""
        found = self.get(_RETAINED + f"{broker}\0{symbol}\0".encode())
        return None if found is None else int(found)


def _number(offset: int) -> bytes:
    return offset.to_bytes(8)
