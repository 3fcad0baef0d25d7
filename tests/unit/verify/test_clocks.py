"""What a worker's clock refused is believed where it judged, and nowhere else."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from barstream.codecs.topics.withdrawal import NO_TICKS
from barstream.log import rejections as rejected_history
from barstream.log.rules import Regime, Regimes
from barstream.log.selection import Selection
from barstream.log.snapshot import Span
from barstream.model.rejection import Reason
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from barstream.rules.series import Rules
from barstream.verify.evidence import Evidence
from barstream.verify.findings import Findings
from barstream.verify.hours import AlwaysOpenHours, HoursIndex
from barstream.verify.published_bars import PublishedReading
from barstream.verify.reach import Reach
from barstream.verify.rejection_comparison import Refusals
from barstream.verify.rejections import Rejections
from barstream.verify.scan import Scan
from barstream.verify.schedule_changes import ScheduleChanges
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.tick_class import IN_SESSION, OFF_SESSION, UNSCHEDULED, Block, Judge
from tests.property.verify_cases import rules_row, untold

WRITTEN_US = 10 * DAY_US


def told() -> Regimes[HoursIndex]:
    """Of a log that says by which rules it was judged."""
    index: HoursIndex = AlwaysOpenHours()
    return Regimes([Regime(0, 0, rules_row(Rules()), index)], index)


def block(time_us: int, verdict: int = IN_SESSION) -> Block:
    """One tick, at offset 5."""
    one = np.ones(1)
    return Block(
        np.zeros(1, np.int64), np.array([time_us]), np.array([time_us]), np.array([5]), one, one,
        np.full(1, verdict, np.int8),
    )  # fmt: skip


def refusals(*reasons: str, offset: int = 5, begin: int = 0) -> Refusals:
    rows = [(0, 0, WRITTEN_US, 0, offset, reason, "") for reason in reasons]
    found = pl.DataFrame(rows, schema=cast("Any", rejected_history.SCHEMA), orient="row")
    return Refusals(found, 0, begin)


def accused(
    time_us: int, said: str, own_times: tuple[int, int], verdict: int = IN_SESSION
) -> list[str]:
    """Rules of what is found of a tick whose row says ``said``; the row that must be, if any."""
    series, findings = SeriesNumbers(), Findings()
    series.number(("X", "A"))
    published = PublishedReading(Selection()).published(Span(0, 0), 0, series, findings, "1m")
    evidence = Evidence(
        0, series, published, refusals(said), Reach(0, 9, np.zeros(1, np.int64)), Selection(),
        ScheduleChanges([], 0, told()), findings,
    )  # fmt: skip
    rejections = Rejections(evidence, told())
    rejections.stamped_by_producers(*own_times)
    must = {5: "unscheduled"} if verdict == UNSCHEDULED else {}
    rejections.compare(block(time_us, verdict), must, set(), 0, 9)
    return [each.rule for each in findings.kept]


@pytest.mark.parametrize("verdict", [IN_SESSION, OFF_SESSION, UNSCHEDULED])
def test_a_tick_that_a_clock_refused_is_right_whatever_it_would_be_else(verdict: int) -> None:
    assert accused(WRITTEN_US + MINUTE_US, Reason.FUTURE, (0, 9), verdict) == []


@pytest.mark.parametrize(
    ("time_us", "said", "own_times"),
    [
        (WRITTEN_US, "future", (0, 5)),
        (WRITTEN_US, "future", (6, 9)),
        (WRITTEN_US - DAY_US, "future", (0, 9)),
        (WRITTEN_US, "off_session", (0, 9)),
    ],
    ids=["stamped by the broker before", "stamped by it after", "a day in the past", "else"],
)
def test_nothing_else_is_excused_by_a_clock(
    time_us: int, said: str, own_times: tuple[int, int]
) -> None:
    assert accused(time_us, said, own_times) == ["rejected"]


def in_bars(time_us: int, rows: Refusals) -> tuple[int, int]:
    """How many of one tick would be open, and how many are unproven; closed until minute 2."""
    series, findings = SeriesNumbers(), Findings()
    series.number(("X", "A"))
    published = PublishedReading(Selection()).published(Span(0, 0), 0, series, findings, "1m")
    evidence = Evidence(
        0, series, published, rows, Reach(0, 9, np.array([2 * MINUTE_US])), Selection(),
        ScheduleChanges([], 0, untold()), findings,
    )  # fmt: skip
    scan = Scan(evidence, Judge(0, series, Selection(), untold(), {}))
    scan.stamped_by_producers(0, 9)
    scan.take(block(time_us), {}, NO_TICKS, 0, 9)
    return scan.accounts.open, scan.accounts.unproven


def test_a_tick_that_outlives_its_rejection_is_unproven_where_it_closed_nothing() -> None:
    # Kafka deletes by timestamp: the record is dated 2100, what was said of it is not
    gone = refusals("late", offset=7, begin=3)
    assert in_bars(4_102_444_800 * SECOND_US, gone) == (0, 1)
    assert in_bars(3 * MINUTE_US, gone) == (1, 0), "it may be open"
    assert in_bars(4_102_444_800 * SECOND_US, refusals("late", offset=7)) == (1, 0), "not gone"
