"""Whether each final was closed by something that may close it, and not too late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barstream.log.rules import Regimes
from barstream.model.time import MINUTE_US, iso_micros_from_us
from barstream.verify.evidence import Evidence
from barstream.verify.findings import Finding
from barstream.verify.graces import Graces
from barstream.verify.hours import HoursIndex
from barstream.verify.proof import Heartbeats
from barstream.verify.published_bars import longs
from barstream.verify.scan import Recomputed, Scan, minute_end, shown_ticks
from barstream.verify.series_number import offset_key

Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CloseRules:
    """What a close is held to.

    Attributes:
        graces: after the end of a minute, by regime.
        regimes: the rules, and from where on they held.
        begin: first tick offset there is.
        position: no bar closes above it.
    """

    graces: Sequence[Graces]
    regimes: Regimes[HoursIndex]
    begin: int
    position: int


class Closes:
    """Proves the close of every final of a partition.

    Args:
        evidence: the finals, and what else was read.
        ticks: what the scan saw.
        heartbeats: those of the partition.
        rules: what is asked.
    """

    def __init__(
        self, evidence: Evidence, ticks: Recomputed, heartbeats: Heartbeats, rules: CloseRules
    ) -> None:
        self._partition = evidence.partition
        self._series = evidence.series
        self._published = evidence.published
        self._ticks = ticks
        self._heartbeats = heartbeats
        self._rules = rules
        self._changes = evidence.changes
        self._findings = evidence.findings
        bars = evidence.published.bars
        self._who = bars["series"].to_numpy()
        self._bucket = bars["bucket_us"].to_numpy()
        self._close_offset = longs(bars, "close_offset")
        self._closed_at = self._first_closed_at()
        #: Closed by a tick past the watermark, by a heartbeat; the rest by neither.
        self.by_tick = self._passed(
            self._who, self._bucket, self._close_offset, ticks.watermark, "shortest_us"
        )
        highest = heartbeats.highest_minute(self._who, self._close_offset)
        self.by_heartbeat = ~self.by_tick & (highest >= self._bucket)
        #: Bars whose close offset cannot be right.
        self.wrong = set(np.flatnonzero(self._close_offset < 0).tolist())

    def check(self) -> None:
        """Find the closes that were illegal, too late, or above what was applied."""
        unclosed = ~self.by_tick & ~self.by_heartbeat & (self._close_offset >= 0)
        for bar in np.flatnonzero(unclosed).tolist():
            self._unproven(bar)
        for bar in np.flatnonzero(self._too_late()).tolist():
            self._add(
                bar,
                f"a tick at or before offset {self._close_offset[bar] - 2} had passed its "
                f"watermark already ({_time(self._ticks.watermark_before[bar])}): it must have "
                "closed one past that tick",
            )
        for bar in np.flatnonzero(self._close_offset > self._rules.position).tolist():
            self._add(bar, f"only ticks below the position {self._rules.position} were applied")
        for bar in np.flatnonzero(self._out_of_order()).tolist():
            self._add(
                bar,
                "a later minute of the series was closed before it, at "
                f"{self._close_offset[bar + 1]}",
            )

    def _too_late(self) -> NDArray[np.bool_]:
        late = self._passed(
            self._who, self._bucket, self._close_offset - 1, self._ticks.watermark_before,
            "longest_us",
        )  # fmt: skip
        late &= (longs(self._published.bars, "revision") == 0) & (self._close_offset >= 0)
        if self._rules.regimes.revises:
            # one that a late tick made closes right after it; what was filled behind it as well
            last = longs(self._published.bars, "last_offset")
            late &= self._revised_then() | ((last >= 0) & (last + 1 < self._close_offset))
        return np.asarray(late)

    def _revised_then(self) -> NDArray[np.bool_]:
        """Of which bars no late tick can have been merged by the tick before their close."""
        policies = [each.rules.late_policy == "reject" for each in self._rules.regimes.all]
        number = self._rules.regimes.numbers(np.maximum(self._close_offset - 1, 0))
        return np.array(policies, np.bool_)[number]

    def _passed(
        self, who: Longs, bucket: Longs, offset: Longs, watermark: Longs, grace: str
    ) -> NDArray[np.bool_]:
        """Whether a tick below an offset had passed a minute, by the grace in force then.

        Args:
            who: series, shape (n,).
            bucket: their minutes.
            offset: where that is asked.
            watermark: the latest event time of the series below it.
            grace: which of those a regime may have had.
        """
        passed = np.zeros(len(offset), np.bool_)
        begins = [*self._rules.regimes.begin.tolist(), 1 << 62]
        borders = [*self._ticks.watermark_at[1:], None]
        for at, (graces, border) in enumerate(zip(self._rules.graces, borders, strict=True)):
            # a regime that begins right there closes at once what its own grace has passed
            reached = watermark
            if border is not None:
                reached = np.where(begins[at + 1] < offset, border[who], watermark)
            due = minute_end(bucket, getattr(graces, grace))
            passed |= (begins[at] <= offset) & (reached >= due)
        return passed

    def _out_of_order(self) -> NDArray[np.bool_]:
        wrong = np.zeros(len(self._who), np.bool_)
        if self._rules.regimes.revises or len(self._who) < 2:
            return wrong
        wrong[:-1] = (self._who[1:] == self._who[:-1]) & (
            self._close_offset[:-1] > self._close_offset[1:]
        )
        for bar in self.wrong:
            wrong[max(0, bar - 1) : bar + 1] = False
        return wrong

    def _first_closed_at(self) -> Longs:
        """One past the tick that closed each minute, unless a heartbeat did.

        -1 where a late tick made the bar, or those filled up to such a one, or its first version
        is gone: then the tick may stand anywhere below.
        """
        if not self._rules.regimes.revises:
            return self._close_offset
        first = longs(self._published.bars, "first_close")
        keys = offset_key(self._who, np.maximum(first, 0))
        made_late = self._published.bars["made_late"].fill_null(value=False).to_numpy()
        return np.where(np.isin(keys, keys[made_late]), -1, first)

    def _was_open(self, number: int, minute_us: int, offset: int) -> bool:
        """Whether a minute was open at an offset: it or one before it closed later."""
        mine = (self._who == number) & (self._bucket <= minute_us)
        return bool((self._closed_at[mine] > offset).any())

    def _unproven(self, bar: int) -> None:
        number, minute_us = int(self._who[bar]), int(self._bucket[bar])
        close_offset = int(self._close_offset[bar])
        due_us = self._due_us(bar)
        asked = (
            f"a tick of the series below {close_offset} at or after {_time(due_us)}, or a "
            f"heartbeat for its minute or a later one with a barrier of at most {close_offset}, "
            "must have closed it"
        )
        gone = self._rules.begin > 0 and int(self._closed_at[bar]) <= self._rules.begin
        if gone or self._heartbeats.may_be_lost(number, minute_us, close_offset):
            what = "ticks" if gone else "heartbeats"
            self._findings.add(
                Finding(
                    "unproven", "close", self._partition,
                    f"{asked}; the {what} that could show it are gone, or it was closed under a "
                    "shorter grace (--grace)",
                    *self._series.names[number], "1m", minute_us, None, "close_offset",
                    None, close_offset,
                )
            )  # fmt: skip
            return
        reached = int(self._ticks.watermark[bar])
        self._add(bar, f"{asked}; its ticks had reached {_time(reached)}")

    def _due_us(self, bar: int) -> int:
        """From when on a tick may have closed a bar, by the grace at its close."""
        number = self._rules.regimes.numbers(self._close_offset[bar : bar + 1])
        graces = self._rules.graces[int(number[0])]
        return int(self._bucket[bar]) + MINUTE_US + graces.shortest_us

    def _add(self, bar: int, detail: str) -> None:
        if bar in self.wrong:
            return
        self.wrong.add(bar)
        name, bucket_us = self._series.names[int(self._who[bar])], int(self._bucket[bar])
        appended_us = self._published.bars["appended_us"][bar]
        offset = int(self._close_offset[bar])
        kind = self._changes.kind_of(name, bucket_us, appended_us, offset)
        self._findings.add(
            Finding(
                kind, "close", self._partition, detail, *name, "1m", bucket_us,
                None, "close_offset", None, int(self._close_offset[bar]),
            )
        )  # fmt: skip

    def check_late(self, scan: Scan) -> None:
        """Ticks refused as late earlier than the close of their bar, or without one.

        Their minute was closed then: its first final stands earlier in the log, or a tick or a
        heartbeat had passed it.
        """
        refused = scan.rejected_as_late
        if refused.is_empty():
            return
        who, bucket = refused["series"].to_numpy(), refused["bucket_us"].to_numpy()
        offset, bar = refused["offset"].to_numpy(), refused["bar"].to_numpy()
        before = refused["before_us"].to_numpy()
        closed = self._passed(who, bucket, offset, before, "shortest_us")
        closed |= self._heartbeats.highest_minute(who, offset) >= bucket
        if len(self._who):
            first = longs(self._published.bars, "first_close", absent=1 << 62)
            closed |= (bar >= 0) & (offset >= first[np.maximum(bar, 0)])
        for at in np.flatnonzero(~closed).tolist():
            number, bucket_us = int(who[at]), int(bucket[at])
            name = self._series.names[number]
            lost = self._heartbeats.may_be_lost(number, bucket_us, int(offset[at]))
            begin = self._rules.begin
            lost |= begin > 0 and not self._was_open(number, bucket_us, begin)
            self._findings.add(
                Finding(
                    "unproven" if lost else "difference", "late", self._partition,
                    f"tick {offset[at]} is rejected as late, but nothing before it had closed "
                    "its minute",
                    *name, "1m", bucket_us, int(offset[at]), "reason", None, "late",
                    shown_ticks(refused[at : at + 1]), 1,
                )
            )  # fmt: skip

    def describe(self, name: tuple[str, str], bucket_us: int) -> str | None:
        """What closed a bar, in words; None: there is none, or nothing shows."""
        number = self._series.get(name)
        if number is None:
            return None
        low, high = np.searchsorted(self._who, [number, number + 1]).tolist()
        bar = low + int(np.searchsorted(self._bucket[low:high], bucket_us))
        if bar >= high or self._bucket[bar] != bucket_us:
            return None
        close_offset = int(self._close_offset[bar])
        if self.by_tick[bar]:
            reached = _time(int(self._ticks.watermark[bar]))
            return f"a tick below {close_offset} at {reached}, past {_time(self._due_us(bar))}"
        return self._heartbeats.describe(number, bucket_us, close_offset)

    @property
    def causes(self) -> dict[str, int]:
        """How many were closed by what."""
        return {
            "watermark": int(self.by_tick.sum()),
            "heartbeat": int(self.by_heartbeat.sum()),
        }


def _time(time_us: Any) -> str:
    try:
        return iso_micros_from_us(int(time_us))
    except OverflowError:
        return "never"
