"""What is known of one bucket of one series: everything an explanation is made of.

Times are microseconds since the epoch, UTC; offsets are those of the series' own partition unless
a partition stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from barstream.log.rules import Regime, Regimes
from barstream.market.schedule import ScheduleIndex, SeriesSchedule, Session
from barstream.market.universe import SeriesSeen
from barstream.model.bar import Bar, PartialBar
from barstream.model.period import Period
from barstream.model.time import MINUTE_US
from barstream.rules.heartbeat_due import minute_end_us

_NO_END: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """The settings that decide when a minute is closed, for one broker."""

    grace_us: int
    feed_delay_us: int = 0
    late_policy: Literal["reject", "revise"] = "reject"
    inactive_after: int = 5
    heartbeats: bool = True
    max_future_skew_us: int = 5_000_000

    def closes_at_us(self, minute_us: int) -> int:
        """A tick with this event time may close the minute."""
        return minute_us + MINUTE_US + self.grace_us


@dataclass(frozen=True, slots=True)
class Version:
    """One record of a bar's key; ``bar`` is None of a tombstone."""

    offset: int
    appended_us: int
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Other finals of the series beside the bucket, as far as they are in the log.

    Attributes:
        real_before: the last bar with ticks before the bucket.
        before: the last bar of any kind before it.
        after: the first one after it, in the version written first.
        reals_after: those with ticks after it, in the versions written first: the few whose first
            ticks have the lowest offsets, these ascending.
        earliest_us: bucket start of the earliest there is.
    """

    real_before: Version | None = None
    before: Version | None = None
    after: Version | None = None
    reals_after: tuple[Version, ...] = ()
    earliest_us: int | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of the series with its place in the log."""

    offset: int
    time_us: int
    price: float
    size: float
    appended_us: int
    partition: int


@dataclass(frozen=True, slots=True)
class RejectionFact:
    """A tick that made no bar, and why.

    Attributes:
        tick: where it stood; its append time is -1 where it was not looked up.
        record_offset: offset of the record in ``ticks_rejected``; None: the reason follows from
            the tick itself and no record of it was found.
    """

    tick: Tick
    reason: str
    detail: str
    record_offset: int | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat of the series."""

    offset: int
    appended_us: int
    minute_us: int
    barrier: int
    sent_at_us: int
    source: str


@dataclass(frozen=True, slots=True)
class SeriesFact:
    """What the partition remembers of the series, at its position."""

    closed_until_us: int
    watermark_us: int
    previous_close: float | None
    first_tick_us: int
    last_trading_date: int | None
    live: bool
    open_bars: tuple[PartialBar, ...] = ()


@dataclass(frozen=True, slots=True)
class Stand:
    """Where the partition of the series stands now.

    Attributes:
        partition: of the tick topic.
        position: first offset of ticks not applied; None: no worker has applied any.
        begin, end: what the tick partition holds.
        heartbeat_position: first heartbeat not used.
        heartbeat_end: end of the heartbeat partition.
    """

    partition: int
    position: int | None
    begin: int
    end: int
    heartbeat_position: int | None = None
    heartbeat_end: int = 0

    @property
    def lag(self) -> int:
        """Offsets not applied yet."""
        return max(0, self.end - (self.begin if self.position is None else self.position))


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The schedule of the series around the bucket, as it is now.

    Attributes:
        schedule: None: the series has no rows.
        session: the one the bucket lies in, None off session.
        before, after: the sessions next to the bucket when it is off session.
        row_appended_us: when the row of ``session`` was written; None without a schedule topic.
        refused: why workers refuse the rows, if they do.
    """

    schedule: SeriesSchedule | None
    session: Session | None = None
    before: Session | None = None
    after: Session | None = None
    row_appended_us: int | None = None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known of a minute; of an upper bar `UpperFacts` adds its children.

    Attributes:
        bucket_us: start of the bucket asked for.
        now_us: wall clock.
        seen: row of the series in ``series_seen``, None when it has none.
        similar: names like the one asked for, of series that were seen.
        stand: None when the partition is not known.
        row: what the partition remembers of the series; None: nothing.
        finals, live: every version of the bar in the log, oldest first.
        neighbours: other finals.
        finals_begin: offset at which the partition of finals begins: above 0, some were deleted.
        kept_days: for how long finals are kept.
        regimes: the rules its partition was judged by, and from where on; None: those of now.
        ticks: ticks of the bucket in the series' partition, rejected and invalid ones too, by
            offset.
        until_close: of a final the ticks of the minute and of later ones below the close offset of
            its first version, and the tick just before that; none that the log says was rejected.
        closing_tick: the first accepted tick found that passes the bucket's end and the grace.
        graced: of a bucket without a bar the number of the first regime whose shorter grace had
            passed it where it began; None: there is none.
        woken_by: of a bucket without a bar the first tick in time after it.
        elsewhere: ticks of the bucket in other partitions.
        rejected: ticks of the bucket that were rejected, as the log says or by what they are.
        undated: records under the key of the series, appended around the bucket, that are no tick
            and do not tell their time.
        unapplied: of a series without state its first tick that was not applied yet.
        refused_before: how many ticks of the series stand in ``ticks_rejected`` by reason, counted
            only where no tick of it was ever accepted.
        beats: heartbeats for this minute or later ones, in log order, the first of them.
        dropped_at_us: when the series was dropped, asked only where it was not seen since.
    """

    broker: str
    symbol: str
    period: Period
    bucket_us: int
    now_us: int
    rules: RuleFacts
    scheduled: Scheduled
    seen: SeriesSeen | None = None
    similar: tuple[tuple[str, str], ...] = ()
    stand: Stand | None = None
    row: SeriesFact | None = None
    finals: tuple[Version, ...] = ()
    live: tuple[Version, ...] = ()
    neighbours: Neighbours = field(default_factory=Neighbours)
    finals_begin: int = 0
    kept_days: float = 30.0
    regimes: Regimes[ScheduleIndex] | None = None
    ticks: tuple[Tick, ...] = ()
    until_close: tuple[Tick, ...] = ()
    closing_tick: Tick | None = None
    graced: int | None = None
    woken_by: Tick | None = None
    elsewhere: tuple[Tick, ...] = ()
    rejected: tuple[RejectionFact, ...] = ()
    undated: tuple[RejectionFact, ...] = ()
    unapplied: Tick | None = None
    refused_before: Mapping[str, int] = field(default_factory=dict)
    beats: tuple[Beat, ...] = ()
    dropped_at_us: int | None = None

    @property
    def name(self) -> tuple[str, str]:
        """Broker and symbol."""
        return self.broker, self.symbol

    @property
    def final(self) -> Version | None:
        """The newest version, unless that is a tombstone."""
        newest = self.finals[-1] if self.finals else None
        return newest if newest is not None and newest.bar is not None else None

    @property
    def first(self) -> Version | None:
        """The oldest version in the log that is none of its tombstones."""
        return next((one for one in self.finals if one.bar is not None), None)

    @property
    def before_close(self) -> Tick | None:
        """The tick of the series, of any time, before the close offset of the first version."""
        bar = None if self.first is None else self.first.bar
        last = self.until_close[-1] if self.until_close else None
        if bar is None or bar.close_offset is None or last is None:
            return None
        return last if last.offset == bar.close_offset - 1 else None

    @property
    def home(self) -> int | None:
        """The partition its ticks are seen in."""
        return None if self.stand is None else self.stand.partition

    @property
    def most_skew_us(self) -> int:
        """How far an accepted tick may have lain after its record's timestamp at most."""
        told = [] if self.regimes is None else self.regimes.all
        skews = [each.rules.max_future_skew_us for each in told]
        return max([self.rules.max_future_skew_us, *skews])

    @property
    def open_bar(self) -> PartialBar | None:
        """The open bar of the bucket at the partition's position."""
        bars = () if self.row is None else self.row.open_bars
        return next((bar for bar in bars if bar.bucket_us == self.bucket_us), None)

    def regime_at(self, offset: int) -> Regime[ScheduleIndex] | None:
        """By what a tick at ``offset`` was judged; None where the log does not say."""
        regime = None if self.regimes is None else self.regimes.at(offset)
        return None if regime is None or not regime.is_told else regime

    def regime_of_beat(self, beat: Beat) -> Regime[ScheduleIndex] | None:
        """By what a heartbeat was taken; None where the log does not say."""
        return self.regime_of(self.number_of(beat))

    def regime_of(self, number: int) -> Regime[ScheduleIndex] | None:
        """One by its number; None where the log does not say."""
        regime = None if self.regimes is None else self.regimes.all[number]
        return None if regime is None or not regime.is_told else regime

    def number_of(self, beat: Beat) -> int:
        """The number of the regime a heartbeat was taken in."""
        return 0 if self.regimes is None else self.regimes.number_of_heartbeat(beat.offset)

    def used_between(self, beat: Beat) -> tuple[int, int]:
        """The tick offsets between which it was used: from its barrier on, and in its regime."""
        if self.regimes is None:
            return beat.barrier, _NO_END
        number, every = self.number_of(beat), self.regimes.all
        end = every[number + 1].begin if number + 1 < len(every) else _NO_END
        return max(beat.barrier, every[number].begin), end

    def may_have_lost(self, time_us: int, offset: int) -> bool:
        """Whether the log does not say, or not any more, by which sessions something was judged."""
        if self.regimes is None or self.regime_at(offset) is None:
            return True
        return self.regimes.may_have_lost(self.name, time_us, offset)

    def rules_of(self, regime: Regime[ScheduleIndex] | None) -> RuleFacts:
        """The rules of a regime; None: those of now."""
        if regime is None:
            return self.rules
        told = regime.rules
        return replace(
            self.rules, grace_us=told.grace_us, late_policy=told.late_policy,
            inactive_after=told.inactive_after, max_future_skew_us=told.max_future_skew_us,
        )  # fmt: skip

    def schedule_of(self, regime: Regime[ScheduleIndex] | None) -> SeriesSchedule | None:
        """The sessions of the series in a regime; None: those of now."""
        if regime is None:
            return self.scheduled.schedule
        return regime.index.for_series(self.broker, self.symbol)

    def placed_us(self, tick: Tick) -> int:
        """The time that decides the minute of a tick, by the sessions that judged it.

        That is its own, unless a close tolerance lets it in.
        """
        schedule = self.schedule_of(self.regime_at(tick.offset))
        if schedule is None or not schedule.has_tolerance:
            return tick.time_us
        time_us = np.array([tick.time_us], np.int64)
        return int(schedule.placed(time_us, schedule.locate(time_us))[0])

    def is_of_minute(self, tick: Tick) -> bool:
        """Whether a tick is of the minute."""
        return 0 <= self.placed_us(tick) - self.bucket_us < MINUTE_US

    @property
    def ticks_between(self) -> tuple[int, int]:
        """Event times between which ticks of the minute lie, by whatever sessions; half-open."""
        told = [] if self.regimes is None else self.regimes.all
        schedules = [self.schedule_of(each) for each in (None, *told)]
        ends = [minute_end_us(self.bucket_us, schedule) for schedule in schedules]
        return self.bucket_us, max(ends)

    @property
    def end_us(self) -> int:
        """When the minute is over, by the sessions of now."""
        return minute_end_us(self.bucket_us, self.scheduled.schedule)

    @property
    def due_us(self) -> int:
        """When the clock closes the minute of a live series."""
        return self.end_us + self.rules.grace_us + self.rules.feed_delay_us
