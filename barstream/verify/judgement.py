"""What a partition says, judged: pure, from what was read and the ticks as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.withdrawal import Withdrawn
from barstream.log.rules import Regimes
from barstream.log.selection import Selection
from barstream.log.series import PartitionRows
from barstream.log.snapshot import Span
from barstream.model.period import DAY, Period
from barstream.model.time import MINUTE_US
from barstream.verify.close_causes import CloseRules, Closes
from barstream.verify.completeness import Bounds, Completeness
from barstream.verify.evidence import Evidence
from barstream.verify.expected_minutes import stretches_of
from barstream.verify.findings import Finding
from barstream.verify.graces import Graces
from barstream.verify.hours import HoursIndex
from barstream.verify.proof import Heartbeats
from barstream.verify.published_bars import Published, longs
from barstream.verify.reach import Reach
from barstream.verify.rejection_comparison import Refusals
from barstream.verify.rollups import SeriesStand, Uppers, true_minutes
from barstream.verify.scan import Recomputed, Scan
from barstream.verify.schedule_changes import ScheduleChanges
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.task import Outcome
from barstream.verify.tick_block import BLOCK, Blocks
from barstream.verify.tick_class import Judge
from barstream.verify.turnover import NOWHERE, turnover_from

_NEVER_US: Final = -(1 << 60)
_NO_MINUTES: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """What decides what is right, and what is asked for.

    Attributes:
        graces: by regime, those it may have had.
        regimes: the rules, and from where on they held.
    """

    graces: Sequence[Graces]
    regimes: Regimes[HoursIndex]
    wanted: Selection


@dataclass(slots=True)
class Snapshot:
    """What the topics said beside the ticks, at one point of the log.

    Attributes:
        rows: positions and series when the look began.
        rows_now: those that changed until everything was read.
        position: no bar that was read closes above it.
        published: the minutes.
        uppers: the upper bars, days before what is made of them.
        ticks: extent of the tick partition.
    """

    partition: int
    series: SeriesNumbers
    rows: PartitionRows
    rows_now: PartitionRows
    position: int
    published: Published
    uppers: dict[Period, Published]
    refusals: Refusals
    beats: Heartbeats
    judge: Judge
    changes: ScheduleChanges
    ticks: Span


class Judgement:
    """Judges one partition: give it the ticks of `span` in order, then `finish` it.

    Args:
        snapshot: what was read.
        by: what is right.
        outcome: takes what comes of it.
        block: so many records are compared at a time.
    """

    def __init__(
        self, snapshot: Snapshot, by: JudgedBy, outcome: Outcome, block: int = BLOCK
    ) -> None:
        self._block = block
        self._snapshot = snapshot
        self._by = by
        self._outcome = outcome
        self._partition = snapshot.partition
        self.series = snapshot.series
        position = snapshot.rows.position
        self._applied = 0 if position is None else position.next_offset
        rows = [snapshot.rows.series.get(name) for name in self.series.names]
        closed = [
            _NEVER_US if row is None or row.closed_until_us is None else row.closed_until_us
            for row in rows
        ]
        withdrawn = snapshot.rows.withdrawn(snapshot.partition)
        self._withdrawn = Withdrawn(
            {name: end for name, end in withdrawn.ends.items() if by.wanted.has_series(*name)}
        )
        self._evidence = Evidence(
            self._partition, self.series, snapshot.published, snapshot.refusals,
            Reach(
                snapshot.ticks.begin, self._applied, np.array(closed, np.int64),
                turnover_from(snapshot.rows.rules),
            ),
            by.wanted, snapshot.changes, outcome.findings,
        )  # fmt: skip
        self._scan = Scan(self._evidence, snapshot.judge, self._withdrawn)
        self._blocks: Blocks | None = None
        self._end = snapshot.ticks.begin

    def span(self) -> Span:
        """The ticks that are needed: to the position, or as far as what was published needs."""
        ticks = self._snapshot.ticks
        last = longs(self._snapshot.published.bars, "close_offset")
        needed = max(self._applied, int(last.max()) if len(last) else 0)
        if self._applied > ticks.end:
            self._outcome.findings.add(
                Finding(
                    "difference", "position", self._partition,
                    f"the position is {self._applied}, but the tick topic ends at {ticks.end}: "
                    "it was deleted and made again, or truncated",
                )
            )  # fmt: skip
        return Span(ticks.begin, max(ticks.begin, min(needed, ticks.end)))

    def take(self, chunk: RecordChunk, columns: TickColumns) -> None:
        """Take the next chunk and what the decoder made of it."""
        if self._blocks is None:
            if chunk.start > self._snapshot.ticks.begin:
                self._scan.begins_later()
            self._blocks = Blocks(
                self._scan, self._snapshot.judge, self._withdrawn, self._applied, chunk.start,
                self._block,
            )  # fmt: skip
        self._scan.accounts.read += len(chunk)
        self._blocks.add(chunk, columns)
        self._end = chunk.next_offset

    def finish(self) -> None:
        """Judge the rest, after the last chunk."""
        snapshot, by, outcome = self._snapshot, self._by, self._outcome
        if self._blocks is not None:
            self._blocks.end(self._end)
        ticks = self._scan.finish(self._end)
        rules = CloseRules(by.graces, by.regimes, snapshot.ticks.begin, snapshot.position)
        closes = Closes(self._evidence, ticks, snapshot.beats, rules)
        closes.check()
        closes.check_late(self._scan)
        self._tell_rejudged()
        complete = self._check_minutes(ticks)
        for finding in outcome.findings.kept:
            if finding.rule == "field" and finding.bucket_us is not None and finding.broker:
                name = finding.broker, finding.symbol or ""
                finding.closed_by = closes.describe(name, finding.bucket_us)
        self._check_uppers(complete, ticks.corrected, closes.wrong)
        outcome.sessions = complete.sessions
        outcome.accounts = self._scan.accounts
        if lost := outcome.accounts.unproven:
            outcome.notes.append(
                f"partition {self._partition}: ticks_rejected holds nothing of ticks below "
                f"{snapshot.refusals.known_from} any more: {lost:,} of them are unproven"
            )
        self._tell_without_turnover()
        outcome.bars = {"1m": len(snapshot.published.bars)} | {
            period.timeframe: len(found.bars) for period, found in snapshot.uppers.items()
        }
        outcome.causes = closes.causes
        # each in the partition where its bars are: its ticks may stand in others too
        made = {self.series.names[at] for at in snapshot.published.bars["series"].unique()}
        outcome.series = sum(
            by.wanted.has_series(*name) for name in made | snapshot.rows.series.keys()
        )

    def _tell_without_turnover(self) -> None:
        """Bars of a version that did not add it up, and what is made of them: no mistake."""
        snapshot = self._snapshot
        every = (snapshot.published, *snapshot.uppers.values())
        count = sum(found.bars["turnover"].null_count() for found in every)
        if not count:
            return
        is_told = self._evidence.reach.turnover_from != NOWHERE
        self._outcome.notes.append(
            f"partition {self._partition}: {count:,} finals have no turnover and no vwap: a "
            "version that did not add it up made them, or a child of theirs"
            + ("" if is_told else "; the log does not say from where on they must have one")
        )

    def _tell_rejudged(self) -> None:
        """Ticks that other rows of the schedule were in force for: no mistake, but worth saying."""
        for (number, bucket_us), found in sorted(self._snapshot.judge.rejudged.items()):
            if not self._by.wanted.has_time(bucket_us):
                continue
            for count, then, now in (
                (found.taken, "in session", "off session"),
                (found.left_out, "off session or unscheduled", "in session"),
            ):
                if count:
                    ticks = "1 tick was" if count == 1 else f"{count} ticks were"
                    detail = (
                        f"{ticks} {then} by the rows in force when judged, and would be {now} now"
                    )
                    self._outcome.findings.add(
                        Finding(
                            "schedule", "session", self._partition, detail,
                            *self.series.names[number], "1m", bucket_us, ticks_total=count,
                        )
                    )  # fmt: skip

    def _check_minutes(self, ticks: Recomputed) -> Completeness:
        snapshot, by = self._snapshot, self._by
        complete = Completeness(
            self._partition, self.series, snapshot.published, ticks, self._scan.loose,
            snapshot.judge, snapshot.changes, by.regimes.revises,
            lambda number, bars: stretches_of(
                number, snapshot.judge, by.graces, snapshot.beats, ticks, bars
            ),
            self._outcome.findings, self._withdrawn, self._evidence.reach.turnover_from,
        )  # fmt: skip
        for number, name in enumerate(self.series.names):
            if by.wanted.has_series(*name):
                complete.check(number, self._bounds(number))
        return complete

    def _check_uppers(
        self,
        complete: Completeness,
        corrected: dict[int, dict[str, Any]],
        closed_wrong: set[int],
    ) -> None:
        snapshot, wanted = self._snapshot, self._by.wanted
        if not snapshot.uppers:
            return
        both = {
            bar: corrected.get(bar, {}) | complete.corrected.get(bar, {})
            for bar in corrected.keys() | complete.corrected.keys()
        }
        minutes = true_minutes(complete, snapshot.published.bars, both, closed_wrong)
        uppers = Uppers(
            self._partition, self.series, snapshot.judge.hours,
            self._stands(minutes), snapshot.changes, snapshot.judge, self._inactive_after,
            min(each.shortest_us for each in self._by.graces),
            lambda start_us, end_us: (
                (wanted.from_us is None or wanted.from_us <= start_us)
                and (wanted.to_us is None or end_us <= wanted.to_us)
            ),
            self._outcome.findings,
        )  # fmt: skip
        days = minutes.clear()
        for period, published in snapshot.uppers.items():
            right = uppers.check(period, days if period.is_made_of_days else minutes, published)
            if period == DAY:
                days = right
        self._outcome.skipped = uppers.skipped

    def _stands(self, minutes: pl.DataFrame) -> list[SeriesStand]:
        snapshot = self._snapshot
        evidence = snapshot.beats.latest_append_us()
        real = self._in_time() if self._by.regimes.revises else minutes.filter(~pl.col("synthetic"))
        seen_on = dict(real.group_by("series").agg(pl.col("trading_date").max()).iter_rows())
        woken = self._woken(real)
        found: list[SeriesStand] = []
        for number, name in enumerate(self.series.names):
            closed = [
                _NEVER_US if row is None or row.closed_until_us is None else row.closed_until_us
                for rows in (snapshot.rows, snapshot.rows_now)
                for row in [rows.series.get(name)]
            ]
            found.append(
                SeriesStand(
                    closed[0], max(closed), self._kept_us(snapshot.published, number),
                    seen_on.get(number), evidence.get(number, _NEVER_US),
                    woken.get(number, _NO_MINUTES),
                )
            )  # fmt: skip
        return found

    @property
    def _inactive_after(self) -> int:
        """The fewest trading dates after which a series slept: of upper bars it excuses most."""
        return min(each.rules.inactive_after for each in self._by.regimes.all)

    def _in_time(self) -> pl.DataFrame:
        """Minutes with a tick that was not late: late ones wake nothing."""
        in_time = ~pl.col("first_synthetic") & ~pl.col("made_late")
        return self._snapshot.published.bars.filter(in_time)

    def _woken(self, real: pl.DataFrame) -> dict[int, NDArray[np.int64]]:
        """By series the bars with ticks that came when it was asleep."""
        found = {}
        for (number,), mine in real.sort("series", "bucket_us").group_by(["series"]):
            hours = self._snapshot.judge.hours(int(str(number)))
            if hours is None:
                continue
            ordinals = hours.ordinals(longs(mine, "trading_date"))
            woke = np.diff(ordinals, prepend=ordinals[:1]) > self._inactive_after
            found[int(str(number))] = mine["bucket_us"].to_numpy()[woke]
        return found

    def _bounds(self, number: int) -> Bounds:
        snapshot, scan = self._snapshot, self._scan
        wanted, grace_us = self._by.wanted, self._by.graces[-1].longest_us
        row = snapshot.rows.series.get(self.series.names[number])
        until_us = _NEVER_US if row is None else row.closed_until_us or _NEVER_US
        if number < len(scan.at_position):
            reached = int(scan.at_position[number]) - grace_us
            until_us = max(until_us, reached - reached % MINUTE_US)
        if wanted.to_us is not None:
            until_us = min(until_us, wanted.to_us)
        from_us = _NEVER_US if wanted.from_us is None else wanted.from_us
        return Bounds(from_us, until_us, self._kept_us(snapshot.published, number))

    @staticmethod
    def _kept_us(published: Published, number: int) -> int:
        """Minutes before it may have been deleted: those written first go first."""
        if published.begin == 0:
            return _NEVER_US
        bars = published.bars
        mine = bars.filter((bars["series"] == number) & (bars["revision"] == 0))
        if mine.is_empty():
            return 1 << 60
        return int(mine["bucket_us"][mine["offset"].arg_min() or 0])
