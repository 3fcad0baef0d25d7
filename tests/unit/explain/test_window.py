"""Windows cover a span, and what is told of them goes from nothing to all of its offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from barstream.explain.window import WINDOW, Progress, backward, forward
from barstream.log.snapshot import Span


@pytest.mark.parametrize(("way", "step"), [(forward, 1), (backward, -1)])
def test_progress_ends_at_the_number_of_offsets(
    way: Callable[[Span, str, Progress], Iterator[Span]], step: int
) -> None:
    told: list[tuple[str, int, int]] = []
    span = Span(100, 100 + 2 * WINDOW + 7)
    windows = list(way(span, "bars", lambda *each: told.append(each)))[::step]
    assert [windows[0].begin, windows[-1].end] == [span.begin, span.end]
    assert all(one.end == other.begin for one, other in pairwise(windows))
    assert [done for _, done, _ in told][-1] == 2 * WINDOW + 7
    assert {total for _, _, total in told} == {2 * WINDOW + 7}
