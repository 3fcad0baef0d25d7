"""A partition that stands still before its end is told from one with nothing to read."""

from __future__ import annotations

from barstream.kafka.read_progress import Progress


def test_a_partition_that_stands_still_before_its_end_is_stalled() -> None:
    progress = Progress(allowed=2)
    assert progress.look({0: 5, 1: 5}, {0: 9, 1: 9}) == []
    assert progress.look({0: 5, 1: 6}, {0: 9, 1: 9}) == []
    assert progress.look({0: 5, 1: 6}, {0: 9, 1: 9}) == []
    assert progress.look({0: 5, 1: 6}, {0: 9, 1: 9}) == [0]


def test_a_quiet_partition_at_its_end_is_not_stalled_however_long() -> None:
    progress = Progress(allowed=2)
    for _ in range(20):
        assert progress.look({0: 9}, {0: 9}) == []
    assert [progress.look({0: 9}, {0: 10}) for _ in range(3)] == [[], [], [0]]


def test_a_partition_that_was_given_up_is_forgotten() -> None:
    progress = Progress(allowed=2)
    progress.look({0: 5}, {0: 9})
    progress.look({}, {})
    assert [progress.look({0: 5}, {0: 9}) for _ in range(3)] == [[], [], []]
