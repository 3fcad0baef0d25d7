"""One tick partition: ticks and heartbeats in, rows to be written out.

Nothing here waits or talks to Kafka.  `PartitionMachine` applies chunks in offset order, closes
bars when a heartbeat's barrier has been applied, and remembers what has to be written; a flush
takes that as one `Pending`, so that what is written belongs to one position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.batch_mark import BatchMark
from barstream.codecs.topics.rules import RulesRow, changes_of
from barstream.codecs.topics.withdrawal import Withdrawn
from barstream.errors import LostChunk, StateUnusable
from barstream.market.schedule import MarketScheduleProvider
from barstream.model.bar import Bar
from barstream.model.period import Period
from barstream.model.rejection import Reason
from barstream.model.tick import Ticks
from barstream.model.time import MINUTE_US
from barstream.partition.closure import Closings, Revising
from barstream.partition.counts import Counts
from barstream.partition.finals_view import FinalsView
from barstream.partition.heartbeat_queue import HeartbeatQueue, QueuedHeartbeat
from barstream.partition.late_budget import MOST_BARS, late_cut
from barstream.partition.outbox import FULL_BACKLOG, Pending, RejectedTick
from barstream.rules.close import Closed, close_series
from barstream.rules.late_share import ArrivalCounter
from barstream.rules.series import FOREVER_US, NEVER_US, PartitionState, Rules, SeriesState
from barstream.rules.series_limit import are_new, fills, taken
from barstream.rules.tick_batch import Applied, apply_ticks

if TYPE_CHECKING:
    from barstream.codecs.ticks.decoder import TickColumns

_UNSCHEDULED: Final = -1
_ELSEWHERE: Final = -2
_BEYOND: Final = -3
_UNSCHEDULED_SHOWN: Final = 20
_STRAYS_SHOWN: Final = 100

PartitionOf = Callable[[str, str], int | None]
"""Where the ticks of a series are seen, as far as is known."""


class PartitionMachine:
    """The state of one partition and the rules that move it.

    Args:
        partition: number of the tick partition.
        rules: what decides a bar.
        provider: the schedule, ready.
        partition_of: where a series is seen, to refuse its ticks from a second partition.
        publish_off_session: whether off-session ticks are written to ``ticks_rejected``.
        book: the finals there are; by default none.
        periods: of the upper bars.
        live_periods: those of them whose open bars are published.
        judged_by: the rules as the log is to say them; None: they are not written.
        max_series: so many are taken at most, see `barstream.rules.series_limit`; None: any number.
    """

    def __init__(
        self,
        partition: int,
        rules: Rules,
        provider: MarketScheduleProvider,
        partition_of: PartitionOf,
        *,
        publish_off_session: bool = False,
        book: FinalsView | None = None,
        periods: Sequence[Period] = (),
        live_periods: Iterable[Period] = (),
        judged_by: RulesRow | None = None,
        max_series: int | None = None,
    ) -> None:
        self.partition = partition
        self.state = PartitionState(rules)
        #: First offset not applied yet; None before the first chunk of a partition never read.
        self.position: int | None = None
        #: The batch that holds the last offset below `position`; None: nothing is known of it.
        self.last_batch: BatchMark | None = None
        self.waiting = HeartbeatQueue()
        #: Ticks and heartbeats of series that were dropped: as if they were not there.
        self.withdrawn = Withdrawn()
        self.counts = Counts()
        self._closings = Closings(
            self.state, self.counts, FinalsView({}) if book is None else book, periods, live_periods
        )
        self.book = self._closings.book
        self.rollups = self._closings.rollups
        self.outbox = self._closings.outbox
        self._arrivals = ArrivalCounter()
        self._rules = rules
        self._provider = provider
        self._partition_of = partition_of
        self._publish_off_session = publish_off_session
        self._judged_by = judged_by
        self._max_series = max_series
        #: As many series were taken as may be: ticks of others are rejected.
        self.is_full = False
        #: One of those others.
        self.one_too_many: tuple[str, str] | None = None
        #: What the log says, or will with the next flush.
        self._told: RulesRow | None = None
        #: Settings that are others than those by which the partition was judged until now.
        self.rules_changed: list[str] = []
        #: Series refused for want of a schedule, the latest last, a few of them.
        self.unscheduled: dict[tuple[str, str], None] = {}
        #: The home of series whose ticks come in this partition as well; the first few.
        self.strays: dict[tuple[str, str], int] = {}

    def apply_ticks(
        self, chunk: RecordChunk, columns: TickColumns, now_us: int, *, at_end: bool
    ) -> bool:
        """Apply a decoded chunk, split at every barrier that lies in it.

        Args:
            chunk: the records; those below the position were applied before and are skipped.
            columns: what `TickDecoder.decode` made of ``chunk.values``.
            now_us: wall clock, by which a feed without append times is judged live.
            at_end: whether the chunk reached the end of the partition.

        Returns:
            Whether all of it was applied; if not, call again with the same chunk: when there is
            room, if `FULL_BACKLOG` rows wait, else when others have had their turn.

        Raises:
            LostChunk: the chunk starts above the position.
        """
        start = chunk.start if self.position is None else self.position
        if chunk.start > start:
            raise LostChunk(
                f"tick partition {self.partition} must go on at offset {start}, "
                f"the next chunk starts at {chunk.start}: the worker starts again from {start}"
            )
        if chunk.next_offset <= start:
            return True
        self._use_schedule()
        self.outbox.position_moved()
        columns, _ = self.withdrawn.split(columns, chunk.offsets)
        ticks = self._ticks(chunk, columns, now_us, start, at_end=at_end)
        self.position = start
        rewritten = 0
        while (
            self.position < chunk.next_offset
            and not self.outbox.is_full
            and rewritten < MOST_BARS // 2
        ):
            barrier = self.waiting.barrier()
            end = chunk.next_offset if barrier is None else min(barrier, chunk.next_offset)
            cut = int(np.searchsorted(ticks.offset, end))
            if (last := self._filled_by(ticks, cut)) is not None and last + 1 < cut:
                cut = last + 1
                end = int(ticks.offset[cut])
            while cut > 1 and self._minutes_closed_by(ticks, cut) > FULL_BACKLOG:
                cut //= 2
                end = int(ticks.offset[cut])
            if self._rules.late_policy == "revise" and cut > 1:
                before = cut
                cut, bars = late_cut(self.state, self.book, ticks, cut)
                rewritten += bars
                end = int(ticks.offset[cut]) if cut < before else end
            self._apply(chunk, ticks.take(slice(None, cut)))
            ticks = ticks.take(slice(cut, None))
            self.position = max(self.position, end)
            self.release()
            self._look_whether_full()
        for at, reason, detail in columns.rejected:
            if start <= (offset := int(chunk.offsets[at])) < self.position:
                self._reject(chunk, at, offset, reason, detail)
        self.last_batch = chunk.last_batch(self.position)
        return self.position >= chunk.next_offset and not self._may_release

    def _filled_by(self, ticks: Ticks, count: int) -> int | None:
        """Which of the first ``count`` ticks takes the last place there is for a series."""
        limit = self._max_series
        # most partitions are far below it, and their chunks pay nothing for it
        if self.is_full or limit is None or len(self.state) < limit:
            return None
        return fills(self.state, ticks.take(slice(None, count)), limit)

    def _look_whether_full(self) -> None:
        """From here on no other series is taken, and the log is to say so."""
        limit = self._max_series
        if self.is_full or limit is None or len(self.state) < limit or taken(self.state) < limit:
            return
        self.is_full = True
        self._tell_rules()

    def _minutes_closed_by(self, ticks: Ticks, count: int) -> int:
        """About how many minutes the first ``count`` ticks close: the bars that may come of it."""
        slots = np.unique(ticks.slot[:count])
        closed_us = self.state.closed_until_us[slots[slots >= 0]]
        closed_us = closed_us[closed_us > NEVER_US]
        reach = int(ticks.time_us[:count].max()) - closed_us
        return int(reach[reach > 0].sum()) // MINUTE_US

    def add_heartbeat(self, heartbeat: QueuedHeartbeat) -> None:
        """Take the next heartbeat of the log; it closes at once when its barrier is applied.

        One that was appended before its minute and the grace were over closes nothing.  Whether
        a close tolerance was over is judged by the schedule in force when it would close.
        """
        due_us = heartbeat.minute_us + MINUTE_US + self._rules.grace_us
        if NEVER_US < heartbeat.appended_us < due_us:
            self.counts.early_heartbeats += 1
            return
        if self.withdrawn.holds_heartbeat(heartbeat.broker, heartbeat.symbol, heartbeat.offset):
            return
        self.waiting.add(heartbeat)

    def heartbeats_read(self, next_offset: int) -> None:
        """The ``hb_1m`` partition has been read up to ``next_offset``."""
        self.waiting.next_offset = next_offset
        self.outbox.position_moved()
        self.release()

    @property
    def _may_release(self) -> bool:
        barrier = self.waiting.barrier()
        return barrier is not None and self.position is not None and barrier <= self.position

    def release(self) -> None:
        """Close what heartbeats may close now; the rest of them when there is room again."""
        if self.position is None or not self._may_release:
            return
        self._use_schedule()
        out = Closed()
        for heartbeat in self.waiting.release(self.position):
            if self._comes_early(heartbeat):
                self.counts.early_heartbeats += 1
                continue
            series = self.state.get(heartbeat.broker, heartbeat.symbol)
            if series is None or series.first_tick_us == NEVER_US:
                self.counts.unpriced_minutes += 1
                continue
            until_us = heartbeat.minute_us + MINUTE_US
            done = len(out.finals)
            if close_series(self.state, series, until_us, self.position, out):
                self.outbox.touch((series.slot,))
            self._closings.became_final(series, out.finals[done:], out)
            # also of a minute closed before: the last of a week is sent again when the week is over
            self._closings.judge(series, out, heartbeat.appended_us)
            if self.outbox.backlog + len(out.finals) + len(out.rollups) >= FULL_BACKLOG:
                break
        self.counts.heartbeat_finals += len(out.finals)
        self._closings.written(out)

    def _comes_early(self, heartbeat: QueuedHeartbeat) -> bool:
        """Whether ticks within the close tolerance might still have come when it was appended."""
        schedule = self._provider.index.for_series(heartbeat.broker, heartbeat.symbol)
        if schedule is None or heartbeat.appended_us <= NEVER_US:
            return False
        due_us = schedule.minute_end(heartbeat.minute_us) + self._rules.grace_us
        return heartbeat.appended_us < due_us

    def _use_schedule(self) -> None:
        """Judge by the newest schedule; upper bars that wait may be complete by it."""
        index = self._provider.index
        if self.state.uses(index):
            return
        self.state.use_schedule(index)
        self._tell_rules()
        self._closings.judge_all()

    def _tell_rules(self) -> None:
        """Have the log say by which rules everything from here on is judged."""
        if self._judged_by is None:
            return
        index = self._provider.index
        row = replace(
            self._judged_by,
            schedule=None if index.always_open else index.ends,
            sessions=index.rows,
            kept=index.kept,
            is_full=self.is_full,
            from_offset=self.position or 0,
            heartbeat_offset=self.waiting.resume_offset,
        )
        told = self._told
        if told is None or not row.says_same(told):
            self._told = row = row.behind(told)
            self.outbox.add_rules(row)

    def took_over(self, told: RulesRow | None) -> None:
        """The partition goes on here, by the rules of this worker.

        Args:
            told: the last rules the log knows of it.
        """
        self._told = told
        # series may have been dropped since, or the limit be another one
        self.is_full = self._max_series is not None and taken(self.state) >= self._max_series
        self._tell_rules()
        if told is not None and self._told is not None:
            self.rules_changed = changes_of(told, self._told)
        self._close_passed()

    def change_rules(self, rules: Rules, *, publish_off_session: bool) -> None:
        """Go on as a worker does that takes the partition over with other rules."""
        self._rules, self._publish_off_session = rules, publish_off_session
        self.state.use_rules(rules)
        self._use_schedule()
        self._close_passed()

    def _close_passed(self) -> None:
        # a grace that is shorter than it was has passed minutes that are open
        out = Closed()
        for series in self.state:
            reached_us = int(self.state.watermark_us[series.slot]) - self._rules.grace_us
            until_us = reached_us - reached_us % MINUTE_US
            done = len(out.finals)
            if until_us > NEVER_US and close_series(
                self.state, series, until_us, self.position or 0, out
            ):
                self.outbox.touch((series.slot,))
                self._closings.became_final(series, out.finals[done:], out)
                self._closings.judge(series, out)
        self.counts.watermark_finals += len(out.finals)
        self._closings.written(out)

    def judge_all(self) -> None:
        """Make upper bars final that are complete without another tick or heartbeat."""
        self._closings.judge_all()

    def restored(self, periods: Sequence[str] | None) -> None:
        """All series are back from their rows.

        Args:
            periods: of the upper bars that lacked nothing when the partition was written last;
                None: not known.

        Raises:
            StateUnusable: a timeframe was made on another grid.
        """
        known = set(periods or ())
        grids = {Period.parse(text).timeframe: text for text in known}
        for period in self.rollups.periods:
            before = grids.get(period.timeframe)
            if before is not None and str(period) not in known:
                raise StateUnusable(
                    f"timeframe {period.timeframe} must stay on its grid: its bars were made as "
                    f"{before} and are {period} now, and one topic cannot hold both. Go back to "
                    f"{before}, or start anew under another app_id and topics.base"
                )
        self._closings.added = tuple(p for p in self.rollups.periods if str(p) not in known)
        if self._closings.added:
            self._closings.unfilled.update(series.slot for series in self.state)

    def fill(self, series: SeriesState) -> int:
        """Make what a series lacks, and judge it; how many bars of added periods were made."""
        made, out = self._closings.fill(series), Closed()
        self._closings.judge(series, out)
        self._closings.written(out)
        return made

    def filled(self) -> None:
        """Every series has been filled: written with the next position."""
        self._closings.added = ()
        self.outbox.position_moved()

    def schedule_changed(self) -> None:
        """The schedule was replaced; nothing else need come for it to take effect."""
        self._use_schedule()

    def live(self, broker: str, symbol: str, period: Period) -> list[Bar]:
        """The open bars of a series, ascending; empty when the series is not known here."""
        series = self.state.get(broker, symbol)
        return [] if series is None else self.rollups.live(series, period)

    def _ticks(
        self, chunk: RecordChunk, columns: TickColumns, now_us: int, start: int, *, at_end: bool
    ) -> Ticks:
        """The accepted records from offset ``start`` on."""
        index = columns.index
        offset = chunk.offsets if index is None else chunk.offsets[index]
        stamps = chunk.timestamps_us if index is None else chunk.timestamps_us[index]
        if chunk.append_time:
            seen = stamps
        elif at_end:
            seen = np.maximum(stamps, now_us)
        else:
            seen = np.full(len(offset), FOREVER_US)
        slots = np.array([self._slot(*name) for name in columns.names], np.int32)
        slot = slots[columns.series] if len(slots) else np.empty(0, np.int32)
        # -0.0 equals 0.0 but is not the same bytes: which one is high would hang on the order
        price = columns.price + 0.0
        ticks = Ticks(slot, columns.time_us, price, columns.size, offset, seen)
        if chunk.start < start:
            ticks = ticks.take(slice(int(np.searchsorted(offset, start)), None))
        return ticks

    def _slot(self, broker: str, symbol: str) -> int:
        home = self._partition_of(broker, symbol)
        if home is not None and home != self.partition:
            if len(self.strays) < _STRAYS_SHOWN:
                self.strays[broker, symbol] = home
            return _ELSEWHERE
        known = self.state.get(broker, symbol)
        # only an accepted tick makes a home: what was refused left no row, and would be forgotten
        if known is not None and known.schedule is not None and known.first_tick_us != NEVER_US:
            return known.slot
        if self._provider.index.for_series(broker, symbol) is None:
            self.unscheduled.pop((broker, symbol), None)
            self.unscheduled[broker, symbol] = None
            if len(self.unscheduled) > _UNSCHEDULED_SHOWN:
                del self.unscheduled[next(iter(self.unscheduled))]
            return _UNSCHEDULED
        self.unscheduled.pop((broker, symbol), None)
        if known is None and self.is_full and self._provider.index.always_open:
            self.one_too_many = broker, symbol
            return _BEYOND  # nothing is kept of names without end
        return self.state.slot(broker, symbol)

    def _apply(self, chunk: RecordChunk, ticks: Ticks) -> None:
        elsewhere = ticks.slot == _ELSEWHERE
        if elsewhere.any():
            self._reject_offsets(chunk, ticks.offset[elsewhere], Reason.PARTITION)
            ticks = ticks.take(~elsewhere)
        if self.is_full:
            ticks = self._without_other_series(chunk, ticks)
        if not len(ticks):
            return
        out = Applied()
        late = Revising(self._closings) if self._rules.late_policy == "revise" else None
        apply_ticks(self.state, ticks, out, late)
        self._closings.settle(out, 0 if late is None else late.settled)
        merged = [(offsets, Reason.LATE) for offsets in out.merged]
        self._arrivals.count(self.state, ticks, out.rejected + merged, self.counts.arrivals)
        self.counts.accepted += out.accepted + sum(len(offsets) for offsets in out.merged)
        self.counts.revised += len(out.revised)
        self.counts.watermark_finals += len(out.finals)
        for offsets, reason in out.rejected:
            self._reject_offsets(chunk, offsets, reason)
        self.outbox.touch(out.touched)
        self._closings.written(out)
        self.outbox.add_finals(change.new for change in out.revised)

    def _without_other_series(self, chunk: RecordChunk, ticks: Ticks) -> Ticks:
        """Ticks of the series that are taken; those of others are rejected."""
        new = are_new(self.state, ticks)
        if new.any():
            other = self.state.series[int(ticks.slot[new][0])]
            self.one_too_many = other.broker, other.symbol
        beyond = new | (ticks.slot == _BEYOND)
        self._reject_offsets(chunk, ticks.offset[beyond], Reason.TOO_MANY_SERIES)
        return ticks.take(~beyond)

    @property
    def fullness(self) -> float:
        """How many series it has taken, of those it may; 0 where it may take any number."""
        return 0.0 if self._max_series is None else taken(self.state) / self._max_series

    def _reject_offsets(
        self, chunk: RecordChunk, offsets: NDArray[np.int64], reason: Reason
    ) -> None:
        if reason is Reason.OFF_SESSION and not self._publish_off_session:
            # they can be most of a feed: counted, and no more
            self.counts.reject(reason, len(offsets))
            return
        places = np.searchsorted(chunk.offsets, offsets)
        for at, offset in zip(places.tolist(), offsets.tolist(), strict=True):
            self._reject(chunk, at, offset, reason, _DETAIL[reason])

    def _reject(
        self, chunk: RecordChunk, at: int, offset: int, reason: Reason, detail: str
    ) -> None:
        self.counts.reject(reason, 1)
        self.outbox.reject(RejectedTick(offset, chunk.keys[at], chunk.values[at], reason, detail))

    def take_counts(self) -> Counts:
        """What happened since the last call."""
        return self.counts.take()

    def take(self, *, live: bool = True) -> Pending:
        """What has to be written for the position reached; see `Outbox.take`."""
        pending = self.outbox.take(self.position or 0, self.waiting.resume_offset, live=live)
        added = self._closings.added
        pending.last_batch = self.last_batch
        pending.periods = tuple(str(p) for p in self.rollups.periods if p not in added)
        return pending


_DETAIL: Final = {
    Reason.UNSCHEDULED: "the series has no row in the market schedule; "
    "load one with: barstream schedule load",
    Reason.OFF_SESSION: "no session of the series has open <= event time < close",
    Reason.LATE: "the bar of its minute was final",
    Reason.PARTITION: "the series is seen in another partition; "
    "all ticks of a series must go to one",
    Reason.TOO_MANY_SERIES: "the partition has as many series as bars.max_series allows, and "
    "this is another one",
}
