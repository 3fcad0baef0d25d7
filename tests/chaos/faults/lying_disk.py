"""A worker on a disk that does not give back what was written: run in place of ``barstream``.

Some finals of minutes come back with another high or, with the argument ``cut``, cut short; below
any checksum, because what is changed is what reaches the disk.  What is published is not touched.
Once the directory was moved away, as the worker then asks for, the disk is a good one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from barstream.cli import main
from barstream.codecs.avro import decode, encode
from barstream.engine.local import LocalPartition

Row = tuple[bytes, bytes | None]
#: Name of the table of finals of minutes.
_MINUTES = "rate_1m_final"


def _higher(value: bytes) -> bytes:
    bar = decode("bar", value)
    return encode("bar", bar | {"high": bar["high"] + 1.0})


def _cut(value: bytes) -> bytes:
    return value[:9]


def install(lie: Callable[[bytes], bytes]) -> None:
    """Let every fifth minute of each write to a table of minutes be a lie."""
    truly = LocalPartition.write

    def lying(row: Row) -> Row:
        key, value = row
        # the notes of the table begin with a NUL
        is_bar = value is not None and not key.startswith(b"\0")
        return (key, lie(value)) if value and is_bar and key[-5:-4] in b"16" else row

    def falsely(self: LocalPartition, rows: Iterable[Row], offset: int) -> None:
        # parents stay as they are: the audit holds them to their children
        lies = self._store.table_name == _MINUTES
        truly(self, [lying(row) for row in rows] if lies else rows, offset)

    LocalPartition.write = falsely  # type: ignore[method-assign]


if __name__ == "__main__":
    directory = Path(os.environ["BARSTREAM_DATA_DIR"])
    if not list(directory.parent.glob(f"{directory.name}.away*")):
        install(_cut if sys.argv[1:] == ["cut"] else _higher)
    sys.argv[1:] = ["worker"]
    main()
