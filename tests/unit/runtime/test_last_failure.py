"""Why a worker ended by itself is known to the next one, until a stop that was asked for."""

from __future__ import annotations

import time
from pathlib import Path

from barstream.errors import TailLost
from barstream.runtime.last_failure import NAME, LastFailure, note_end


def test_a_failure_is_kept_until_an_orderly_stop(tmp_path: Path) -> None:
    assert LastFailure.read(tmp_path) is None
    before_s = time.time()
    note_end(tmp_path, TailLost("ticks[0] must hold"))
    found = LastFailure.read(tmp_path)
    assert found is not None
    assert found.reason == "TailLost"
    assert before_s <= found.time_s <= time.time()
    note_end(tmp_path, None)
    assert LastFailure.read(tmp_path) is None
    note_end(tmp_path, None)


def test_a_file_that_cannot_be_understood_or_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"reason": "TailLost"}')
    assert LastFailure.read(tmp_path) is None
    note_end(tmp_path / "not there", TailLost("gone"))
