"""Rejected ticks: each stands in ``ticks_rejected`` once, for the right reason; no other does."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from barstream.log.rules import Regimes
from barstream.model.time import DAY_US
from barstream.verify.evidence import Evidence
from barstream.verify.findings import Finding, Kind, ShownTick
from barstream.verify.hours import HoursIndex
from barstream.verify.series_number import find, minute_key
from barstream.verify.tick_class import OFF_SESSION, Block

#: Reasons that a record was given before anybody asked for its series.
_NO_TICK: Final = frozenset({"too_large", "undecodable", "invalid", "future"})
#: A rejection is written within seconds of the reading, and without a broker not for hours.
_LONGEST_WAIT_US: Final = DAY_US
#: A worker that comes to a tick of another series than those it has taken, while it is full.
_BEYOND: Final = "too_many_series"
_NEVER: Final = 1 << 62
_BY_SCHEDULE: Final = frozenset({"unscheduled", "off_session"})


class Rejections:
    """Compares the rejected ticks of a partition with what the ticks say.

    Args:
        evidence: the rejected ticks, and what else was read.
        regimes: the rules, and from where on they held.
    """

    def __init__(self, evidence: Evidence, regimes: Regimes[HoursIndex]) -> None:
        self._regimes = regimes
        self._partition = evidence.partition
        self._series = evidence.series
        self._published = evidence.published
        self._refusals = evidence.refusals
        self._reach = evidence.reach
        self._wanted = evidence.wanted
        self._changes = evidence.changes
        self._findings = evidence.findings
        bars = evidence.published.bars
        self._bar_series = bars["series"].to_numpy()
        self._keys = minute_key(self._bar_series, bars["bucket_us"].to_numpy())
        #: First offsets and ends of what has timestamps that are not the broker's, ascending.
        self._own_times: tuple[list[int], list[int]] = [], []
        #: By series the offset of its first accepted tick, as far as was read.
        self._taken_at: dict[int, int] = {}

    def stamped_by_producers(self, begin: int, end: int) -> None:
        """The timestamps of [begin, end) are not the broker's: a worker went by its clock there."""
        begins, ends = self._own_times
        if ends and ends[-1] == begin:
            ends[-1] = end
        else:
            begins.append(begin)
            ends.append(end)

    def taken(self, block: Block, *, is_whole: bool) -> None:
        """These were accepted: each series may be one that was not there before.

        Args:
            block: accepted ticks, in offset order, after all that were given before.
            is_whole: whether nothing of before is gone or was left out.
        """
        numbers, first = np.unique(block.series, return_index=True)
        for number, at in zip(numbers.tolist(), first.tolist(), strict=True):
            if number in self._taken_at:
                continue
            self._taken_at[number] = offset = int(block.offset[at])
            regime = self._regimes.at(offset)
            if is_whole and regime.is_told and regime.rules.is_full:
                detail = f"must be rejected as {_BEYOND}: its series had none before, and the "
                detail += "partition took no other series"
                self._refusal(block, offset, _BEYOND, None, detail)

    def _was_beyond(self, number: int, offset: int) -> bool:
        """Whether a tick may have been rejected because its series was one too many."""
        regime = self._regimes.at(offset)
        if not regime.is_told:
            return True
        return regime.rules.is_full and offset < self._taken_at.get(number, _NEVER)

    def may_be_ahead_of_clock(self, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each tick was judged by a clock as well, shape (n,)."""
        begins, ends = self._own_times
        if not begins:
            return np.zeros(len(offsets), np.bool_)
        stretch = np.searchsorted(begins, offsets, side="right") - 1
        return (stretch >= 0) & (offsets < np.array(ends)[stretch])

    def compare(
        self, block: Block, reasons: dict[int, str], left_out: set[int], begin: int, end: int
    ) -> int:
        """Compare the rows of the ticks in [begin, end) with what they must be.

        Args:
            block: the ticks asked for, in offset order.
            reasons: why each offset must be rejected.
            left_out: offsets that may be rejected: whether they were late is asked later.
            begin: first offset.
            end: exclusive.

        Returns:
            How many rows may be gone with retention.
        """
        found = self._refusals.between(begin, end)
        if not self._wanted.is_everything:
            # records that are no ticks are of no series and no time
            asked = set(block.offset.tolist())
            found = {offset: rows for offset, rows in found.items() if offset in asked}
        unproven = 0
        if not reasons and not found:
            return unproven
        position = self._reach.position
        for offset, reason in reasons.items():
            rows = found.pop(offset, [])
            if not rows:
                if self._may_be_unwritten(block, offset, reason):
                    unproven += 1
                elif offset < position:
                    detail = f"must be rejected as {reason}, but does not stand in ticks_rejected"
                    written_us = self._written_us(block, offset)
                    self._refusal(block, offset, reason, None, detail, written_us)
                continue
            self._once(block, offset, rows)
            said = self._refusals.reason(rows[0])
            if said != reason and not (
                (said in _NO_TICK and self._was_read_otherwise(offset))
                or self._was_ahead_of_clock(block, offset, rows[0])
            ):
                self._refusal(
                    block,
                    offset,
                    reason,
                    said,
                    f"must be rejected as {reason}",
                    self._refusals.appended_us(rows[0]),
                )
        for offset, rows in found.items():
            self._once(block, offset, rows)
            if offset not in left_out:
                self._unexpected(block, offset, rows[0])
        return unproven

    def _written_us(self, block: Block, offset: int) -> int | None:
        """When the bar of a tick's minute was written, which may have it by other sessions."""
        at = _place(block, offset)
        bar = -1 if at is None else self._bar(block, at)
        return None if bar < 0 else int(self._published.bars["appended_us"][bar])

    def _bar(self, block: Block, at: int) -> int:
        """The bar of a tick's minute, -1 where there is none."""
        one = slice(at, at + 1)
        return int(find(self._keys, minute_key(block.series[one], block.bucket_us[one]))[0])

    def _was_withdrawn(self, block: Block, offset: int, reason: str) -> bool:
        """Whether the series may have had sessions when the tick came: a withdrawn row is gone."""
        at = _place(block, offset)
        if at is None or reason != "unscheduled" or offset >= self._regimes.told_from:
            return False
        return self._changes.has_withdrawn(self._series.names[int(block.series[at])])

    def _may_be_unwritten(self, block: Block, offset: int, reason: str) -> bool:
        """Whether a rejection may be gone, or the tick may have been none to be rejected."""
        if offset < self._refusals.known_from or self._was_withdrawn(block, offset, reason):
            return True
        is_told = offset >= self._regimes.told_from
        return is_told and reason in _NO_TICK and self._was_read_otherwise(offset)

    def _was_read_otherwise(self, offset: int) -> bool:
        """Whether other settings than those of now said what a record means, or may have."""
        regime = self._regimes.at(offset)
        decoding = self._regimes.current.rules.decoding
        return not regime.is_told or regime.rules.decoding != decoding

    def _was_ahead_of_clock(self, block: Block, offset: int, row: int) -> bool:
        """Whether a tick may have been refused by the clock of the worker, as its row says.

        Nothing else tells what that clock said.  It said no more than when the row was written, so
        a tick that was long past by then was not ahead of it.
        """
        at = _place(block, offset)
        if at is None or self._refusals.reason(row) != "future":
            return False
        if not self.may_be_ahead_of_clock(block.offset[at : at + 1])[0]:
            return False
        return int(block.time_us[at]) > self._refusals.appended_us(row) - _LONGEST_WAIT_US

    def is_in_bar(self, bar: int, tick: ShownTick) -> None:
        """A rejected tick is in the bar of its minute."""
        found = self._refusals.between(tick.offset, tick.offset + 1)[tick.offset][0]
        said, appended_us = self._refusals.reason(found), self._refusals.appended_us(found)
        superseded = said == "late" and self._taken_later(bar, tick.offset, appended_us)
        row = self._published.bars.row(bar, named=True)
        name = self._series.names[int(self._bar_series[bar])]
        explained = self._changes.explain(name, row["bucket_us"], appended_us, tick.offset)
        kind: Kind = "superseded" if superseded else "schedule" if explained else "difference"
        self._findings.add(
            Finding(
                kind, "rejected", self._partition,
                f"tick {tick.offset} was rejected as late, and its bar, written later, took it in"
                if superseded
                else f"tick {tick.offset} is rejected as {said}, but is in a bar",
                *name, "1m", row["bucket_us"], tick.offset, "reason", None, said, (tick,), 1,
            )
        )  # fmt: skip

    def _once(self, block: Block, offset: int, rows: list[int]) -> None:
        if len(rows) > 1:
            self._refusal(block, offset, 1, len(rows), "must stand in ticks_rejected once")

    def _unexpected(self, block: Block, offset: int, row: int) -> None:
        """A row of a tick for which none was to be written."""
        said = self._refusals.reason(row)
        appended_us = self._refusals.appended_us(row)
        at = _place(block, offset)
        if at is None:
            self._refusal(block, offset, None, said, "is rejected, but there is no such record")
            return
        if self._was_ahead_of_clock(block, offset, row):
            return
        if block.verdict[at] == OFF_SESSION:
            if said != "off_session":
                self._refusal(block, offset, "off_session", said, "is off session", appended_us)
            return
        if said == "late":
            if offset >= self._reach.position or self._is_closed(block, at):
                return  # closed without a bar; whether it was is asked later
            detail = "is rejected as late, but is of a minute that is open"
            self._refusal(block, offset, None, said, detail, appended_us)
            return
        if said in _NO_TICK and self._was_read_otherwise(offset):
            return
        if said == _BEYOND and self._was_beyond(int(block.series[at]), offset):
            return
        rule = (
            "is in session by the rows in force"
            if said in _BY_SCHEDULE
            else "its series was taken, or might have been"
            if said == _BEYOND
            else "is a tick of its series by the rules in force"
        )
        self._refusal(block, offset, None, said, f"is rejected as {said}, but {rule}", appended_us)

    def _taken_later(self, bar: int, offset: int, rejected_us: int) -> bool:
        """Whether a tick was late for its bar, and was taken in when that was written again.

        A switch-over to a replay with a longer grace does that.  A worker that rejects a tick and
        takes it in as well writes both at once, or the first version of a bar that was open, and
        those come in the order of their minutes.
        """
        row = self._published.bars.row(bar, named=True)
        if row["revision"] > 0:
            first_close = row["first_close"]
            was_late = first_close is None or offset >= first_close
        else:
            was_late = self._is_behind(bar)
        return bool(was_late and rejected_us < row["appended_us"])

    def is_written_anew(self, bar: int) -> bool:
        """Whether a bar was revised, or put in before one that was there already."""
        return bool(self._published.bars["revision"][bar] > 0) or self._is_behind(bar)

    def _is_behind(self, bar: int) -> bool:
        """Whether the next bar of the series was there before this one."""
        if bar + 1 == len(self._bar_series) or self._bar_series[bar + 1] != self._bar_series[bar]:
            return False
        first_us = self._published.bars["first_appended_us"]
        mine, following = first_us[bar], first_us[bar + 1]
        return mine is not None and following is not None and following < mine

    def _is_closed(self, block: Block, at: int) -> bool:
        number, until = int(block.series[at]), self._reach.closed_until_us
        return number < len(until) and bool(block.bucket_us[at] < until[number])

    def _refusal(
        self,
        block: Block,
        offset: int,
        expected: Any,
        published: Any,
        detail: str,
        appended_us: int | None = None,
    ) -> None:
        name: tuple[str | None, str | None] = (None, None)
        bucket_us: int | None = None
        ticks: tuple[ShownTick, ...] = ()
        kind: Kind = "difference"
        at = _place(block, offset)
        if at is not None:
            known = self._series.names[int(block.series[at])]
            name, bucket_us = known, int(block.bucket_us[at])
            ticks = (_shown(block, at),)
            kind = self._changes.kind_of(known, bucket_us, appended_us, offset)
        self._findings.add(
            Finding(
                kind, "rejected", self._partition, f"tick {offset} {detail}", *name, "1m",
                bucket_us, offset, "reason", expected, published, ticks, len(ticks),
            )
        )  # fmt: skip


def _place(block: Block, offset: int) -> int | None:
    """Where a tick stands in a block; None: it is no tick of it."""
    at = int(np.searchsorted(block.offset, offset))
    return at if at < len(block) and block.offset[at] == offset else None


def _shown(block: Block, at: int) -> ShownTick:
    return ShownTick(
        int(block.offset[at]), int(block.time_us[at]), float(block.price[at]), float(block.size[at])
    )
