"""A series that was dropped: what of it stands in the log proves nothing, and excuses nothing."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.withdrawal import Withdrawn, WithdrawnEnd
from barstream.kafka.flush import Row
from barstream.log.finals import frame_of
from barstream.log.heartbeats import SCHEMA, TOMBSTONE
from barstream.log.selection import Selection
from barstream.log.snapshot import Span
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.runtime.flush import bar_rows
from barstream.verify.findings import Findings
from barstream.verify.graces import Graces
from barstream.verify.proof import Heartbeats
from barstream.verify.published_bars import Published, PublishedReading
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.tick_class import Judge
from tests.property.verify_cases import untold
from tests.sample_bar import SAMPLE

GRACE_US = 5 * SECOND_US
HOUR_US = 60 * MINUTE_US
WRONG = SAMPLE.replace(
    broker="X", symbol="A", bucket_start_us=HOUR_US, open_time_us=HOUR_US, close_time_us=HOUR_US + 1
)
RIGHT = WRONG.replace(high=9.0, first_offset=40, last_offset=41, close_offset=60)


def beats(*rows: tuple[Any, ...], withdrawn: Withdrawn | None = None) -> Heartbeats:
    """Heartbeats of (offset, append time, symbol, minute, barrier, source)."""
    frame = pl.DataFrame(
        [(0, at, appended_us, "X", symbol, minute_us, barrier, 0, source)
         for at, appended_us, symbol, minute_us, barrier, source in rows],
        schema=cast("Any", SCHEMA), orient="row",
    )  # fmt: skip
    numbers = SeriesNumbers()
    numbers.number(("X", "A"))
    numbers.number(("X", "B"))
    judge = Judge(0, numbers, Selection(), untold(), {})
    return Heartbeats(frame, [Graces.of(GRACE_US)], 0, judge, withdrawn=withdrawn)


def test_a_withdrawn_heartbeat_proves_no_close() -> None:
    rows = [(at, HOUR_US, name, 0, 7, "loader") for at, name in enumerate(("A", "B", "A"))]
    both, until = np.array([0, 1]), np.array([9, 9])
    assert beats(*rows).highest_minute(both, until).tolist() == [0, 0]
    gone = Withdrawn({("X", "A"): WithdrawnEnd(99, 3)})
    assert beats(*rows, withdrawn=gone).highest_minute(both, until).tolist() == [-(1 << 60), 0]
    one_came_since = Withdrawn({("X", "A"): WithdrawnEnd(99, 2)})
    assert beats(*rows, withdrawn=one_came_since).highest_minute(both, until).tolist() == [0, 0]


@pytest.mark.parametrize(("source", "lost"), [(TOMBSTONE, False), (None, True)])
def test_a_tombstone_is_no_place_where_a_heartbeat_is_missing(
    source: str | None, lost: bool
) -> None:
    # offset   0       1 2 3   (4: marker)  5        if 1 to 3 are none, one may have been there
    tombstones = [(at, HOUR_US, None, None, None, source) for at in (1, 2, 3) if source]
    first = (0, 0, "B", -2 * MINUTE_US, 0, "planner")
    after = (5, HOUR_US, "A", 0, 11, "planner")
    assert beats(first, *tombstones, after).may_be_lost(0, 0, 10) is lost


def published(rows: list[Row], from_us: int | None = None) -> tuple[Published, Findings]:
    """What is read of versions of bars in the order they were written."""
    written = RecordChunk(
        "finals", 0, 0, len(rows), [row.key for row in rows], [row.value for row in rows],
        np.arange(len(rows)), np.zeros(len(rows), np.int64), True,
    )  # fmt: skip
    reading, findings = PublishedReading(Selection(None, None, from_us)), Findings()
    for at in range(len(rows)):  # as chunks bring them
        reading.add(frame_of(written, [at]))
    return reading.published(Span(0, len(rows)), 0, SeriesNumbers(), findings, "1m"), findings


def test_a_bar_that_comes_again_after_its_tombstone_is_the_first_of_its_bucket() -> None:
    (wrong, right) = bar_rows([WRONG, RIGHT])
    found, findings = published([wrong, Row(wrong.key, None), right])
    assert not findings.kept
    assert found.bars["first_close"].to_list() == [RIGHT.close_offset]
    assert found.bars["high"].to_list() == [9.0]
    # and without the tombstone it is a lie
    assert published([wrong, right])[1].number("difference") == 1


def test_a_withdrawn_bar_is_not_the_last_before_a_range() -> None:
    later = WRONG.replace(bucket_start_us=HOUR_US + MINUTE_US)
    wrong, last, right = bar_rows([WRONG, later, RIGHT])
    tombstones = [Row(wrong.key, None), Row(last.key, None)]
    since = HOUR_US + 9 * MINUTE_US
    assert published([wrong, last], since)[0].before[0]["bucket_us"] == HOUR_US + MINUTE_US
    assert published([wrong, last, *tombstones], since)[0].before == {}
    again = published([wrong, last, *tombstones, right], since)[0]
    assert again.before[0]["close_offset"] == RIGHT.close_offset


def test_what_a_tombstone_took_is_known_by_its_close_offset() -> None:
    wrong, right = bar_rows([WRONG, RIGHT])
    key = (0, HOUR_US)
    assert published([wrong, Row(wrong.key, None)])[0].withdrawn == {key: WRONG.close_offset}
    assert published([Row(wrong.key, None)])[0].withdrawn == {key: None}
    again = published([wrong, Row(wrong.key, None), right, Row(wrong.key, None)])[0]
    assert again.withdrawn == {key: RIGHT.close_offset}
