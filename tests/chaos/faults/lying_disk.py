"""A worker on a disk that does not give back what was written: run in place of ``barstream``.

Some finals of minutes come back with another high, some cut short; below any checksum, because
what is changed is what reaches the disk.  What is published is not touched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from barstream.cli import main
from barstream.codecs.avro import decode, encode
from barstream.engine.local import LocalPartition

Row = tuple[bytes, bytes | None]
#: Name of the table of finals of minutes.
_MINUTES = "rate_1m_final"
#: Of this series rows are cut short.
_CUT = "S03"


def _lie(row: Row) -> Row:
    key, value = row
    try:
        bar = decode("bar", value or b"")
    except ValueError:
        return row
    minute = bar["bucket_start"] // 60_000_000 if isinstance(bar["bucket_start"], int) else 0
    if minute % 5 != 1:
        return row
    if bar["symbol"] == _CUT:
        return key, (value or b"")[:9]
    return key, encode("bar", bar | {"high": bar["high"] + 1.0})


def install() -> None:
    """Let every write of a table of minutes lie."""
    truly = LocalPartition.write

    def falsely(self: LocalPartition, rows: Iterable[Row], offset: int) -> None:
        # parents stay as they are: the audit holds them to their children
        lies = self._store.table_name == _MINUTES
        truly(self, [_lie(row) for row in rows] if lies else rows, offset)

    LocalPartition.write = falsely  # type: ignore[method-assign]


if __name__ == "__main__":
    install()
    sys.argv[1:] = ["worker"]
    main()
