"""What of a partition is held against each other: what was published, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from barstream.log.selection import Selection
from barstream.verify.findings import Findings
from barstream.verify.published_bars import Published
from barstream.verify.reach import Reach
from barstream.verify.rejection_comparison import Refusals
from barstream.verify.schedule_changes import ScheduleChanges
from barstream.verify.series_number import SeriesNumbers


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one partition.

    Attributes:
        partition: its number.
        series: numbers the series.
        published: the finals of minutes.
        refusals: the rejected ticks.
        reach: how far things had come.
        wanted: series and time.
        changes: schedule rows by the time they were appended.
        findings: takes what is wrong.
    """

    partition: int
    series: SeriesNumbers
    published: Published
    refusals: Refusals
    reach: Reach
    wanted: Selection
    changes: ScheduleChanges
    findings: Findings
