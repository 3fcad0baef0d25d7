"""What the leader knows to be in ``hb_1m``: how far each series is emitted, and when last.

How far is read from the log by a new leader.  When last is not: it sends once more what may be
there already, which is harmless, and mends what was heard under other rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from barstream.heartbeat.producer import Appended
from barstream.market.universe import SeriesName
from barstream.rules.heartbeat_plan import HeartbeatPlan, HeartbeatRules, Index


class Counted(NamedTuple):
    """What came of a round that was acknowledged."""

    early: int
    """Appended before they count by the broker's clock: to be sent again."""
    repeated: int
    """Minutes emitted before that were sent once more, and count."""


@dataclass(slots=True)
class Emitted:
    """It advances only by what the broker has acknowledged, or another worker sends."""

    marks: dict[SeriesName, int] = field(default_factory=dict)
    """Newest minute per series that can close anything."""
    heard: dict[SeriesName, int] = field(default_factory=dict)
    """Append time of the newest heartbeat per series, microseconds, as far as known."""

    def schedule_changed(self, series: Iterable[SeriesName]) -> None:
        """What was heard of these series was judged by sessions they do not have any more."""
        for name in series:
            self.heard.pop(name, None)

    def by_another(self, due: HeartbeatPlan) -> None:
        """This worker follows: the leader sends what is planned, its log is the truth."""
        self.marks.update(due.marks())
        self.heard.update((repeat.series.name, due.now_us) for repeat in due.repeats)

    def acknowledged(
        self,
        due: HeartbeatPlan,
        appended: Mapping[int, Appended],
        now_us: int,
        rules: HeartbeatRules,
        schedule: Index,
    ) -> Counted:
        """Take in what was committed.

        Args:
            due: what was sent; series of a partition without an answer were left out.
            appended: the broker's answers by partition.
            now_us: own clock, which counts where the topic has no append times.
            rules: when a heartbeat counts.
            schedule: the sessions.
        """
        at_us = {
            partition: now_us if part.earliest_us is None else part.earliest_us
            for partition, part in appended.items()
        }
        early = repeated = 0
        for row, minute_us in due.minutes():
            if row.partition not in at_us:
                continue
            self.heard[row.name] = at_us[row.partition]
            counts_us = rules.closes_at(minute_us, schedule.for_series(row.broker, row.symbol))
            if at_us[row.partition] >= counts_us:
                self.marks[row.name] = minute_us
            else:  # by the broker's clock its minute was not over: it closes nothing
                early += 1
        for repeat in due.repeats:
            row = repeat.series
            if row.partition not in at_us:
                continue
            self.heard[row.name] = at_us[row.partition]
            if at_us[row.partition] >= repeat.end_us + rules.grace_us:
                repeated += 1
            else:
                early += 1
        return Counted(early, repeated)
