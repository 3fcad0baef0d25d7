"""Which of many Avro bodies are well-formed, found in columns.

`scan` says the same as `barstream.codecs.avro.reference`, for flat schemas and all records at
once: the cost per record does not depend on how many are garbage.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.avro.row_layout import Slot

Longs = NDArray[np.int64]
Positions = NDArray[np.intp]

_VARINT_BYTES = 10


def scan(values: list[bytes], slots: list[Slot], skip: int) -> Iterator[tuple[str, Positions]]:
    """What is wrong with which of ``values``; positions that are never given are well-formed.

    Args:
        values: the records.
        slots: the fields of the schema.
        skip: bytes of header before each body; every value is at least so long.

    Yields:
        A detail, and the positions of the records it is said of.
    """
    if not values:
        return
    cursor = _Cursor(values, skip)
    for slot in slots:
        cursor.pass_over(slot)
        bad = cursor.drop()
        if len(bad):
            yield f"field {slot.path}: the bytes end, or are no {slot.kind}", bad
    cursor.end()
    bad = cursor.drop()
    if len(bad):
        yield "bytes are left over after the record", bad


class _Cursor:
    """A position in each record still alive."""

    def __init__(self, values: list[bytes], skip: int) -> None:
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        self._data = np.frombuffer(b"".join(values), np.uint8)
        self._end = np.cumsum(sizes)
        self._at = self._end - sizes + skip
        self._record: Positions = np.arange(len(values))
        self._bad = np.zeros(len(values), np.bool_)

    def drop(self) -> Positions:
        """Leave the records found bad since the last call behind; their positions."""
        if not self._bad.any():
            return self._record[:0]
        dropped, kept = self._record[self._bad], ~self._bad
        self._record, self._at, self._end = (
            self._record[kept],
            self._at[kept],
            self._end[kept],
        )
        self._bad = np.zeros(len(self._record), np.bool_)
        return dropped

    def end(self) -> None:
        self._bad |= self._at != self._end

    def pass_over(self, slot: Slot) -> None:
        rows = np.arange(len(self._at))
        if slot.branch is not None:
            branch = self._varints(rows)
            self._bad |= (branch != 0) & (branch != 1)
            rows = rows[(branch == slot.branch) & ~self._bad]
        if slot.kind == "boolean":
            self._advance(rows, 1)
            whole = rows[~self._bad[rows]]
            self._bad[whole] = self._data[self._at[whole] - 1] > 1
        elif slot.size:
            self._advance(rows, slot.size)
        else:
            numbers = self._varints(rows)
            if slot.kind == "enum":
                self._bad[rows] |= (numbers < 0) | (numbers >= slot.symbols)
            elif slot.kind != "varint":
                self._advance(rows, numbers)

    def _advance(self, rows: Positions, sizes: Longs | int) -> None:
        at = self._at[rows]
        fits = (sizes <= self._end[rows] - at) & np.greater_equal(sizes, 0)
        self._bad[rows] |= ~fits
        self._at[rows] = at + np.where(fits, sizes, 0)

    def _varints(self, rows: Positions) -> Longs:
        raw = np.zeros(len(self._at), np.uint64)
        pending = rows[~self._bad[rows]]
        for shift in range(0, 7 * _VARINT_BYTES, 7):
            at = self._at[pending]
            short = at >= self._end[pending]
            if short.any():
                self._bad[pending[short]] = True
                pending, at = pending[~short], at[~short]
            byte = self._data[at]
            raw[pending] |= (byte & np.uint8(0x7F)).astype(np.uint64) << np.uint64(shift)
            self._at[pending] = at + 1
            pending = pending[byte >= 0x80]
            if not len(pending):
                break
        self._bad[pending] = True
        raw = raw[rows]
        sign = -(raw & np.uint64(1)).view(np.int64)
        return (raw >> np.uint64(1)).view(np.int64) ^ sign
