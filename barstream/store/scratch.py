"""A database that no table of Faust stands behind: for bars that are made and thrown away."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rocksdict import Options, Rdict


class ScratchDatabase:
    """One RocksDB under ``path``, as `LocalPartition` wants the store of a table."""

    offset_key: Final = b"\xff\xffoffset"

    def __init__(self, path: Path) -> None:
        self._db: Any = Rdict(str(path), Options(raw_mode=True))

    def _db_for_partition(self, _: int) -> Any:
        return self._db

    def close(self) -> None:
        """Let it go."""
        self._db.close()
