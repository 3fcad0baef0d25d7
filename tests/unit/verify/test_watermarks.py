"""A watermark is that of the whole log before an offset, in whatever blocks the log goes by."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from barstream.codecs.avro.body import decode, encode
from barstream.market.schedule import SessionRow
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from barstream.rules.series import Rules
from barstream.verify.findings import Finding
from barstream.verify.tick_class import Block
from barstream.verify.watermarks import NEVER_US, Watermarks
from tests.property.engine_cases import Case, Store, Tick, feed
from tests.property.verify_cases import verdict

#: Series, offset and event time of ticks; offsets 3 and 6 are control records.
LOG = [(0, 0, 50), (1, 1, 10), (0, 2, 40), (0, 4, 70), (0, 5, 60), (1, 7, 5), (0, 8, 20)]
END = 9
CUTS = [cut for count in range(4) for cut in combinations(range(1, END), count)]


def parts(cut: tuple[int, ...], end: int) -> list[tuple[int, int]]:
    return list(pairwise((0, *cut, end)))


def block(begin: int, end: int) -> Block:
    rows = [row for row in LOG if begin <= row[1] < end]
    series, offset, time_us = np.array(rows, np.int64).reshape(-1, 3).T
    prices = np.ones(len(rows))
    return Block(series, time_us, time_us, offset, prices, prices, np.zeros(len(rows), np.int8))


def latest_below(series: int, offset: int) -> int:
    return max((t for who, at, t in LOG if who == series and at < offset), default=NEVER_US)


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_a_watermark_is_carried_from_block_to_block(cut: tuple[int, ...]) -> None:
    asked = [(series, offset) for offset in (9, 3, 0, 5, 7, 1) for series in (1, 0, 2)]
    marks = Watermarks(*np.array(asked, np.int64).T)
    before = np.concatenate([marks.take(block(*part), part[1]) for part in parts(cut, END)])
    assert before.tolist() == [latest_below(series, offset) for series, offset, _ in LOG]
    assert marks.answers.tolist() == [latest_below(*each) for each in asked]
    assert marks.latest(np.array([0, 1, 2])).tolist() == [70, 10, NEVER_US]


GRACE_US = 5 * SECOND_US
#: The tick at 1 closes A's first minute with close offset 2; the one at 3 is behind the watermark.
TICKS = [
    Tick(0, "A", 0, 1.0),
    Tick(1, "A", MINUTE_US + GRACE_US, 2.0),
    Tick(2, "B", MINUTE_US, 3.0),
    Tick(3, "A", MINUTE_US, 4.0),
    Tick(4, "B", MINUTE_US, 5.0),
    Tick(5, "A", MINUTE_US, 6.0),
]
CASE = Case(
    {name: [SessionRow("B", name, 0, 0, 0, DAY_US)] for name in ("A", "B")},
    Rules(GRACE_US, 1), TICKS, [], 6,
)  # fmt: skip


def judged(close_offset: int, cut: tuple[int, ...]) -> list[Finding]:
    """Findings where the first bar, which closed at 2, says it closed at another offset."""
    engine, store = CASE.engine(), Store()
    feed(engine, CASE.ticks, 0, CASE.end)
    store.flush(engine)
    ((key, value),) = store.finals
    row = decode("bar", value or b"")
    assert row["close_offset"] == 2
    store.finals[0] = key, encode("bar", row | {"close_offset": close_offset})
    cuts = parts(cut, CASE.end)
    return verdict(CASE, store.finals, store.rejected, store.series, cuts).findings.kept


@pytest.mark.parametrize("cut", [(), *((at,) for at in range(1, 6)), (1, 2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize(
    ("close_offset", "why"),
    [
        (1, "its ticks had reached 1970-01-01T00:00:00.000000Z"),
        (2, None),
        (3, "a tick at or before offset 1 had passed its watermark already"),
        (4, "a tick at or before offset 2 had passed its watermark already"),
        (5, "a tick at or before offset 3 had passed its watermark already"),
        (6, "a tick at or before offset 4 had passed its watermark already"),
    ],
)
def test_a_close_is_judged_alike_wherever_the_blocks_end(
    close_offset: int, why: str | None, cut: tuple[int, ...]
) -> None:
    found = judged(close_offset, cut)
    if why is None:
        assert found == []
    else:
        assert [(each.kind, each.rule) for each in found] == [("difference", "close")]
        assert why in found[0].detail
