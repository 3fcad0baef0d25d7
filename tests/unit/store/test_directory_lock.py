"""One worker a data directory, for as long as the process lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from barstream.store.directory_lock import NAME, DataDirectoryError, DirectoryLock

HOLD = (
    "import sys, time; from pathlib import Path; "
    "from barstream.store.directory_lock import DirectoryLock; "
    "lock = DirectoryLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
)


def test_another_process_is_refused_by_the_number_of_the_first(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DataDirectoryError, match=rf"process {other.pid}\)"):
            DirectoryLock(tmp_path)
        # however it ends: the system lets go of what a process held
        other.send_signal(signal.SIGKILL)
        other.wait()
    DirectoryLock(tmp_path).release()


def test_it_is_made_where_there_is_none_and_free_when_it_was_released(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    for _ in range(2):
        lock = DirectoryLock(place)
        assert (place / NAME).read_text() == f"{os.getpid()}\n"
        with pytest.raises(DataDirectoryError, match="another one runs in"):
            DirectoryLock(place)
        lock.release()


def test_a_directory_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataDirectoryError, match="must be a directory this user may write to"):
            DirectoryLock(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataDirectoryError, match="permission denied"):
        DirectoryLock(tmp_path)


_OF_PYTHON: Final = """
import logging
from barstream.config import load_settings
from barstream.errors import BarstreamError
from barstream.worker import Worker

worker = Worker(load_settings())
assert not logging.getLogger().handlers, "making one changes nothing of the process"
try:
    worker.run()
except BarstreamError as error:
    print(error)
"""


def test_a_worker_that_python_runs_wants_the_directory_as_well(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    told = subprocess.run(
        [sys.executable, "-c", _OF_PYTHON],
        env={"BARSTREAM_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    lock.release()
    assert f"another one runs in {tmp_path}" in told.stdout
