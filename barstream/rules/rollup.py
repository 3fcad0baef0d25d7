"""Roll-ups: bars of longer periods as a fold of final bars, and when they are final.

Minutes become bars of minutes, hours and days; days become weeks and months::

    1m  |--|--|--|--|--|   every in-session minute has a final
    5m  |--------------|   final when the last in-session minute of its bucket is closed

A parent is a pure function of its children: it rests on their continuity and has no heartbeat of
its own.  What is kept here is only how far the fold has come, and can be made again from the
finals at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final

from barstream.market.schedule import SeriesSchedule
from barstream.model.bar import Bar
from barstream.model.finals import Change, Finals
from barstream.model.period import DAY, MINUTE, Period
from barstream.model.time import DAY_US, ceil_minute, floor_minute
from barstream.rules.rollup_fold import Fold
from barstream.rules.rollup_members import RollUpMembers
from barstream.rules.series import FOREVER_US, NEVER_US, PartitionState, SeriesState

RollUp = tuple[Period, Bar]
"""A bar of a longer period that became final or was revised."""


@dataclass(slots=True)
class Parent:
    """The latest bar of one period of one series that has a child: open, or final already."""

    bucket_us: int
    #: None: to be folded anew from the finals.
    fold: Fold | None
    is_final: bool = False
    #: Every minute of it that is in session lies before; by `judged_by`, None: not looked up.
    due_us: int | None = None
    judged_by: SeriesSchedule | None = None


class RollUps:
    """The upper bars of all series of one partition.

    Args:
        partition: the series, how far they are closed and their schedules.
        periods: of the upper bars; those made of days need `DAY` among them.
        finals: the finals of the partition; what is emitted here is put there.

    Raises:
        ValueError: a period is made of days and there are no days.
    """

    def __init__(
        self, partition: PartitionState, periods: Sequence[Period], finals: Finals
    ) -> None:
        of_days = [str(period) for period in periods if period.is_made_of_days]
        if of_days and DAY not in periods:
            raise ValueError(
                f"{', '.join(of_days)} is made from days: the periods must contain 1d, found "
                f"{', '.join(map(str, periods))}"
            )
        self._partition = partition
        self._finals = finals
        self.children: Final = RollUpMembers(finals)
        self._of_minutes = [p for p in periods if not p.is_made_of_days]
        self._of_days = [p for p in periods if p.is_made_of_days]
        #: Days before what is made of them.
        self.periods: Final = (*self._of_minutes, *self._of_days)
        self._parents: dict[int, dict[Period, Parent]] = {}

    # -- children that became final -------------------------------------------------------------

    def add(self, series: SeriesState, bars: Sequence[Bar]) -> list[RollUp]:
        """Take new finals of one series, ascending and later than all before.

        Returns:
            The parents left behind by them, which are final; `judge` says so of the others.
        """
        out: list[RollUp] = []
        for period in self._of_minutes:
            buckets = self._buckets(series, period, bars)
            for bucket_us, run in groupby(zip(buckets, bars, strict=True), itemgetter(0)):
                self._enter(series, period, bucket_us, [bar for _, bar in run], out)
        return out

    def _buckets(self, series: SeriesState, period: Period, bars: Sequence[Bar]) -> list[int]:
        if not period.is_intraday or period.anchor == "session":
            return [self.children.bucket(series, period, bar) for bar in bars]
        # what `Period.floor` does, without a call a bar
        size_us, start_us = period.size_us, period.floor(0)
        minutes = [bar.bucket_start_us for bar in bars]
        return [minute_us - (minute_us - start_us) % size_us for minute_us in minutes]

    def _enter(
        self,
        series: SeriesState,
        period: Period,
        bucket_us: int,
        children: list[Bar],
        out: list[RollUp],
    ) -> None:
        """Take children of one bucket."""
        parents = self._parents.setdefault(series.slot, {})
        parent = parents.get(period)
        if parent is None or parent.bucket_us < bucket_us:
            if parent is not None and not parent.is_final:
                self._emit(series, period, parent, out)
            # the first one known may have children from before that was known
            parents[period] = parent = Parent(bucket_us, None if parent is None else Fold())
        if parent.is_final or bucket_us < parent.bucket_us:
            # woken inside a bucket that was closed while the series slept, or its trading date
            # was corrected to an earlier one
            changes = [Change(None, child) for child in children]
            self._revise_parents(series, {(period, bucket_us): changes}, out)
        elif parent.fold is not None:
            parent.fold.add(children)

    def _emit(self, series: SeriesState, period: Period, parent: Parent, out: list[RollUp]) -> None:
        fold = self._folded(series, period, parent)
        parent.is_final = True
        parent.fold = None
        if fold and not self.children.is_cut(series, period, parent.bucket_us):
            self._publish(series, period, fold.to_bar(parent.bucket_us), out)

    def _publish(self, series: SeriesState, period: Period, bar: Bar, out: list[RollUp]) -> None:
        """A new parent."""
        self._finals.put(period, bar)
        out.append((period, bar))
        if period == DAY:
            for longer in self._of_days:
                bucket_us = self.children.bucket(series, longer, bar)
                self._enter(series, longer, bucket_us, [bar], out)

    # -- when a parent is final -----------------------------------------------------------------

    def judge(self, series: SeriesState, evidence_us: int = NEVER_US) -> list[RollUp]:
        """Make final what is complete.

        Args:
            series: the series, its finals added.
            evidence_us: an instant that has passed in the log: append time of a heartbeat.

        Returns:
            The parents that became final.
        """
        out: list[RollUp] = []
        parents = self._parents.get(series.slot)
        if not parents:
            return out
        closed_us = int(self._partition.closed_until_us[series.slot])
        for period in self.periods:
            parent = parents.get(period)
            if parent is None or parent.is_final:
                continue
            if self._is_complete(series, period, parent, closed_us, evidence_us):
                self._emit(series, period, parent, out)
        return out

    def _is_complete(
        self,
        series: SeriesState,
        period: Period,
        parent: Parent,
        closed_us: int,
        evidence_us: int,
    ) -> bool:
        schedule = series.schedule
        if schedule is None:
            return False  # withdrawn: what comes in its place is not known yet
        if parent.judged_by is not schedule or parent.due_us is None:
            parent.judged_by = schedule
            parent.due_us = self._due_us(period, parent.bucket_us, schedule)
        if closed_us < parent.due_us:
            asleep_us = series.asleep_us
            if asleep_us >= parent.due_us or any(schedule.sessions_between(closed_us, asleep_us)):
                return False
        if not period.is_made_of_days:
            return True
        # where the schedule ends inside the bucket, sessions may still be loaded
        end_us = period.advance(parent.bucket_us)
        return schedule.reaches(end_us // DAY_US) or (
            evidence_us >= end_us + self._partition.rules.grace_us
        )

    def _due_us(self, period: Period, bucket_us: int, schedule: SeriesSchedule) -> int:
        """Every in-session minute of the bucket lies before it."""
        end_us = period.advance(bucket_us)
        if not period.is_intraday:
            close_us = schedule.end_of_dates(bucket_us // DAY_US, end_us // DAY_US)
            return NEVER_US if close_us is None else ceil_minute(close_us)
        due_us = NEVER_US
        for session in schedule.sessions_between(bucket_us, end_us):
            if period.anchor == "session" and floor_minute(session.open_us) > bucket_us:
                break  # the next session has buckets of its own
            due_us = min(ceil_minute(session.close_us), end_us)
        return due_us

    # -- revisions ------------------------------------------------------------------------------

    def revise(self, series: SeriesState, changes: Sequence[Change]) -> list[RollUp]:
        """Take finals that were revised, or added where later ones were final.

        Returns:
            The parents that are others by it, and those that it made final.
        """
        out: list[RollUp] = []
        by_bucket: dict[tuple[Period, int], list[Change]] = {}
        for change in changes:
            for period in self._of_minutes:
                bucket_us = self.children.bucket(series, period, change.new)
                by_bucket.setdefault((period, bucket_us), []).append(change)
        self._revise_parents(series, by_bucket, out)
        return out

    def _revise_parents(
        self,
        series: SeriesState,
        by_bucket: dict[tuple[Period, int], list[Change]],
        out: list[RollUp],
    ) -> None:
        days: dict[tuple[Period, int], list[Change]] = {}
        for (period, bucket_us), changes in by_bucket.items():
            changed = self._revise_parent(series, period, bucket_us, changes, out)
            if changed is not None and period == DAY:
                for longer in self._of_days:
                    place = longer, self.children.bucket(series, longer, changed.new)
                    days.setdefault(place, []).append(changed)
        if days:
            self._revise_parents(series, days, out)

    def _revise_parent(
        self,
        series: SeriesState,
        period: Period,
        bucket_us: int,
        changes: list[Change],
        out: list[RollUp],
    ) -> Change | None:
        parents = self._parents.setdefault(series.slot, {})
        latest = parents.get(period)
        if latest is None or latest.bucket_us < bucket_us:
            if latest is not None and not latest.is_final:
                self._emit(series, period, latest, out)
            parents[period] = parent = Parent(bucket_us, None)
            closed_us = int(self._partition.closed_until_us[series.slot])
            if not self._is_complete(series, period, parent, closed_us, NEVER_US):
                return None
            parent.is_final = True
            return self._revise_final(series, period, bucket_us, changes, out)
        if latest.bucket_us == bucket_us and not latest.is_final:
            latest.fold = None
            return None
        return self._revise_final(series, period, bucket_us, changes, out)

    def _revise_final(
        self,
        series: SeriesState,
        period: Period,
        bucket_us: int,
        changes: list[Change],
        out: list[RollUp],
    ) -> Change | None:
        """Fold a bucket that is over anew; its revision counts what came after it."""
        if self.is_lost(series, period, bucket_us):
            return None  # what stands was made of more than there is now
        old = self._finals.get(period, series.broker, series.symbol, bucket_us)
        fold = self._fold_anew(series, period, bucket_us, changes[0].new)
        if not fold:
            return None
        bar = fold.to_bar(bucket_us)
        first = -1
        if old is not None:
            bar = bar.replace(revision=old.revision + sum(change.raised for change in changes))
        else:
            # it is final with the first of its children; those of later ticks came after it
            first = min(change.tick_offset for change in changes)
            later = sum(change.tick_offset > first for change in changes if change.old is None)
            bar = bar.replace(revision=bar.revision + later)
        self._finals.put(period, bar)
        out.append((period, bar))
        return Change(old, bar, first)

    # -- folding from what is stored ------------------------------------------------------------

    def _folded(self, series: SeriesState, period: Period, parent: Parent) -> Fold:
        if parent.fold is None:
            parent.fold = self._fold_anew(series, period, parent.bucket_us, None)
        return parent.fold

    def _fold_anew(
        self, series: SeriesState, period: Period, bucket_us: int, child: Bar | None
    ) -> Fold:
        fold = Fold()
        fold.add(self.children.of(series, period, bucket_us, child))
        return fold

    # -- state put back, and bars that are open -------------------------------------------------

    def restore(self, series: SeriesState) -> None:
        """Find the latest parent of each period again, of those not known yet.

        Nothing is folded before it is needed.
        """
        name = series.broker, series.symbol
        parents = self._parents.setdefault(series.slot, {})
        for below, periods in ((MINUTE, self._of_minutes), (DAY, self._of_days)):
            unknown = [period for period in periods if period not in parents]
            last = self._finals.before(below, *name, FOREVER_US) if unknown else None
            if last is None:
                continue
            for period in unknown:
                if period.anchor == "session" and series.schedule is None:
                    continue  # its grid is not known; looked for again when there are sessions
                bucket_us = self.children.bucket(series, period, last)
                found = self._finals.get(period, *name, bucket_us)
                over = found is not None or self._is_gone(series, period, bucket_us)
                parents[period] = Parent(bucket_us, None, is_final=over)

    def _is_gone(self, series: SeriesState, period: Period, bucket_us: int) -> bool:
        """Whether retention has deleted the bar of a bucket."""
        kept_us = self._finals.retained_from_us(period, series.broker, series.symbol)
        return kept_us is not None and bucket_us < kept_us

    def is_lost(self, series: SeriesState, period: Period, bucket_us: int) -> bool:
        """Whether a bucket cannot be folded anew, or is past its own retention."""
        return self._is_gone(series, period, bucket_us) or self.children.is_cut(
            series, period, bucket_us
        )

    def is_restored(self, series: SeriesState) -> bool:
        """Whether the latest parent of every period is known."""
        return len(self._parents.get(series.slot, ())) == len(self.periods)

    def warm(self, series: SeriesState) -> Iterator[None]:
        """Fold what is open, a parent a step: the minute that ends a day need not do it for all."""
        for period in self.periods:
            parent = self._parents.get(series.slot, {}).get(period)
            if parent is not None and not parent.is_final and parent.fold is None:
                self._folded(series, period, parent)
                yield

    def forget_folds(self, series: SeriesState) -> None:
        """Children were added otherwise than by closing: fold anew."""
        for parent in self._parents.get(series.slot, {}).values():
            parent.fold = None

    def latest_bucket_us(self, series: SeriesState, period: Period) -> int | None:
        """Start of the latest bar of a period that has a child; None: there is none."""
        latest = self._parents.get(series.slot, {}).get(period)
        return None if latest is None else latest.bucket_us

    def is_latest_final(self, series: SeriesState, period: Period) -> bool:
        """Whether the bar at `latest_bucket_us` is final."""
        latest = self._parents.get(series.slot, {}).get(period)
        return latest is not None and latest.is_final

    def live(self, series: SeriesState, period: Period) -> list[Bar]:
        """The open bars of one period, ascending: finals of the bucket and open minutes."""
        if period.is_made_of_days:
            children = self.live(series, DAY)
        else:
            children = [
                series.open_bars[bucket_us].to_bar(series.broker, series.symbol, None)
                for bucket_us in sorted(series.open_bars)
            ]
        if period == MINUTE:
            return children
        folds: dict[int, Fold] = {}
        latest = self._parents.get(series.slot, {}).get(period)
        if latest is not None and not latest.is_final:
            folds[latest.bucket_us] = self._folded(series, period, latest).copy()
        for child in children:
            bucket_us = self.children.bucket(series, period, child)
            if latest is not None and (
                bucket_us < latest.bucket_us or (bucket_us == latest.bucket_us and latest.is_final)
            ):
                continue  # it is final: until the minute is final too, that is what stands
            folds.setdefault(bucket_us, Fold()).add([child])
        return [
            folds[bucket_us].to_bar(bucket_us).replace(close_offset=None, final=False)
            for bucket_us in sorted(folds)
            if folds[bucket_us]
        ]
