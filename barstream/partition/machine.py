"""One tick partition: ticks and heartbeats in, what is to be written out.

Nothing here waits or talks to Kafka.  `PartitionMachine` applies chunks in offset order and closes
bars when a heartbeat's barrier has been applied; what comes of it is gathered in its outbox and
taken by a flush as one `Emission`, so that what is written belongs to one position::

    apply_ticks ── pieces between barriers ──▶ rules.tick_batch ─┐
    add_heartbeat, heartbeats_read ──▶ release ──────────────────┼──▶ _close ──▶ roll-ups
    took_over, change_rules ─────────────────────────────────────┘       │          │
                                                take ◀── outbox ◀────────┴──────────┘
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from barstream.model.key import series_key
from barstream.model.period import MINUTE, Period
from barstream.model.rejection import Reason
from barstream.model.tick import Ticks
from barstream.model.time import MINUTE_US
from barstream.partition.counts import Counts
from barstream.partition.finals_view import FinalsView, RevisableFinals
from barstream.partition.heartbeat_queue import HeartbeatQueue, QueuedHeartbeat
from barstream.partition.late_budget import MOST_BARS, late_cut
from barstream.partition.missing_rollups import missing
from barstream.partition.outbox import FULL_BACKLOG, Emission, Outbox, RejectedTick
from barstream.partition.series_gate import PartitionOf, SeriesGate
from barstream.partition.trace import Cause, Closure, Fate, Trace
from barstream.rules.close import Gap, close_series
from barstream.rules.late import revise
from barstream.rules.late_share import ArrivalCounter
from barstream.rules.rollup import RollUp, RollUps
from barstream.rules.series import FOREVER_US, NEVER_US, PartitionState, Rules, SeriesState
from barstream.rules.tick_batch import apply_ticks

if TYPE_CHECKING:
    from barstream.codecs.ticks.decoder import TickColumns


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What a machine makes beside minutes, and what it says of itself.

    Attributes:
        periods: of the upper bars.
        live_periods: those of them whose open bars are published.
        publish_off_session: whether off-session ticks are written to ``ticks_rejected``.
        judged_by: the rules as the log is to say them; None: they are not written.
        max_series: so many are taken at most, see `barstream.rules.series_limit`; None: any number.
    """

    periods: Sequence[Period] = ()
    live_periods: Iterable[Period] = ()
    publish_off_session: bool = False
    judged_by: RulesRow | None = None
    max_series: int | None = None


_MINUTES_ALONE: Final = MachineOptions()


class PartitionMachine:
    """The state of one partition and the rules that move it.

    Args:
        partition: number of the tick partition.
        rules: what decides a bar.
        provider: the schedule, ready.
        partition_of: where a series is seen, to refuse its ticks from a second partition.
        options: see `MachineOptions`.
        book: the finals there are; by default none.
    """

    def __init__(
        self,
        partition: int,
        rules: Rules,
        provider: MarketScheduleProvider,
        partition_of: PartitionOf,
        options: MachineOptions = _MINUTES_ALONE,
        *,
        book: FinalsView | None = None,
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
        self.gate = SeriesGate(partition, self.state, provider, partition_of, options.max_series)
        self.book = FinalsView({}) if book is None else book
        self.rollups = RollUps(self.state, options.periods, self.book)
        self.outbox = Outbox(self.state, self._live_rollups)
        self.counts = Counts()
        #: Is told what is decided of its series; None: nobody asks.
        self.trace: Trace | None = None
        self._arrivals = ArrivalCounter()
        self._live_periods = tuple(options.live_periods)
        self._rules = rules
        self._provider = provider
        self._publish_off_session = options.publish_off_session
        self._judged_by = options.judged_by
        #: What the log says, or will with the next flush.
        self._told: RulesRow | None = None
        #: Settings that are others than those by which the partition was judged until now.
        self.rules_changed: list[str] = []
        #: Periods in force that were not when the partition was written last ...
        self._added: tuple[Period, ...] = ()
        #: ... and the slots of series that lack their bars still.
        self._unfilled: set[int] = set()

    # -- ticks ------------------------------------------------------------------------------------

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
        if self.trace is not None:
            self.trace.begin_chunk(chunk, columns)
        rewritten = 0
        while (
            self.position < chunk.next_offset
            and not self.outbox.is_full
            and rewritten < MOST_BARS // 2
        ):
            cut, end, bars = self._piece(ticks, chunk.next_offset)
            rewritten += bars
            self._apply(chunk, ticks.take(slice(None, cut)))
            ticks = ticks.take(slice(cut, None))
            self.position = max(self.position, end)
            self.release()
            if self.gate.became_full():
                self._tell_rules()
        for at, reason, detail in columns.rejected:
            if start <= (offset := int(chunk.offsets[at])) < self.position:
                self._reject(chunk, at, offset, reason, detail)
                if self.trace is not None and chunk.keys[at] == series_key(*self.trace.name):
                    self.trace.refuse_record(offset, reason)
        self.last_batch = chunk.last_batch(self.position)
        if self.trace is not None:
            self.trace.end_chunk()
        return self.position >= chunk.next_offset and not self._may_release

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
        slots = self.gate.slots(columns.names)
        slot = slots[columns.series] if len(slots) else np.empty(0, np.int32)
        # -0.0 equals 0.0 but is not the same bytes: which one is high would hang on the order
        price = columns.price + 0.0
        ticks = Ticks(slot, columns.time_us, price, columns.size, offset, seen)
        if chunk.start < start:
            ticks = ticks.take(slice(int(np.searchsorted(offset, start)), None))
        return ticks

    def _piece(self, ticks: Ticks, end: int) -> tuple[int, int, int]:
        """How far to go in one step: up to a barrier, the last series, or as much as has room.

        Args:
            ticks: that are not applied yet.
            end: the offset after them.

        Returns:
            How many of the ticks, the offset after them, and about how many finals the late ones
            among them write again.
        """
        barrier, bars = self.waiting.barrier(), 0
        if barrier is not None:
            end = min(barrier, end)
        cut = int(np.searchsorted(ticks.offset, end))
        if (last := self.gate.filled_by(ticks, cut)) is not None and last + 1 < cut:
            cut = last + 1
            end = int(ticks.offset[cut])
        while cut > 1 and self._minutes_closed_by(ticks, cut) > FULL_BACKLOG:
            cut //= 2
            end = int(ticks.offset[cut])
        if self._rules.late_policy == "revise" and cut > 1:
            before = cut
            cut, bars = late_cut(self.state, self.book, ticks, cut)
            end = int(ticks.offset[cut]) if cut < before else end
        return cut, end, bars

    def _minutes_closed_by(self, ticks: Ticks, count: int) -> int:
        """About how many minutes the first ``count`` ticks close: the bars that may come of it."""
        slots = np.unique(ticks.slot[:count])
        closed_us = self.state.closed_until_us[slots[slots >= 0]]
        closed_us = closed_us[closed_us > NEVER_US]
        reach = int(ticks.time_us[:count].max()) - closed_us
        return int(reach[reach > 0].sum()) // MINUTE_US

    def _apply(self, chunk: RecordChunk, ticks: Ticks) -> None:
        ticks, rejected = self.gate.refuse(ticks)
        late: list[tuple[NDArray[np.int64], Reason]] = []
        for part in apply_ticks(self.state, ticks):
            if part.accepted is not None:
                self.counts.accepted += len(part.accepted)
                if self.trace is not None:
                    self.trace.accept(part.accepted)
            self.outbox.touch(part.touched)
            rejected += part.rejected
            for slot, closings in part.closings_by_slot():
                series = self.state.series[slot]
                self.counts.watermark_finals += self._close(series, closings, Cause.WATERMARK)
            if part.late is not None:
                merged, refused = self._revise(part.late)
                late.append((merged, Reason.LATE))
                rejected.append((refused, Reason.LATE))
        if len(ticks):
            self._arrivals.count(self.state, ticks, rejected + late, self.counts.arrivals)
        for offsets, reason in rejected:
            self._reject_offsets(chunk, offsets, reason)
        if self.trace is not None:
            self.trace.refuse(rejected)

    def _revise(self, late: Ticks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Merge late ticks into finals; the offsets of those merged, and of those refused.

        A parent counts what came after it was final, so what was closed before them is in the
        upper bars already.
        """
        for slot in np.unique(late.slot).tolist():
            self._fill(self.state.series[slot])
        done = revise(self.state, late, RevisableFinals(self.book, self._whole_from_us))
        self.outbox.touch(done.touched)
        # also where no row changed: open upper bars did
        self.outbox.touch(done.changes)
        for slot in done.changes:
            series, changes = self.state.series[slot], done.of(slot)
            self.counts.revised += len(changes)
            self.outbox.add_finals(change.new for change in changes)
            self._emit(self.rollups.revise(series, changes))
            self._judge(series)
            if self.trace is not None and self.trace.is_of(series):
                self.trace.rewrite(changes)
        self.counts.accepted += len(done.merged)
        merged = np.array(done.merged, np.int64)
        if self.trace is not None:
            self.trace.accept(late.take(np.isin(late.offset, merged)), is_late=True)
        return merged, np.array(done.rejected, np.int64)

    def _whole_from_us(self, broker: str, symbol: str) -> int | None:
        """Minutes before this are refused late ticks: an upper bar could not follow."""
        series = self.state.get(broker, symbol)
        if series is None:
            return None
        return self.rollups.children.whole_from_us(series, self.rollups.periods)

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

    # -- heartbeats -------------------------------------------------------------------------------

    def add_heartbeat(self, heartbeat: QueuedHeartbeat) -> None:
        """Take the next heartbeat of the log; it closes at once when its barrier is applied.

        One that was appended before its minute and the grace were over closes nothing.  Whether
        a close tolerance was over is judged by the schedule in force when it would close.
        """
        due_us = heartbeat.minute_us + MINUTE_US + self._rules.grace_us
        if NEVER_US < heartbeat.appended_us < due_us:
            self.counts.early_heartbeats += 1
            fate = Fate.EARLY
        elif self.withdrawn.holds_heartbeat(heartbeat.broker, heartbeat.symbol, heartbeat.offset):
            fate = Fate.WITHDRAWN
        else:
            self.waiting.add(heartbeat)
            fate = Fate.WAITING
        if self.trace is not None:
            self.trace.note(heartbeat, fate, self.position)

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
        for heartbeat in self.waiting.release(self.position):
            fate = self._use(heartbeat, self.position)
            if self.trace is not None:
                self.trace.note(heartbeat, fate, self.position)
            if self.outbox.backlog >= FULL_BACKLOG:
                break

    def _use(self, heartbeat: QueuedHeartbeat, position: int) -> Fate:
        """Close what a heartbeat closes whose barrier has been applied."""
        if self._comes_early(heartbeat):
            self.counts.early_heartbeats += 1
            return Fate.EARLY
        series = self.state.get(heartbeat.broker, heartbeat.symbol)
        if series is None or series.first_tick_us == NEVER_US:
            self.counts.unpriced_minutes += 1
            return Fate.UNPRICED
        until_us = heartbeat.minute_us + MINUTE_US
        fate = Fate.PASSED
        if until_us > self.state.closed_until_us[series.slot]:
            self.outbox.touch((series.slot,))
            fate = Fate.CLOSED
        # also of a minute closed before: the last of a week is sent again when the week is over
        self.counts.heartbeat_finals += self._close(
            series, ((until_us, position),), Cause.HEARTBEAT, heartbeat
        )
        return fate

    def _comes_early(self, heartbeat: QueuedHeartbeat) -> bool:
        """Whether ticks within the close tolerance might still have come when it was appended."""
        schedule = self._provider.index.for_series(heartbeat.broker, heartbeat.symbol)
        if schedule is None or heartbeat.appended_us <= NEVER_US:
            return False
        due_us = schedule.minute_end(heartbeat.minute_us) + self._rules.grace_us
        return heartbeat.appended_us < due_us

    # -- closing ----------------------------------------------------------------------------------

    def _close(
        self,
        series: SeriesState,
        closings: Iterable[tuple[int, int]],
        cause: Cause,
        heartbeat: QueuedHeartbeat | None = None,
    ) -> int:
        """Through here everything becomes final, whatever the cause; how many minutes did.

        Args:
            series: of which minutes are closed.
            closings: minutes (exclusive) up to which, each with its close offset; ascending.
            cause: of all of them.
            heartbeat: the one that is the cause; its append time is evidence that an instant has
                passed in the log.
        """
        finals: list[Bar] = []
        trace = self.trace if self.trace is not None and self.trace.is_of(series) else None
        for until_us, close_offset in closings:
            if trace is None:
                finals += close_series(self.state, series, until_us, close_offset)
                continue
            start_us, gaps = int(self.state.closed_until_us[series.slot]), list[Gap]()
            made = close_series(self.state, series, until_us, close_offset, gaps)
            finals += made
            if until_us > start_us:
                offset = close_offset if heartbeat is None else heartbeat.offset
                if cause is Cause.WATERMARK:
                    offset = close_offset - 1
                minutes = tuple(bar.bucket_start_us for bar in made)
                trace.close(
                    Closure(start_us, until_us, cause, offset, close_offset, minutes, tuple(gaps))
                )
        if finals:
            self._fill(series)
            for bar in finals:
                self.book.put(MINUTE, bar)
                self.counts.synthetic += bar.synthetic
            self.outbox.add_finals(finals)
            self._emit(self.rollups.add(series, finals))
        self._judge(series, NEVER_US if heartbeat is None else heartbeat.appended_us)
        return len(finals)

    def _judge(self, series: SeriesState, evidence_us: int = NEVER_US) -> None:
        """Make upper bars of a series final that are complete; see `RollUps.judge`."""
        self._fill(series)
        self._emit(self.rollups.judge(series, evidence_us))

    def _emit(self, rollups: Sequence[RollUp]) -> None:
        if not rollups:
            return
        for period, _ in rollups:
            self.counts.rollups[period] = self.counts.rollups.get(period, 0) + 1
        self.outbox.add_rollups(rollups)

    def judge_all(self) -> None:
        """Make upper bars final that are complete without another tick or heartbeat."""
        for series in self.state:
            if not self.rollups.is_restored(series):
                self.rollups.restore(series)
            self._judge(series)

    # -- schedule and rules -----------------------------------------------------------------------

    def schedule_changed(self) -> None:
        """The schedule was replaced; nothing else need come for it to take effect."""
        self._use_schedule()

    def _use_schedule(self) -> None:
        """Judge by the newest schedule; upper bars that wait may be complete by it."""
        index = self._provider.index
        if self.state.uses(index):
            return
        self.state.use_schedule(index)
        self._tell_rules()
        self.judge_all()

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
            is_full=self.gate.is_full,
            from_offset=self.position or 0,
            heartbeat_offset=self.waiting.resume_offset,
        )
        told = self._told
        # from the first row of a version on its bars have what came with it
        if told is None or told.version != row.version or not row.says_same(told):
            self._told = row = row.behind(told)
            self.outbox.add_rules(row)

    def took_over(self, told: RulesRow | None) -> None:
        """The partition goes on here, by the rules of this worker.

        Args:
            told: the last rules the log knows of it.
        """
        self._told = told
        self.gate.took_over()
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
        for series in self.state:
            reached_us = int(self.state.watermark_us[series.slot]) - self._rules.grace_us
            until_us = reached_us - reached_us % MINUTE_US
            if until_us > max(NEVER_US, int(self.state.closed_until_us[series.slot])):
                self.outbox.touch((series.slot,))
                self.counts.watermark_finals += self._close(
                    series, ((until_us, self.position or 0),), Cause.GRACE
                )

    # -- state put back ---------------------------------------------------------------------------

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
        self._added = tuple(p for p in self.rollups.periods if str(p) not in known)
        if self._added:
            self._unfilled.update(series.slot for series in self.state)

    def fill(self, series: SeriesState) -> int:
        """Make what a series lacks, and judge it; how many bars of added periods were made."""
        made = self._fill(series)
        self._judge(series)
        return made

    def _fill(self, series: SeriesState) -> int:
        """Make the bars of added periods, before anything of the series is judged; how many."""
        if series.slot not in self._unfilled:
            return 0
        self._unfilled.discard(series.slot)
        found = missing(self.book, self.rollups, series, self._added)
        self._emit(found)
        return len(found)

    def filled(self) -> None:
        """Every series has been filled: written with the next position."""
        self._added = ()
        self.outbox.position_moved()

    # -- what comes out ---------------------------------------------------------------------------

    def live(self, broker: str, symbol: str, period: Period) -> list[Bar]:
        """The open bars of a series, ascending; empty when the series is not known here."""
        series = self.state.get(broker, symbol)
        return [] if series is None else self.rollups.live(series, period)

    def _live_rollups(self, series: SeriesState) -> Iterable[RollUp]:
        for period in self._live_periods:
            for bar in self.rollups.live(series, period):
                yield period, bar

    def take(self, *, live: bool = True) -> Emission:
        """What has to be written for the position reached; see `Outbox.take`."""
        emitted = self.outbox.take(self.position or 0, self.waiting.resume_offset, live=live)
        emitted.last_batch = self.last_batch
        emitted.periods = tuple(str(p) for p in self.rollups.periods if p not in self._added)
        return emitted

    def take_counts(self) -> Counts:
        """What happened since the last call."""
        self.counts.unpriced_minutes += self.state.unpriced_minutes
        self.state.unpriced_minutes = 0
        return self.counts.take()


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
