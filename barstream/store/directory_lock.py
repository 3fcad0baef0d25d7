"""One worker a data directory: a lock that ends with the process, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from barstream.errors import BarstreamError

NAME: Final = "barstream-worker.lock"
#: Of file systems that have no locks; RocksDB still refuses to open a database twice.
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class DataDirectoryError(BarstreamError):
    """The data directory cannot be used, or another worker uses it: give this one its own."""


class DirectoryLock:
    """Held from the moment it is made; the file holds the number of the process.

    Args:
        directory: made if it is not there.

    Raises:
        DataDirectoryError: it cannot be written to, or another worker holds it.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise DataDirectoryError(
                f"data_dir must be a directory this user may write to, but {directory} cannot be "
                f"used ({(error.strerror or str(error)).lower()}): set BARSTREAM_DATA_DIR or "
                "--data-dir to one that can"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise DataDirectoryError(
                f"every worker needs a data_dir of its own, but another one runs in {directory}"
                f"{f' (process {holder})' if holder else ''}: give this one another with "
                "--data-dir, or stop the other"
            ) from error
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let another worker have it; the file stays, so that nobody locks one that is gone."""
        self._file.close()
