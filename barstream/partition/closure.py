"""What follows when minutes of a partition become final or are revised: book and upper bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.model.tick import Ticks
from barstream.partition.counts import Counts
from barstream.partition.finals_view import FinalsView
from barstream.partition.missing_rollups import missing
from barstream.partition.outbox import Outbox
from barstream.rules.close import Closed
from barstream.rules.late import Revised, revise
from barstream.rules.rollup import RollUps
from barstream.rules.series import NEVER_US, PartitionState, SeriesState
from barstream.rules.tick_batch import Applied


class Closings:
    """Takes what closing and revising come to; all of it goes into one outbox.

    Args:
        state: the series.
        counts: counts what is taken.
        book: the finals.
        periods: of the upper bars.
        live_periods: those of them whose open bars are published.
    """

    def __init__(
        self,
        state: PartitionState,
        counts: Counts,
        book: FinalsView,
        periods: Sequence[Period],
        live_periods: Iterable[Period],
    ) -> None:
        self.book = book
        self.rollups = RollUps(state, periods, book)
        self.outbox = Outbox(state, self._shown_rollups)
        self._state = state
        self._counts = counts
        self._live_periods = tuple(live_periods)
        #: Periods in force that were not when the partition was written last ...
        self.added: tuple[Period, ...] = ()
        #: ... and the slots of series that lack their bars still.
        self.unfilled: set[int] = set()

    def fill(self, series: SeriesState) -> int:
        """Make the bars of added periods, before anything of the series is judged; how many."""
        if series.slot not in self.unfilled:
            return 0
        self.unfilled.discard(series.slot)
        found = missing(self.book, self.rollups, series, self.added)
        self.written(Closed(rollups=found))
        return len(found)

    def judge(self, series: SeriesState, out: Closed, evidence_us: int = NEVER_US) -> None:
        """Make upper bars of a series final that are complete; see `RollUps.judge`."""
        self.fill(series)
        self.rollups.judge(series, out, evidence_us)

    def _shown_rollups(self, series: SeriesState) -> Iterable[tuple[Period, Bar]]:
        for period in self._live_periods:
            for bar in self.rollups.live(series, period):
                yield period, bar

    def became_final(self, series: SeriesState, bars: Sequence[Bar], out: Closed) -> None:
        """New minutes of one series, ascending: into the book and into the upper bars."""
        if not bars:
            return
        self.fill(series)
        for bar in bars:
            self.book.put(MINUTE, bar)
        self.rollups.add(series, bars, out)

    def settle(self, out: Applied, since: int) -> int:
        """Take the finals from number ``since`` on into book and upper bars; how many there are."""
        by_slot: dict[int, list[Bar]] = {}
        for bar in out.finals[since:]:
            by_slot.setdefault(self._state.slot(bar.broker, bar.symbol), []).append(bar)
        for slot, bars in by_slot.items():
            self.became_final(self._state.series[slot], bars, out)
        for slot in out.advanced:
            self.judge(self._state.series[slot], out)
        return len(out.finals)

    def revise(self, ticks: Ticks, out: Applied) -> None:
        """Merge late ticks into finals, and what follows into the upper bars."""
        for slot in np.unique(ticks.slot).tolist():
            self.fill(self._state.series[slot])
        done = Revised()
        revise(self._state, ticks, _Whole(self), done)
        out.revise(done)
        # also where no row changed: open upper bars did
        out.touched.update(done.changes)
        for slot in done.changes:
            series = self._state.series[slot]
            self.rollups.revise(series, done.of(slot), out)
            self.judge(series, out)

    def whole_from_us(self, broker: str, symbol: str) -> int | None:
        """Minutes before this are refused late ticks: an upper bar could not follow."""
        series = self._state.get(broker, symbol)
        if series is None:
            return None
        return self.rollups.children.whole_from_us(series, self.rollups.periods)

    def judge_all(self) -> None:
        """Make upper bars final that are complete without another tick or heartbeat."""
        out = Closed()
        for series in self._state:
            if not self.rollups.is_restored(series):
                self.rollups.restore(series)
            self.judge(series, out)
        self.written(out)

    def written(self, out: Closed) -> None:
        """All of ``out`` is in book and upper bars: it goes out with the next flush."""
        self._counts.unpriced_minutes += out.unpriced_minutes
        self._counts.synthetic += sum(bar.synthetic for bar in out.finals)
        for period, _ in out.rollups:
            self._counts.rollups[period] = self._counts.rollups.get(period, 0) + 1
        self.outbox.add_finals(out.finals)
        self.outbox.add_rollups(out.rollups)


class _Whole:
    """The finals as late ticks may change them: not where retention has cut an upper bar."""

    def __init__(self, closings: Closings) -> None:
        book = closings.book
        self._closings = closings
        self.get, self.between, self.put = book.get, book.between, book.put
        self.before, self.first = book.before, book.first

    def retained_from_us(self, _: Period, broker: str, symbol: str) -> int | None:
        return self._closings.whole_from_us(broker, symbol)


class Revising:
    """Takes the late ticks of one batch; see `barstream.rules.tick_batch.LateTicks`.

    A parent counts what came after it was final, so what was closed before the late ticks is
    taken into the upper bars first.
    """

    def __init__(self, closings: Closings) -> None:
        self._closings = closings
        #: So many finals of the batch are in book and upper bars.
        self.settled = 0

    def take(self, ticks: Ticks, out: Applied) -> None:
        self.settled = self._closings.settle(out, self.settled)
        self._closings.revise(ticks, out)
