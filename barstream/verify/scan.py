"""The scan: every tick once, in offset order, with nothing kept that is not needed any more.

A tick's minute has a final: below its close offset the tick must be in it, from there on it is
late.  It has none: the minute is open, or it was closed without a bar.  The ticks of a bar are kept
until the scan has passed its close offset, then folded and compared.

What stands in ``ticks_rejected`` was rejected, whatever would be done with it now: it is in no bar.
Whether it was rejected by the rules that held there is another question, and asked of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.codecs.topics.withdrawal import Withdrawn, WithdrawnTicks
from barstream.model.bar_fields import EXACT_FIELDS, FLOATS, ExactField
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.verify.evidence import Evidence
from barstream.verify.findings import TICKS_SHOWN, Finding, ShownTick
from barstream.verify.hours import LONGEST_TOLERANCE_US
from barstream.verify.minute_fold import (
    FOLDED,
    PRODUCT,
    TICK_SCHEMA,
    VWAP,
    fold,
    is_exact_sum,
    rounded_sum,
)
from barstream.verify.published_bars import float_bits, longs
from barstream.verify.rejections import Rejections
from barstream.verify.series_number import find, minute_key
from barstream.verify.tick_class import (
    IN_SESSION,
    OFF_SESSION,
    PARTITION,
    UNSCHEDULED,
    Block,
    Judge,
)
from barstream.verify.turnover import may_lack
from barstream.verify.watermarks import Watermarks

Longs = NDArray[np.int64]
_REASONS: Final = {
    PARTITION: "partition", UNSCHEDULED: "unscheduled", OFF_SESSION: "off_session",
}  # fmt: skip
#: A series is closed up to its latest tick, less the longest grace there is and what comes of
#: minutes and tolerances.
_FURTHEST_OPEN_US: Final = 3_600 * SECOND_US + LONGEST_TOLERANCE_US + MINUTE_US
#: Fields that are sums of floats, and what follows from them.
_SUMMED: Final = frozenset({*(field.rounded for field in EXACT_FIELDS), "vwap"})
_SHOWN: Final = ("offset", "time_us", "price", "size")
#: ``bar``: of its minute, -1 where there is none.
_LOOSE: Final = {
    "series": pl.Int64, "bucket_us": pl.Int64, "before_us": pl.Int64, "refused": pl.Boolean,
    **TICK_SCHEMA,
}  # fmt: skip


@dataclass(slots=True)
class Accounts:
    """Where the ticks of the series and time asked for are: each in exactly one.

    Attributes:
        read: records that were read for it, others among them.
        ticks: those asked for; records that are no ticks, of no series or time, only where
            nothing was left out.
        elsewhere: of those refused, in another partition than their series.
        unscheduled: of those refused, without a session row of their series.
        unproven: rejected, but their rows are gone with retention.
    """

    read: int = 0
    ticks: int = 0
    in_bars: int = 0
    open: int = 0
    late: int = 0
    refused: int = 0
    elsewhere: int = 0
    unscheduled: int = 0
    off_session: int = 0
    unproven: int = 0
    #: Of series that were dropped.
    withdrawn: int = 0


@dataclass(slots=True)
class Recomputed:
    """What the ticks say of the finals; arrays by bar, in the order of `Published.bars`.

    Attributes:
        has_ticks: whether a tick below the close offset is in its minute.
        close: of a bar with ticks, NaN otherwise.
        corrected: by bar, the fields as they should be, where they are not.
        watermark: latest event time below the close offset.
        watermark_before: likewise below the offset before it.
        watermark_at: latest event time of each series below the beginning of each regime, shape
            (regimes, series).
        first_tick: offset of the first tick of each series, below what was read: -1.
        gone: bars whose ticks the topic no longer has.
    """

    has_ticks: NDArray[np.bool_]
    close: NDArray[np.float64]
    watermark: Longs
    watermark_before: Longs
    watermark_at: Longs
    first_tick: Longs
    gone: NDArray[np.bool_]
    corrected: dict[int, dict[str, Any]] = field(default_factory=dict)


class Scan:
    """Compares ticks with finals and rejections as they go by.

    Args:
        evidence: what they are compared with.
        judge: knows the sessions, then and now.
        withdrawn: ticks that no bar may have.
    """

    def __init__(
        self, evidence: Evidence, judge: Judge, withdrawn: Withdrawn | None = None
    ) -> None:
        published, refusals, reach = evidence.published, evidence.refusals, evidence.reach
        self._partition = evidence.partition
        self._withdrawn = Withdrawn() if withdrawn is None else withdrawn
        self._series = evidence.series
        self._published = published
        self._refusals = refusals
        self._reach = reach
        self._rejections = Rejections(evidence, judge.regimes)
        self._wanted = evidence.wanted
        self._changes = evidence.changes
        self._findings = evidence.findings
        self._judge = judge
        self._regimes = regimes = judge.regimes
        publishes = [each.rules.publish_off_session for each in regimes.all]
        self._is_limited = any(each.rules.is_full for each in regimes.all)
        #: Whether every tick of the series asked for is read, and all that was said of it.
        self._is_whole = (
            not reach.begin and not refusals.known_from and evidence.wanted.from_us is None
        )
        self._publishes_off_session = np.array(publishes, np.bool_)
        self.accounts = Accounts()
        bars = published.bars
        self._bar_series = bars["series"].to_numpy()
        self._bucket = bars["bucket_us"].to_numpy()
        self._keys = minute_key(self._bar_series, self._bucket)
        # a live bar in place of a final is told as that, and not of each of its ticks
        self._close_offset = longs(bars, "close_offset", absent=reach.position)
        self._broken = np.array(
            sorted(
                int(minute_key(np.int64(number), np.int64(bucket)))  # type: ignore[arg-type]
                for number, bucket in published.unreadable
            ),
            np.int64,
        )
        self._bits = {name: float_bits(bars, name) for name in FLOATS}
        self._whole = {name: longs(bars, name) for name in FOLDED if name not in FLOATS}
        self._synthetic = bars["synthetic"].to_numpy()
        self._states_exact = {
            exact: bars[exact.name].is_not_null().to_numpy() for exact in EXACT_FIELDS
        }
        lacks = bars.select(may_lack(reach.turnover_from)).to_series()
        #: Bars that have no turnover and need none.
        self._lacks_turnover = pl.Series(np.flatnonzero(lacks.to_numpy()), dtype=pl.Int64)
        self._first_offset = self._whole["first_offset"]
        count = len(bars)
        self._known_series = len(self._series)
        numbers = np.arange(self._known_series)
        self._marks = Watermarks(
            np.concatenate([self._bar_series, self._bar_series, np.tile(numbers, len(regimes))]),
            np.concatenate(
                [self._close_offset, self._close_offset - 1, np.repeat(regimes.begin, len(numbers))]
            ),
        )
        self._first_tick = np.full(self._known_series, -1 if reach.begin else 1 << 62, np.int64)
        self._has_ticks = np.zeros(count, np.bool_)
        self._close = np.full(count, np.nan)
        self._gone = (self._first_offset >= 0) & (self._first_offset < reach.begin)
        self._corrected: dict[int, dict[str, Any]] = {}
        self._pending = pl.DataFrame(schema=TICK_SCHEMA)
        self._outside: list[pl.DataFrame] = []
        self._loose: list[pl.DataFrame] = []
        #: Rejected ticks of minutes that have a final, below its close offset.
        self._left_out: list[pl.DataFrame] = []
        #: Offsets of those of them that are in the bar all the same.
        self._told_in_bar: set[int] = set()
        self._with_rejected: set[int] = set()
        #: The watermark of each series at the position, once the scan has passed it.
        self.at_position = np.empty(0, np.int64)

    def take(
        self,
        block: Block,
        refused: dict[int, str],
        withdrawn: WithdrawnTicks,
        begin: int,
        end: int,
    ) -> None:
        """Take the ticks of [begin, end), and the records that are none.

        Args:
            block: in offset order.
            refused: reason by offset of what could not be decoded to a tick.
            withdrawn: those of the series asked for; not in ``block``.
            begin: first offset.
            end: exclusive.
        """
        asked = self._in_range(block.bucket_us)
        gone = np.count_nonzero(self._in_range(withdrawn.time_us - withdrawn.time_us % MINUTE_US))
        reasons = dict(refused) if self._wanted.is_everything else {}
        self.accounts.ticks += int(np.count_nonzero(asked)) + len(reasons) + int(gone)
        self.accounts.refused += len(reasons)
        self.accounts.withdrawn += int(gone)
        inside = block.verdict == IN_SESSION
        if not inside.all():
            self._keep_outside(block.take(block.verdict == OFF_SESSION))
        # what was rejected, and not for being late, never was a tick of a bar
        otherwise = inside & self._refusals.holds(block.offset)
        otherwise &= ~self._refusals.hold_as_late(block.offset)
        unproven = inside & self._were_never_applied(block)
        if unproven.any():
            self.accounts.unproven += int(np.count_nonzero(unproven & asked))
            inside &= ~unproven
        if otherwise.any():
            self._leave_out(block.take(otherwise))
            self.accounts.refused += int(np.count_nonzero(otherwise & asked))
            inside &= ~otherwise
        whole = block if inside.all() else block.take(inside)
        if self._is_limited:
            self._rejections.taken(
                whole.take(whole.offset < self._reach.position), is_whole=self._is_whole
            )
        before = self._marks.take(whole, end)
        if len(self._regimes) > 1:
            known = whole.series < self._known_series
            np.minimum.at(self._first_tick, whole.series[known], whole.offset[known])
        for code, reason in _REASONS.items():
            offsets = block.offset[asked & (block.verdict == code)]
            if code == OFF_SESSION:
                self.accounts.off_session += len(offsets)
                offsets = offsets[self._publishes_off_session[self._regimes.numbers(offsets)]]
            else:
                self.accounts.refused += len(offsets)
                if code == PARTITION:
                    self.accounts.elsewhere += len(offsets)
                else:
                    self.accounts.unscheduled += len(offsets)
            reasons.update(dict.fromkeys(offsets.tolist(), reason))
        left_out = self._take_inside(whole, before, reasons, end)
        # they may have been rejected before they were withdrawn
        left_out.update(withdrawn.offset.tolist())
        block = block if asked.all() else block.take(asked)
        self.accounts.unproven += self._rejections.compare(block, reasons, left_out, begin, end)

    def stamped_by_producers(self, begin: int, end: int) -> None:
        """The timestamps of [begin, end), which comes with the next ticks, are not the broker's."""
        self._rejections.stamped_by_producers(begin, end)

    def _were_never_applied(self, block: Block) -> NDArray[np.bool_]:
        """Ticks below the position that closed nothing, and whose rejections may be gone; (n,).

        A record that its producer dated far ahead outlives what was said of it: Kafka deletes by
        timestamp.  Had it been accepted, its series were closed up to it.
        """
        until = self._reach.closed_until_us
        old = block.offset < min(self._refusals.known_from, self._reach.position)
        if not old.any() or not len(until):
            return np.zeros(len(block), np.bool_)
        old &= self._rejections.may_be_ahead_of_clock(block.offset)
        old &= ~self._refusals.holds(block.offset) & (block.series < len(until))
        closed = until[np.minimum(block.series, len(until) - 1)]
        return old & (block.placed_us - _FURTHEST_OPEN_US > closed)

    def begins_later(self) -> None:
        """Ticks of before the range are not scanned: series that have bars there had some."""
        self._first_tick[list(self._published.before)] = -1

    def _in_range(self, bucket_us: Longs) -> NDArray[np.bool_]:
        """Which minutes are of the time asked for, shape (n,)."""
        in_range = np.ones(len(bucket_us), np.bool_)
        if self._wanted.from_us is not None:
            in_range &= bucket_us >= self._wanted.from_us
        if self._wanted.to_us is not None:
            in_range &= bucket_us < self._wanted.to_us
        return in_range

    def _take_inside(
        self, block: Block, before: Longs, reasons: dict[int, str], end: int
    ) -> set[int]:
        """Take those in session; the offsets of rejected ones that are earlier than a close."""
        bucket, in_range = block.bucket_us, self._in_range(block.bucket_us)
        if not in_range.all():
            block, bucket, before = block.take(in_range), bucket[in_range], before[in_range]
        keys = minute_key(block.series, bucket)
        bar = find(self._keys, keys)
        known = bar >= 0
        is_member = (
            known & (block.offset < self._close_offset[np.maximum(bar, 0)])
            if len(self._keys)
            else known
        )
        is_late = known & ~is_member
        out = is_member & self._refusals.hold_as_late(block.offset)
        left_out: set[int] = set()
        if out.any():
            is_member &= ~out
            left_out = set(block.offset[out].tolist())
            self.accounts.late += len(left_out)
            self._leave_out(block.take(out), before[out])
        if is_late.any():
            late = block.offset[is_late & (block.offset < self._reach.position)]
            self.accounts.late += len(late)
            reasons.update(dict.fromkeys(late.tolist(), "late"))
        if not known.all():
            self._take_loose(block.take(~known), bucket[~known], before[~known], keys[~known])
        members = block if is_member.all() else block.take(is_member)
        which = bar if is_member.all() else bar[is_member]
        self.accounts.in_bars += len(members)
        self._has_ticks[which] = True
        self._fold_complete(_frame(members, which), end)
        return left_out

    def _leave_out(self, block: Block, before: Longs | None = None) -> None:
        """Keep rejected ticks whose minute has a final, for what becomes of that."""
        bar = find(self._keys, minute_key(block.series, block.bucket_us))
        there = bar >= 0
        if len(self._keys):
            there &= block.offset < self._close_offset[np.maximum(bar, 0)]
        if not there.any():
            return
        some = block.take(there)
        self._left_out.append(
            pl.DataFrame(
                {
                    "series": some.series, "bucket_us": some.bucket_us,
                    "before_us": np.zeros(len(some), np.int64) if before is None else before[there],
                    # only those that were late have to have been
                    "refused": np.full(len(some), before is not None), "bar": bar[there],
                    "time_us": some.time_us, "offset": some.offset, "price": some.price,
                    "size": some.size,
                },
                schema=_LOOSE,
            )
        )  # fmt: skip

    def _take_loose(self, block: Block, bucket: Longs, before: Longs, keys: Longs) -> None:
        """Ticks whose minute has no final: it is open, or it was closed without a bar."""
        until = self._reach.closed_until_us
        closed_until = until[np.minimum(block.series, len(until) - 1)] if len(until) else bucket
        closed = (block.series < len(until)) & (bucket < closed_until)
        closed &= find(self._broken, keys) < 0
        self.accounts.open += int(np.count_nonzero(~closed))
        closed &= block.offset < self._reach.position
        if not closed.any():
            return
        some = block.take(closed)
        refused = self._refusals.holds(some.offset)
        refused |= some.offset < self._refusals.known_from
        self.accounts.late += int(np.count_nonzero(refused))
        self._loose.append(
            pl.DataFrame(
                {
                    "series": some.series, "bucket_us": bucket[closed],
                    "before_us": before[closed], "refused": refused,
                    "bar": np.full(len(some), -1), "time_us": some.time_us,
                    "offset": some.offset, "price": some.price, "size": some.size,
                },
                schema=_LOOSE,
            )
        )  # fmt: skip

    def _keep_outside(self, block: Block) -> None:
        """Ticks off session now that may have been in session when their bar was made."""
        keys = minute_key(block.series, block.bucket_us)
        bar = find(self._keys, keys)
        kept = bar >= 0
        if kept.any():
            self._outside.append(_frame(block.take(kept), bar[kept]))
        if any(regime.lost for regime in self._regimes.all):
            self._keep_tolerated(block)

    def _keep_tolerated(self, block: Block) -> None:
        """Those off session by a row that took the place of one with a longer close tolerance."""
        for number in np.unique(block.series).tolist():
            hours = self._judge.hours(number)
            if hours is None or not len(hours.close_us):
                continue
            mine = block.take(block.series == number)
            row = np.searchsorted(hours.close_us, mine.time_us, side="right") - 1
            last_us = hours.close_us[np.maximum(row, 0)] - 1
            minute = last_us - last_us % MINUTE_US
            bar = find(self._keys, minute_key(mine.series, minute))
            kept = (row >= 0) & (mine.time_us <= last_us + LONGEST_TOLERANCE_US) & (bar >= 0)
            kept &= minute != mine.bucket_us
            self._outside.append(_frame(mine.take(kept), bar[kept]))

    # -- bars ---------------------------------------------------------------------------------

    def _fold_complete(self, ticks: pl.DataFrame, end: int) -> None:
        """Fold and compare the bars whose close offset the scan has reached."""
        if len(self._pending):
            ticks = pl.concat([self._pending, ticks])
        done = self._close_offset[ticks["bar"].to_numpy()] <= end
        if done.all():
            complete, self._pending = ticks, ticks.clear()
        else:
            mask = pl.Series(done)
            complete, self._pending = ticks.filter(mask), ticks.filter(~mask)
        if len(complete):
            self._compare(self._folded(complete), complete)

    def _folded(self, ticks: pl.DataFrame) -> pl.DataFrame:
        """The fold of ticks, without the turnover of bars that need none."""
        folded = fold(ticks)
        if not len(self._lacks_turnover):
            return folded
        lacks = pl.col("bar").is_in(self._lacks_turnover.implode())
        return folded.with_columns(
            pl.when(~lacks).then(pl.col(name)).alias(name) for name in ("turnover", "vwap")
        )

    def _compare(self, folded: pl.DataFrame, ticks: pl.DataFrame) -> None:
        bar = folded["bar"].to_numpy()
        self._close[bar] = folded["close"].to_numpy()
        wrong = np.zeros(len(bar), np.bool_)
        differs: dict[str, NDArray[np.bool_]] = {"synthetic": self._synthetic[bar]}
        for name in FOLDED:
            if name in FLOATS:
                differs[name] = float_bits(folded, name) != self._bits[name][bar]
            else:
                differs[name] = folded[name].to_numpy() != self._whole[name][bar]
            wrong |= differs[name]
        wrong |= differs["synthetic"]
        wrong &= ~self._gone[bar]
        for at in np.flatnonzero(wrong).tolist():
            number = int(bar[at])
            fields = {name: mask[at] for name, mask in differs.items()}
            expected = folded.row(at, named=True) | {"synthetic": False}
            mine = ticks.filter(pl.col("bar") == number).sort("time_us", "offset")
            if self._holds_rejected(number, mine):
                continue
            odd = [name for name, is_so in fields.items() if is_so]
            row = self._published.bars.row(number, named=True)
            if set(odd) <= _SUMMED and _are_from_rounded(odd, row, mine):
                continue
            self._differs(number, odd, expected, mine)
        for exact, states in self._states_exact.items():
            self._compare_exact(exact, bar[states[bar] & ~self._gone[bar]], ticks)

    def _compare_exact(self, exact: ExactField, bars: Longs, ticks: pl.DataFrame) -> None:
        """A bar that may be revised states its unrounded sums: late ticks are added to them."""
        if not len(bars):
            return
        ordered = ticks.sort("bar")
        values = _summed(ordered, exact)
        every = ordered["bar"].to_numpy()
        lows, highs = np.searchsorted(every, bars), np.searchsorted(every, bars, side="right")
        for number, low, high in zip(bars.tolist(), lows.tolist(), highs.tolist(), strict=True):
            row = self._published.bars.row(number, named=True)
            if is_exact_sum(row[exact.name], values[low:high].to_list()):
                continue
            mine = ordered[low:high].sort("time_us", "offset")
            terms = _from_rounded(exact, row, mine)
            if terms is not None and is_exact_sum(row[exact.name], terms):
                continue
            if number in self._with_rejected:
                continue
            if not self._explained(number, row, mine):
                self._findings.add(
                    Finding(
                        "difference", "field", self._partition,
                        f"{exact.name} must be the sum of its ticks",
                        *self._series.names[int(self._bar_series[number])], "1m",
                        row["bucket_us"], None, exact.name, None, row[exact.name],
                        shown_ticks(mine), len(mine),
                    )
                )  # fmt: skip

    def _holds_rejected(self, bar: int, ticks: pl.DataFrame) -> bool:
        """Whether a bar is that of its ticks and of rejected ones; if so, that is told."""
        near = [frame.filter(pl.col("bar") == bar) for frame in self._left_out]
        if not any(map(len, near)):
            return False
        row = self._published.bars.row(bar, named=True)
        rejected = pl.concat(near)
        again = self._folded(
            pl.concat([ticks.select(list(TICK_SCHEMA)), rejected.select(list(TICK_SCHEMA))])
        )
        if row["synthetic"] or any(again[name][0] != row[name] for name in FOLDED):
            return False
        self._close[bar] = row["close"]
        self._has_ticks[bar] = True
        self._with_rejected.add(bar)
        for tick in rejected.iter_rows(named=True):
            self._told_in_bar.add(tick["offset"])
            self._rejections.is_in_bar(bar, ShownTick(*(tick[name] for name in _SHOWN)))
        return True

    def _differs(
        self, bar: int, fields: list[str], expected: dict[str, Any], ticks: pl.DataFrame
    ) -> None:
        row = self._published.bars.row(bar, named=True)
        name = self._series.names[int(self._bar_series[bar])]
        explained = self._explained(bar, row, ticks)
        if not explained:
            self._corrected[bar] = {key: value for key, value in expected.items() if key != "bar"}
        else:
            self._close[bar] = row["close"]
        for field_name in fields:
            self._findings.add(
                Finding(
                    "schedule" if explained else "difference", "field", self._partition,
                    _sentence(field_name, explained=explained), *name, "1m", row["bucket_us"], None,
                    field_name, expected[field_name], row[field_name], shown_ticks(ticks),
                    len(ticks),
                )
            )  # fmt: skip

    def _explained(self, bar: int, row: dict[str, Any], ticks: pl.DataFrame) -> bool:
        """Whether other sessions make it the bar that was published.

        They only take ticks out at its ends, or let more in: so it has to be the fold of those
        from its own first event time to its last.
        """
        name = self._series.names[int(self._bar_series[bar])]
        known = [at for at in (row["first_offset"], row["close_offset"]) if at is not None]
        offset = min(known, default=None)
        is_explained = self._changes.explain(name, row["bucket_us"], row["appended_us"], offset)
        if not is_explained and not self._is_switched(bar, row):
            return False
        near = [frame.filter(pl.col("bar") == bar) for frame in self._outside]
        every = pl.concat([ticks.select(list(TICK_SCHEMA)), *near])
        every = every.filter(pl.col("offset") < row["close_offset"])
        if row["synthetic"]:
            return True  # all of its ticks were off session then
        window = pl.col("time_us").is_between(row["open_time"], row["close_time"])
        again = self._folded(every.filter(window))
        return len(again) == 1 and all(again[name][0] == row[name] for name in FOLDED)

    def _is_switched(self, bar: int, row: dict[str, Any]) -> bool:
        """Whether it may be of a replay that was switched over to, by the sessions of its time."""
        number, start_us = int(self._bar_series[bar]), row["bucket_us"]
        return (
            not row["synthetic"]
            and self._rejections.is_written_anew(bar)
            and self._judge.has_changed(number, start_us, start_us + MINUTE_US)
        )

    def finish(self, end: int) -> Recomputed:
        """After the last tick, at ``end``: bars with ticks must have had some."""
        self._fold_complete(self._pending.clear(), max(end, 1 << 62))
        self._marks.take(_no_ticks(), 1 << 62)
        withdrawn = self._tell_withdrawn()
        self._gone &= ~withdrawn
        lacking = ~self._has_ticks & ~self._synthetic & ~self._gone & ~withdrawn
        for bar in np.flatnonzero(lacking).tolist():
            if self._holds_rejected(bar, self._pending.clear()):
                continue
            row = self._published.bars.row(bar, named=True)
            name = self._series.names[int(self._bar_series[bar])]
            explained = self._explained(bar, row, self._pending.clear())
            self._close[bar] = row["close"]
            self._findings.add(
                Finding(
                    "schedule" if explained else "difference", "no_ticks", self._partition,
                    f"a bar with ticks must have some below its close offset "
                    f"{row['close_offset']}; the log has none in its minute",
                    *name, "1m", row["bucket_us"], None, "tick_count", 0, row["tick_count"],
                )
            )  # fmt: skip
        for bar in np.flatnonzero(self._gone).tolist():
            self._close[bar] = self._published.bars["close"][bar]
            self._findings.add(
                Finding(
                    "unproven", "ticks_gone", self._partition,
                    f"its first tick was at offset {self._first_offset[bar]}, the topic begins at "
                    f"{self._reach.begin}",
                    *self._series.names[int(self._bar_series[bar])], "1m", int(self._bucket[bar]),
                )
            )  # fmt: skip
        count = len(self._bucket)
        return Recomputed(
            self._has_ticks | (self._gone & ~self._synthetic),
            self._close,
            self._marks.answers[:count],
            self._marks.answers[count : 2 * count],
            self._marks.answers[2 * count :].reshape(len(self._regimes), self._known_series),
            self._first_tick,
            self._gone,
            self._corrected,
        )

    def _tell_withdrawn(self) -> NDArray[np.bool_]:
        """Which bars have withdrawn ticks and no others, shape (n,): each is told."""
        found = np.zeros(len(self._bucket), np.bool_)
        for name, (below, _) in self._withdrawn.ends.items():
            number = self._series.get(name)
            mine = (self._bar_series == number) & ~self._synthetic & ~self._has_ticks
            found |= mine & (self._first_offset < below)
        for bar in np.flatnonzero(found).tolist():
            name = self._series.names[int(self._bar_series[bar])]
            self._close[bar] = self._published.bars["close"][bar]
            first = int(self._first_offset[bar])
            self._findings.add(
                Finding(
                    "difference", "withdrawn", self._partition,
                    f"its series was dropped, with the ticks below offset "
                    f"{self._withdrawn.end(name).ticks}: no bar may have them, and it has the one "
                    f"at {first}",
                    *name, "1m", int(self._bucket[bar]), first,
                )
            )  # fmt: skip
        return found

    def position_passed(self) -> None:
        """The scan has just taken everything below the position."""
        self.at_position = self._marks.latest(np.arange(len(self._series)))

    @property
    def loose(self) -> pl.DataFrame:
        """Ticks of minutes that are closed and have no final; ``refused`` says as late."""
        return pl.concat(self._loose) if self._loose else pl.DataFrame(schema=_LOOSE)

    @property
    def rejected_as_late(self) -> pl.DataFrame:
        """Ticks that must have been late: of closed minutes, or before the close of a final."""
        out = [frame.filter(~pl.col("offset").is_in(self._told_in_bar)) for frame in self._left_out]
        return pl.concat([self.loose, *out]).filter(pl.col("refused"))


def _are_from_rounded(odd: list[str], row: dict[str, Any], ticks: pl.DataFrame) -> bool:
    """Whether sums, and what follows of them, are those of late ticks added to rounded ones."""
    if any(exact.rounded in odd and _from_rounded(exact, row, ticks) is None
           for exact in EXACT_FIELDS):  # fmt: skip
        return False
    said = pl.DataFrame({name: [row[name]] for name in ("turnover", "volume")})
    return bool(said.select(VWAP).item() == row["vwap"])


def _from_rounded(
    exact: ExactField, row: dict[str, Any], ticks: pl.DataFrame
) -> list[float] | None:
    """What a sum is made of, where late ticks were added to a rounded one.

    A bar that closed while late ticks were rejected does not state its unrounded sums.  None: it
    was not so, or that does not give the one it has.
    """
    first_close, first = row["first_close"], row[f"first_{exact.rounded}"]
    if not row["revision"] or first_close is None or first is None:
        return None
    if row[f"first_{exact.name}"] is not None:
        return None
    values, offsets = _summed(ticks, exact), ticks["offset"]
    in_time = values.filter(offsets < first_close).to_list()
    late = values.filter(offsets >= first_close).to_list()
    if rounded_sum(in_time) != first:
        return None
    terms = [first, *late]
    return terms if rounded_sum(terms) == row[exact.rounded] else None


def _summed(ticks: pl.DataFrame, exact: ExactField) -> pl.Series:
    """What of each tick goes into a sum."""
    return ticks["size"] if exact.rounded == "volume" else ticks.select(PRODUCT).to_series()


def shown_ticks(ticks: pl.DataFrame) -> tuple[ShownTick, ...]:
    """The first of some ticks."""
    return tuple(ShownTick(*row) for row in ticks.select(_SHOWN).head(TICKS_SHOWN).iter_rows())


def _frame(block: Block, bar: Longs) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "bar": bar, "time_us": block.time_us, "offset": block.offset, "price": block.price,
            "size": block.size,
        },
        schema=TICK_SCHEMA,
    )  # fmt: skip


def _no_ticks() -> Block:
    none = np.empty(0, np.int64)
    empty = np.empty(0, np.float64)
    return Block(none, none, none, none, empty, empty, np.empty(0, np.int8))


def _sentence(field_name: str, *, explained: bool) -> str:
    if explained:
        return f"{field_name} follows from a schedule row that was replaced later"
    return f"{field_name} must be what its ticks give"


def minute_end(bucket_us: Longs, grace_us: int) -> Longs:
    """From when on a minute may be closed."""
    return bucket_us + MINUTE_US + grace_us
