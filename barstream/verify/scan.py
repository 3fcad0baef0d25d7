"""The scan: every tick once, in offset order, with nothing kept that is not needed any more.

A tick's minute has a final: below its close offset the tick must be in it, from there on it is
late.  It has none: the minute is open, or it was closed without a bar.  The ticks of a bar are kept
until the scan has passed its close offset, then folded and compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.core.time import MINUTE_US
from barstream.history.selection import Selection
from barstream.verify.changes import ScheduleChanges
from barstream.verify.findings import TICKS_SHOWN, Finding, Findings, ShownTick
from barstream.verify.folding import FOLDED, TICK_SCHEMA, fold, is_exact_sum
from barstream.verify.judging import (
    IN_SESSION,
    OFF_SESSION,
    PARTITION,
    UNSCHEDULED,
    Block,
    Judge,
)
from barstream.verify.names import SeriesNumbers, find, minute_key
from barstream.verify.published import Published, float_bits, longs
from barstream.verify.reach import Reach
from barstream.verify.refusals import Refusals
from barstream.verify.rejections import Rejections
from barstream.verify.watermarks import Watermarks

Longs = NDArray[np.int64]
_FLOATS: Final = ("open", "high", "low", "close", "volume")
_REASONS: Final = {
    PARTITION: "partition", UNSCHEDULED: "unscheduled", OFF_SESSION: "off_session",
}  # fmt: skip
_OPEN: Final = -1
_LOOSE: Final = {
    "series": pl.Int64, "bucket_us": pl.Int64, "before_us": pl.Int64, "refused": pl.Boolean,
    **{name: kind for name, kind in TICK_SCHEMA.items() if name != "bar"},
}  # fmt: skip


@dataclass(slots=True)
class Accounts:
    """Where ticks are: each in exactly one."""

    ticks: int = 0
    in_bars: int = 0
    open: int = 0
    late: int = 0
    refused: int = 0
    off_session: int = 0
    out_of_range: int = 0
    #: Rejected, but their rows are gone with retention.
    unproven: int = 0


@dataclass(slots=True)
class Recomputed:
    """What the ticks say of the finals; arrays by bar, in the order of `Published.bars`.

    Attributes:
        has_ticks: whether a tick below the close offset is in its minute.
        close: of a bar with ticks, NaN otherwise.
        corrected: by bar, the fields as they should be, where they are not.
        watermark: latest event time below the close offset.
        watermark_before: likewise below the offset before it.
        gone: bars whose ticks the topic no longer has.
    """

    has_ticks: NDArray[np.bool_]
    close: NDArray[np.float64]
    watermark: Longs
    watermark_before: Longs
    gone: NDArray[np.bool_]
    corrected: dict[int, dict[str, Any]] = field(default_factory=dict)


class Scan:
    """Compares ticks with finals and rejections as they go by.

    Args:
        partition: number of the partition.
        series: numbers the series.
        published: the finals.
        judge: says what a tick is by itself.
        refusals: the rejected ticks.
        reach: how far things had come.
        wanted: series and time.
        changes: schedule rows by the time they were appended.
        findings: takes what is wrong.
        publishes_off_session: whether those ticks have to be in ``ticks_rejected``.
    """

    def __init__(
        self,
        partition: int,
        series: SeriesNumbers,
        published: Published,
        judge: Judge,
        refusals: Refusals,
        reach: Reach,
        wanted: Selection,
        changes: ScheduleChanges,
        findings: Findings,
        *,
        publishes_off_session: bool,
    ) -> None:
        self._partition = partition
        self._series = series
        self._published = published
        self._judge = judge
        self._refusals = refusals
        self._reach = reach
        self._rejections = Rejections(
            partition, series, published, refusals, reach, wanted, changes, findings
        )
        self._wanted = wanted
        self._changes = changes
        self._findings = findings
        self._publishes_off_session = publishes_off_session
        self.accounts = Accounts()
        bars = published.bars
        self._bar_series = bars["series"].to_numpy()
        self._bucket = bars["bucket_us"].to_numpy()
        self._keys = minute_key(self._bar_series, self._bucket)
        self._close_offset = longs(bars, "close_offset")
        self._broken = np.array(
            sorted(
                int(minute_key(np.int64(number), np.int64(bucket)))  # type: ignore[arg-type]
                for number, bucket in published.unreadable
            ),
            np.int64,
        )
        self._bits = {name: float_bits(bars, name) for name in _FLOATS}
        self._whole = {name: longs(bars, name) for name in FOLDED if name not in _FLOATS}
        self._synthetic = bars["synthetic"].to_numpy()
        self._states_exact = bars["volume_exact"].is_not_null().to_numpy()
        self._first_offset = self._whole["first_offset"]
        count = len(bars)
        self._marks = Watermarks(
            np.concatenate([self._bar_series, self._bar_series]),
            np.concatenate([self._close_offset, self._close_offset - 1]),
        )
        self._has_ticks = np.zeros(count, np.bool_)
        self._close = np.full(count, np.nan)
        self._gone = (self._first_offset >= 0) & (self._first_offset < reach.begin)
        self._corrected: dict[int, dict[str, Any]] = {}
        self._pending = pl.DataFrame(schema=TICK_SCHEMA)
        self._outside: list[pl.DataFrame] = []
        self._loose: list[pl.DataFrame] = []
        #: The watermark of each series at the position, once the scan has passed it.
        self.at_position = np.empty(0, np.int64)

    def take(self, block: Block, refused: dict[int, str], begin: int, end: int) -> None:
        """Take the ticks of [begin, end), and the records that are none.

        Args:
            block: in offset order.
            refused: reason by offset of what could not be decoded to a tick.
            begin: first offset.
            end: exclusive.
        """
        self.accounts.ticks += len(block) + len(refused)
        inside = block.verdict == IN_SESSION
        whole = block if inside.all() else block.take(inside)
        before = self._marks.take(whole, end)
        if not inside.all():
            self._keep_outside(block.take(block.verdict == OFF_SESSION))
        reasons = dict(refused)
        for code, reason in _REASONS.items():
            offsets = block.offset[block.verdict == code]
            if code == OFF_SESSION:
                self.accounts.off_session += len(offsets)
                if not self._publishes_off_session:
                    continue
            reasons.update(dict.fromkeys(offsets.tolist(), reason))
        self._take_inside(whole, before, reasons, end)
        self.accounts.refused += sum(why not in ("late", "off_session") for why in reasons.values())
        self.accounts.unproven += self._rejections.compare(block, reasons, begin, end)

    def _take_inside(self, block: Block, before: Longs, reasons: dict[int, str], end: int) -> None:
        bucket = block.bucket_us
        in_range = np.ones(len(block), np.bool_)
        if self._wanted.from_us is not None:
            in_range &= bucket >= self._wanted.from_us
        if self._wanted.to_us is not None:
            in_range &= bucket < self._wanted.to_us
        if not in_range.all():
            self.accounts.out_of_range += int(np.count_nonzero(~in_range))
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
                    "before_us": before[closed], "refused": refused, "time_us": some.time_us,
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
            self._compare(fold(complete), complete)

    def _compare(self, folded: pl.DataFrame, ticks: pl.DataFrame) -> None:
        bar = folded["bar"].to_numpy()
        self._close[bar] = folded["close"].to_numpy()
        wrong = np.zeros(len(bar), np.bool_)
        differs: dict[str, NDArray[np.bool_]] = {"synthetic": self._synthetic[bar]}
        for name in FOLDED:
            if name in _FLOATS:
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
            self._differs(number, [name for name, is_so in fields.items() if is_so], expected, mine)
        self._compare_exact(bar[self._states_exact[bar] & ~self._gone[bar]], ticks)

    def _compare_exact(self, bars: Longs, ticks: pl.DataFrame) -> None:
        """A bar that may be revised states its unrounded volume: late ticks are added to that."""
        if not len(bars):
            return
        ordered = ticks.sort("bar")
        every = ordered["bar"].to_numpy()
        lows, highs = np.searchsorted(every, bars), np.searchsorted(every, bars, side="right")
        for number, low, high in zip(bars.tolist(), lows.tolist(), highs.tolist(), strict=True):
            row = self._published.bars.row(number, named=True)
            if is_exact_sum(row["volume_exact"], ordered["size"][low:high].to_list()):
                continue
            mine = ordered[low:high].sort("time_us", "offset")
            if not self._explained(number, row, mine):
                self._findings.add(
                    Finding(
                        "difference", "field", self._partition,
                        "volume_exact must be the sum of the sizes of its ticks",
                        *self._series.names[int(self._bar_series[number])], "1m",
                        row["bucket_us"], None, "volume_exact", None, row["volume_exact"],
                        shown_ticks(mine), len(mine),
                    )
                )  # fmt: skip

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
        if not self._changes.explain(name, row["bucket_us"], row["appended_us"]):
            return False
        near = [frame.filter(pl.col("bar") == bar) for frame in self._outside]
        every = pl.concat([ticks.select(list(TICK_SCHEMA)), *near])
        every = every.filter(pl.col("offset") < row["close_offset"])
        if row["synthetic"]:
            return True  # all of its ticks were off session then
        window = pl.col("time_us").is_between(row["open_time"], row["close_time"])
        again = fold(every.filter(window))
        return len(again) == 1 and all(again[name][0] == row[name] for name in FOLDED)

    def finish(self, end: int) -> Recomputed:
        """After the last tick, at ``end``: bars with ticks must have had some."""
        self._fold_complete(self._pending.clear(), max(end, 1 << 62))
        self._marks.take(_no_ticks(), 1 << 62)
        lacking = ~self._has_ticks & ~self._synthetic & ~self._gone
        for bar in np.flatnonzero(lacking).tolist():
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
            self._marks.answers[count:],
            self._gone,
            self._corrected,
        )

    def position_passed(self) -> None:
        """The scan has just taken everything below the position."""
        self.at_position = self._marks.latest(np.arange(len(self._series)))

    @property
    def loose(self) -> pl.DataFrame:
        """Ticks of minutes that are closed and have no final; ``refused`` says as late."""
        return pl.concat(self._loose) if self._loose else pl.DataFrame(schema=_LOOSE)


def shown_ticks(ticks: pl.DataFrame) -> tuple[ShownTick, ...]:
    """The first of some ticks."""
    columns = ["offset", "time_us", "price", "size"]
    return tuple(ShownTick(*row) for row in ticks.select(columns).head(TICKS_SHOWN).iter_rows())


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
    return Block(none, none, none, empty, empty, np.empty(0, np.int8))


def _sentence(field_name: str, *, explained: bool) -> str:
    if explained:
        return f"{field_name} follows from a schedule row that was replaced later"
    return f"{field_name} must be what its ticks give"


def minute_end(bucket_us: Longs, grace_us: int) -> Longs:
    """From when on a minute may be closed."""
    return bucket_us + MINUTE_US + grace_us
