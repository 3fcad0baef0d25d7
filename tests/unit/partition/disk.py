"""Stores as Faust has them, with real RocksDB files that can be harmed."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Final

from rocksdict import Options, Rdict

from barstream.kafka.topics.outputs import OutputTopics

ROWS: Final = 20_000
OUTPUTS: Final = OutputTopics("ticks", "finals", "live", "rejected", "series", "seen")


class DiskStore:
    """The RocksDB store of a Faust table, as far as it is used."""

    offset_key = b"__faust\0offset__"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._dbs: dict[int, Any] = {}

    def partition_path(self, partition: int) -> Path:
        return self.path.with_name(f"{self.path.name}-{partition}.db")

    def _db_for_partition(self, partition: int) -> Any:
        if partition not in self._dbs:
            path = str(self.partition_path(partition))
            self._dbs[partition] = Rdict(path, Options(raw_mode=True))
        return self._dbs[partition]

    def stop(self) -> None:
        """Let go of everything, as the end of a process does, iterators of errors included."""
        gc.collect()
        for database in self._dbs.values():
            database.close()
        self._dbs.clear()

    def closed(self, partition: int) -> Path:
        """Where its files are, all rows being in sorted files."""
        database = self._dbs.pop(partition)
        database.flush()
        database.compact_range(None, None)
        database.close()
        return self.partition_path(partition)


def key(number: int) -> bytes:
    return b"k%06d" % number


def sst_of(path: Path) -> Path:
    """The largest sorted file."""
    return max(path.glob("*.sst"), key=lambda each: each.stat().st_size)


def overwrite(path: Path, at: float) -> None:
    """Write over some bytes in the middle (0.5) or at the beginning (0.0)."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * at))
        file.write(b"\xff" * 40)
