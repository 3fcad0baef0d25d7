"""A worker on a disk that does not give back what was written: run in place of ``barstream``.

Minutes come back with another high once their parent was written or, with the argument ``cut``,
some come back cut short; below any checksum, because what is changed is what reaches the disk.
Once the directory was moved away, as the worker then asks for, the disk is a good one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from barstream.cli import main
from barstream.codecs.avro.body import decode, encode
from barstream.store.rocksdb import LocalPartition

Row = tuple[bytes, bytes | None]
Write = Callable[[LocalPartition, Iterable[Row], int], None]
#: Names of the tables of finals of minutes, and of their first parents.
_MINUTES, _PARENTS = "rate_1m_final", "rate_5m_final"


def _higher(value: bytes) -> bytes:
    bar = decode("bar", value)
    return encode("bar", bar | {"high": bar["high"] + 1.0})


def _write_higher(truly: Write) -> Write:
    minutes: dict[int, LocalPartition] = {}

    def write(self: LocalPartition, rows: Iterable[Row], offset: int) -> None:
        rows = list(rows)
        truly(self, rows, offset)
        if self._store.table_name == _MINUTES:
            minutes[self._partition] = self
        if self._store.table_name == _PARENTS and self._partition in minutes:
            _lie_about_children(minutes[self._partition], rows, truly)

    return write


def _lie_about_children(minutes: LocalPartition, parents: list[Row], truly: Write) -> None:
    """Once a parent was written, its first minute has another high on disk."""
    reached = minutes.offset()
    for key, _ in parents:
        value = minutes.get(key) if _is_bar(key) else None
        if value is not None and reached is not None:
            truly(minutes, [(key, _higher(value))], reached)


def _write_cut(truly: Write) -> Write:
    def write(self: LocalPartition, rows: Iterable[Row], offset: int) -> None:
        lies = self._store.table_name == _MINUTES
        truly(self, [_cut(row) for row in rows] if lies else rows, offset)

    return write


def _cut(row: Row) -> Row:
    """Every fifth minute."""
    key, value = row
    return (key, value[:9]) if value and _is_bar(key) and key[-5:-4] in b"16" else row


def _is_bar(key: bytes) -> bool:
    """And no note of the table's own: a bar's key ends with its bucket."""
    return key.count(b"\0") == 2 and key.endswith(b":00Z")


if __name__ == "__main__":
    directory = Path(os.environ["BARSTREAM_DATA_DIR"])
    if not list(directory.parent.glob(f"{directory.name}.away*")):
        lying = _write_cut if sys.argv[1:] == ["cut"] else _write_higher
        LocalPartition.write = lying(LocalPartition.write)  # type: ignore[assignment,method-assign]
    sys.argv[1:] = ["worker"]
    main()
