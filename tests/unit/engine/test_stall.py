"""A partition that stands still before its end is told from one with nothing to read."""

from __future__ import annotations

from barstream.engine.stall import Progress


def test_a_partition_that_stands_still_before_its_end_is_stalled() -> None:
    progress = Progress(allowed_s=100)
    assert progress.look({0: 5, 1: 5}, {0: 9, 1: 9}, 0) == []
    assert progress.look({0: 5, 1: 6}, {0: 9, 1: 9}, 60) == []
    assert progress.look({0: 5, 1: 6}, {0: 9, 1: 9}, 101) == [0]


def test_a_quiet_partition_at_its_end_is_not_stalled_however_long() -> None:
    progress = Progress(allowed_s=100)
    for now_s in range(0, 1000, 50):
        assert progress.look({0: 9}, {0: 9}, now_s) == []
    assert progress.look({0: 9}, {0: 10}, 1000) == []
    assert progress.look({0: 9}, {0: 10}, 1101) == [0]


def test_a_partition_that_was_given_up_is_forgotten() -> None:
    progress = Progress(allowed_s=100)
    progress.look({0: 5}, {0: 9}, 0)
    progress.look({}, {}, 50)
    assert progress.look({0: 5}, {0: 9}, 120) == []
