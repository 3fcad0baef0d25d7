"""A tick that is rejected and in a bar: counted twice, or taken in when that was written anew."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from barstream.codecs.record_chunk import RecordChunk
from barstream.log import rejections as rejected_history
from barstream.log.finals import frame_of
from barstream.log.selection import Selection
from barstream.log.snapshot import Span
from barstream.model.bar import Bar
from barstream.model.time import MINUTE_US
from barstream.runtime.flush import bar_rows
from barstream.verify.evidence import Evidence
from barstream.verify.findings import Findings, ShownTick
from barstream.verify.published_bars import PublishedReading
from barstream.verify.reach import Reach
from barstream.verify.rejection_comparison import Refusals
from barstream.verify.rejections import Rejections
from barstream.verify.schedule_changes import ScheduleChanges
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.tick_class import IN_SESSION, Block
from tests.property.verify_cases import untold
from tests.sample_bar import SAMPLE

AT = 60 * MINUTE_US
REJECTED_US = 100
#: The tick at offset 5 came when the minute was closed below offset 5.
FIRST = SAMPLE.replace(
    broker="X",
    symbol="A",
    bucket_start_us=AT,
    high=1.0,
    low=1.0,
    close=1.0,
    volume=1.0,
    tick_count=1,
    open_time_us=AT,
    close_time_us=AT,
    last_offset=4,
    close_offset=5,
)
WITH_IT = FIRST.replace(tick_count=2, last_offset=5, close_offset=9, revision=1)
AFTER = FIRST.replace(bucket_start_us=AT + MINUTE_US)


def kinds(*written: tuple[Bar, int]) -> list[tuple[str, str]]:
    """Kind and rule of what is found of the tick at 5, by bars and when they were appended."""
    rows = bar_rows([bar for bar, _ in written])
    stamps = np.array([appended_us for _, appended_us in written])
    chunk = RecordChunk(
        "finals", 0, 0, len(rows), [row.key for row in rows], [row.value for row in rows],
        np.arange(len(rows)), stamps, True,
    )  # fmt: skip
    series, findings, reading = SeriesNumbers(), Findings(), PublishedReading(Selection())
    reading.add(frame_of(chunk, list(range(len(rows)))))
    published = reading.published(Span(0, len(rows)), 0, series, findings, "1m")
    said = pl.DataFrame(
        [(0, 0, REJECTED_US, 0, 5, "late", "")], schema=rejected_history.SCHEMA, orient="row"
    )
    one = np.ones(1)
    block = Block(
        np.zeros(1, np.int64), np.array([AT + 1]), np.array([AT + 1]), np.array([5]), one, one,
        np.full(1, IN_SESSION, np.int8),
    )  # fmt: skip
    evidence = Evidence(
        0, series, published, Refusals(said, 0, 0), Reach(0, 9, np.array([AT + 2 * MINUTE_US])),
        Selection(), ScheduleChanges([], 0, untold()), findings,
    )  # fmt: skip
    rejections = Rejections(evidence, untold())
    rejections.compare(block, {}, {5}, 0, 9)
    rejections.is_in_bar(0, ShownTick(5, AT + 1, 1.0, 1.0))
    return [(each.kind, each.rule) for each in findings.kept]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        # late for the first version, and written anew after it was rejected
        (((FIRST, 90), (WITH_IT, 200)), "superseded"),
        # it was in the first version already
        (((WITH_IT.replace(revision=0), 90), (WITH_IT, 200)), "difference"),
        # rejected and taken in by one and the same flush
        (((FIRST, 90), (WITH_IT, REJECTED_US)), "difference"),
        # a bar that was open when the tick was rejected, and comes in its order
        (((WITH_IT.replace(revision=0), 200), (AFTER, 300)), "difference"),
        # a bar that was put in behind another one
        (((AFTER, 90), (WITH_IT.replace(revision=0), 200)), "superseded"),
    ],
    ids=["revised", "was in", "at once", "in order", "behind"],
)
def test_only_what_was_written_anew_after_the_rejection_supersedes_it(
    written: tuple[tuple[Bar, int], ...], kind: str
) -> None:
    assert kinds(*written) == [(kind, "rejected")]
