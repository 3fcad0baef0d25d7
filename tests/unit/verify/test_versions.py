"""A final is written again byte for byte, or as a later revision."""

from __future__ import annotations

import numpy as np
import pytest

from barstream.codecs.record_chunk import RecordChunk
from barstream.log.finals import frame_of
from barstream.log.selection import Selection
from barstream.log.snapshot import Span
from barstream.model.bar import Bar
from barstream.model.time import MINUTE_US
from barstream.runtime.flush import bar_rows
from barstream.verify.findings import Findings
from barstream.verify.published_bars import PublishedReading
from barstream.verify.series_number import SeriesNumbers
from tests.sample_bar import SAMPLE

BAR = SAMPLE.replace(
    broker="X",
    symbol="A",
    bucket_start_us=60 * MINUTE_US,
    open_time_us=60 * MINUTE_US,
    close_time_us=60 * MINUTE_US + 1,
)
OTHER = BAR.replace(high=9.0)
REVISED = BAR.replace(revision=1)


def counted(*versions: Bar) -> dict[tuple[str, str], int]:
    """Findings by kind and rule, of the versions of one bar in the order they were written."""
    rows = bar_rows(versions)
    written = RecordChunk(
        "finals", 0, 0, len(rows), [row.key for row in rows], [row.value for row in rows],
        np.arange(len(rows)), np.zeros(len(rows), np.int64), True,
    )  # fmt: skip
    reading, findings = PublishedReading(Selection()), Findings()
    reading.add(frame_of(written, list(range(len(rows)))))
    reading.published(Span(0, len(rows)), 0, SeriesNumbers(), findings, "1m")
    return dict(findings.counts)


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ((BAR, BAR), {}),
        ((BAR, REVISED), {}),
        ((BAR, OTHER), {("difference", "duplicate"): 1}),
        ((REVISED, BAR), {("difference", "duplicate"): 1}),
        ((BAR, OTHER, BAR), {("difference", "duplicate"): 2}),
        ((BAR, OTHER, REVISED), {("superseded", "duplicate"): 1}),
        ((REVISED, BAR, REVISED), {("difference", "duplicate"): 1}),
    ],
)
def test_other_values_under_one_revision_are_a_difference_until_a_later_one_stands(
    versions: tuple[Bar, ...], found: dict[tuple[str, str], int]
) -> None:
    assert counted(*versions) == found
