"""Flat Avro bodies to columns, by pyruhvro, checked.

What pyruhvro 0.4 does by itself (tried): cut, over-long or impossible bodies raise ValueError
for the whole list, nothing is allocated on the word of a length, nothing panics for the kinds
of `barstream.codecs.avro.row_layout`.  But bytes left over after a record pass in silence, and so
do texts that are no UTF-8: both are checked here, in columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyruhvro
from numpy.typing import NDArray

from barstream.codecs.avro.row_layout import Slot, spell

Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]

_HEADER_BYTES = 5
_HEADER_COLUMNS = 2


class Columns:
    """The fields of ``rows`` records, each an Arrow array (several for a fixed)."""

    def __init__(self, rows: int, arrays: dict[str, list[Any]], texts: list[str]) -> None:
        self.rows = rows
        self._arrays = arrays
        self._texts = texts

    def absent(self, path: str) -> Mask | None:
        """Where a field is null, shape (rows,); None when it nowhere is."""
        array = self._arrays[path][0]
        if not array.null_count:
            return None
        return ~_present(array)

    def values(self, path: str) -> NDArray[Any]:
        """A number field, or the indices of an enum; anything where it is null."""
        return _values(self._arrays[path][0])

    def words(self, path: str) -> tuple[NDArray[np.int32], list[bytes]]:
        """A text field as indices into its distinct values; anything where it is null."""
        array = _as_binary(self._arrays[path][0])
        encoded = (array.fill_null(b"") if array.null_count else array).dictionary_encode()
        return _values(encoded.indices), encoded.dictionary.to_pylist()

    def blobs(self, path: str) -> list[bytes]:
        """A text, bytes or fixed field; anything where it is null."""
        arrays = self._arrays[path]
        if pa.types.is_floating(arrays[0].type):
            parts = np.column_stack([_values(array) for array in arrays])
            return [row.tobytes() for row in parts]
        return [blob or b"" for blob in _as_binary(arrays[0]).to_pylist()]

    def not_utf8(self) -> Iterator[tuple[str, Mask]]:
        """Text fields that are no UTF-8, and in which records."""
        for path in self._texts:
            if not _is_utf8(self._arrays[path][0]):
                yield path, np.array([not _decodes(blob) for blob in self.blobs(path)], np.bool_)


class ColumnReader:
    """Reads lists of bodies of one flat schema.

    Args:
        slots: the fields.
        framed: whether each value begins with a five byte header.
    """

    def __init__(self, slots: list[Slot], *, framed: bool) -> None:
        self._slots = slots
        self._framed = framed
        self._schema = spell(slots, framed=framed)
        self._texts = [slot.path for slot in slots if slot.kind == "string"]

    def read(self, values: Sequence[bytes | None]) -> Columns:
        """The columns of ``values``.

        Raises:
            ValueError: a value may be no body of the schema (or is one written in an unusual
                way): the list has to be looked at record by record.
            TypeError: a value is None.
        """
        return self._read(values, exact=False)

    def read_sound(self, values: list[bytes]) -> Columns:
        """The columns of values that are known to be well-formed."""
        return self._read(values, exact=True)

    def _read(self, values: Sequence[Any], *, exact: bool) -> Columns:
        batch = pyruhvro.deserialize_array(values, self._schema)
        arrays = batch.columns
        at = _HEADER_COLUMNS if self._framed else 0
        # Nobody writes longer numbers than needed, so the lengths tell what was consumed:
        # each record has at least the length computed, hence equal sums mean equal records.
        consumed = _HEADER_BYTES * len(values) if self._framed else 0
        fields: dict[str, list[Any]] = {}
        for slot in self._slots:
            taken = slot.size // 8 if slot.kind == "fixed" else 1
            fields[slot.path] = list(arrays[at : at + taken])
            at += taken
            if not exact:
                consumed += _wire_length(slot, fields[slot.path][0])
        if not exact and consumed != sum(map(len, values)):
            raise ValueError("bytes are left over")
        return Columns(len(values), fields, self._texts)


def _wire_length(slot: Slot, array: Any) -> int:
    present: int = len(array) - array.null_count
    length: int = 0 if slot.branch is None else len(array)
    if slot.size:
        return length + present * slot.size
    if slot.kind in ("string", "bytes"):
        starts = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
        sizes = np.diff(starts)
        if array.null_count:
            sizes = sizes[_present(array)]
        return length + int(sizes.sum()) + _varint_bytes(sizes.astype(np.int64))
    numbers = _values(array)
    if array.null_count:
        numbers = numbers[_present(array)]
    if slot.kind == "enum" and len(numbers) and not _within(numbers, slot.symbols):
        raise ValueError("an enum has fewer symbols")
    return length + _varint_bytes(numbers)


def _varint_bytes(numbers: Longs) -> int:
    """Bytes that zigzag varints of ``numbers`` take together."""
    if not len(numbers):
        return 0
    low, high = int(numbers.min()), int(numbers.max())
    least, most = (1, _zigzag_bytes(high)) if low >= 0 else (1, 10)
    if low >= 0 and (least := _zigzag_bytes(low)) == most:
        return len(numbers) * most
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    thresholds = [np.uint64(1 << 7 * size) for size in range(least, most)]
    return len(numbers) * least + sum(int(np.count_nonzero(zigzag >= t)) for t in thresholds)


def _zigzag_bytes(number: int) -> int:
    return max(1, -(-(number << 1).bit_length() // 7))


def _within(numbers: Longs, limit: int) -> bool:
    return bool(numbers.min() >= 0 and numbers.max() < limit)


def _present(array: Any) -> Mask:
    """Where an array is not null, shape (n,), of one with nulls.

    By its bits: ``to_numpy`` of Arrow imports pandas where that is installed, for half a second.
    """
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    end = array.offset + len(array)
    there = np.unpackbits(bits, count=end, bitorder="little")[array.offset :]
    return there.astype(np.bool_)


def _values(array: Any) -> NDArray[Any]:
    """The values of a primitive array, whatever stands where it is null."""
    kind = array.type.to_pandas_dtype()
    width = np.dtype(kind).itemsize
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * width)


def _as_binary(array: Any) -> Any:
    return array.view(pa.binary())


def _is_utf8(array: Any) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decodes(blob: bytes) -> bool:
    try:
        blob.decode()
    except UnicodeDecodeError:
        return False
    return True
