"""What comes out of a partition: gathered in its outbox, and taken by a flush as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from barstream.codecs.topics.batch_mark import BatchMark
from barstream.codecs.topics.rules import RulesRow
from barstream.model.bar import Bar
from barstream.model.period import Period
from barstream.model.rejection import Reason
from barstream.model.time import MINUTE_US
from barstream.rules.series import PartitionState, SeriesState

_HOUR_US: Final = 60 * MINUTE_US

#: Rows (finals and rejected ticks) that may wait to be written: no more is closed or applied
#: before they are, so that a flush stays short and memory bounded whatever a gap is filled with.
FULL_BACKLOG: Final = 20_000
#: Bytes of rejected ticks that may wait: a record is a few of them, or a megabyte.
FULL_BYTES: Final = 16 << 20


@dataclass(slots=True)
class RejectedTick:
    """A record that made no bar; ``detail`` says what was required and found, where known."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: Reason
    detail: str


@dataclass(slots=True)
class Emission:
    """What a partition has to write, all of it of one position."""

    position: int
    heartbeat_position: int
    #: Of minutes: new ones, and revisions after what they revise.
    finals: list[Bar] = field(default_factory=list)
    live: list[Bar] = field(default_factory=list)
    #: Finals and open bars of longer periods.
    rollups: list[tuple[Period, Bar]] = field(default_factory=list)
    live_rollups: list[tuple[Period, Bar]] = field(default_factory=list)
    rejected: list[RejectedTick] = field(default_factory=list)
    #: Series whose row changed, and those of them whose row in `series_seen` changed too.
    touched: list[SeriesState] = field(default_factory=list)
    seen: list[SeriesState] = field(default_factory=list)
    #: The batch that holds the last offset below `position`; None: not known.
    last_batch: BatchMark | None = None
    #: Periods of the upper bars that lack nothing.
    periods: tuple[str, ...] = ()
    #: The rules that were changed to on the way.
    rules: list[RulesRow] = field(default_factory=list)


def _no_live_rollups(_: SeriesState) -> Iterable[tuple[Period, Bar]]:
    return ()


class Outbox:
    """What changed since it was taken last.

    Args:
        state: the partition whose bars and series these are.
        live_rollups: open bars of longer periods to be shown of a series.
    """

    def __init__(
        self,
        state: PartitionState,
        live_rollups: Callable[[SeriesState], Iterable[tuple[Period, Bar]]] = _no_live_rollups,
    ) -> None:
        self._state = state
        self._live_rollups = live_rollups
        self._finals: list[Bar] = []
        self._rollups: list[tuple[Period, Bar]] = []
        self._shown_rollups: dict[tuple[int, Period, int], Bar] = {}
        self._rejected: list[RejectedTick] = []
        self._rejected_bytes = 0
        self._rules: list[RulesRow] = []
        self._touched: set[int] = set()
        #: Series with open bars that changed since they were last given out as live.
        self._unshown: set[int] = set()
        self._published: dict[tuple[int, int], int] = {}
        self._standings: dict[int, tuple[int | None, bool, int]] = {}
        self._moved = False

    def position_moved(self) -> None:
        """There is a new position to be written, if nothing else."""
        self._moved = True

    def touch(self, slots: Iterable[int]) -> None:
        """The rows of these series have changed."""
        self._touched.update(slots)

    def add_finals(self, bars: Iterable[Bar]) -> None:
        """Minutes that became final or were revised, in that order."""
        self._finals.extend(bars)

    def add_rollups(self, rollups: Iterable[tuple[Period, Bar]]) -> None:
        """Bars of longer periods that became final or were revised, in that order."""
        self._rollups.extend(rollups)

    def add_rules(self, row: RulesRow) -> None:
        """What comes from here on was judged by these; written with the next position."""
        self._rules.append(row)
        self._moved = True

    def reject(self, tick: RejectedTick) -> None:
        """A record that made no bar."""
        self._rejected.append(tick)
        self._rejected_bytes += len(tick.key or b"") + len(tick.value or b"")

    @property
    def dirty(self) -> bool:
        """Whether anything has changed since the last `take`, if only the position."""
        return self._moved or self.has_rows

    @property
    def has_finals(self) -> bool:
        """Whether finals wait to be written."""
        return bool(self._finals or self._rollups)

    @property
    def backlog(self) -> int:
        """Rows waiting to be written."""
        return len(self._finals) + len(self._rollups) + len(self._rejected)

    @property
    def is_full(self) -> bool:
        """Whether what waits must be written before anything more is applied."""
        return self.backlog >= FULL_BACKLOG or self._rejected_bytes >= FULL_BYTES

    @property
    def has_rows(self) -> bool:
        """Whether there is more to write than the position."""
        return bool(self._touched or self._rejected or self.has_finals or self._unshown)

    @property
    def has_live(self) -> bool:
        """Whether open bars changed that no live record has shown yet."""
        return bool(self._unshown)

    def take(self, position: int, heartbeat_position: int, *, live: bool) -> Emission:
        """Everything to be written for this position, which is not given out again.

        Args:
            position: first offset of ticks not applied.
            heartbeat_position: first heartbeat not used.
            live: whether open bars may be shown now; otherwise they wait for a later call, so
                that a flush that comes for the sake of finals does not outrun the live interval.
        """
        series = self._state.series
        touched = [series[slot] for slot in sorted(self._touched)]
        self._unshown |= self._touched
        shown = [series[slot] for slot in sorted(self._unshown)] if live else []
        emitted = Emission(
            position,
            heartbeat_position,
            self._finals,
            list(self._changed_bars(shown)),
            self._rollups,
            list(self._changed_rollups(shown)),
            self._rejected,
            touched,
            [one for one in touched if self._standing_changed(one)],
            rules=self._rules,
        )
        self._rules = []
        self._finals, self._rollups, self._rejected, self._touched = [], [], [], set()
        self._rejected_bytes = 0
        self._moved = False
        if live:
            self._unshown = set()
        for bar in emitted.finals:
            if not bar.synthetic:
                slot = self._state.slot(bar.broker, bar.symbol)
                self._published.pop((slot, bar.bucket_start_us), None)
        if self._shown_rollups:
            for period, bar in emitted.rollups:
                slot = self._state.slot(bar.broker, bar.symbol)
                self._shown_rollups.pop((slot, period, bar.bucket_start_us), None)
        return emitted

    def _changed_rollups(self, some: list[SeriesState]) -> Iterator[tuple[Period, Bar]]:
        """Open bars of longer periods that differ from what was shown last."""
        for series in some:
            for period, bar in self._live_rollups(series):
                key = series.slot, period, bar.bucket_start_us
                if self._shown_rollups.get(key) != bar:
                    self._shown_rollups[key] = bar
                    yield period, bar

    def _changed_bars(self, some: list[SeriesState]) -> Iterator[Bar]:
        """Open bars with ticks that no live record has shown yet."""
        for series in some:
            for bucket_us, bar in series.open_bars.items():
                key = series.slot, bucket_us
                if self._published.get(key) != bar.tick_count:
                    self._published[key] = bar.tick_count
                    yield bar.to_bar(series.broker, series.symbol, None)

    def _standing_changed(self, series: SeriesState) -> bool:
        standing = self._standing(series)
        if self._standings.get(series.slot) == standing:
            return False
        self._standings[series.slot] = standing
        return True

    def _standing(self, series: SeriesState) -> tuple[int | None, bool, int]:
        """What a new row in `series_seen` is written for; the hour bounds how stale it gets."""
        closed_until_us = int(self._state.closed_until_us[series.slot])
        return series.last_trading_date, self._state.is_live(series), closed_until_us // _HOUR_US

    def all_shown(self) -> None:
        """The state was put back from its rows: `series_seen` says the same already."""
        for series in self._state:
            self._standings[series.slot] = self._standing(series)

    def show_again(self, broker: str, symbol: str) -> None:
        """Write the series' row in `series_seen` again: another one has replaced it."""
        if (series := self._state.get(broker, symbol)) is not None:
            self._standings.pop(series.slot, None)
            self._touched.add(series.slot)
