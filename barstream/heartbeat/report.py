"""What the leader shows of itself, and how its clock is compared with the broker's."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from barstream.heartbeat.producer import Appended
from barstream.model.time import SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatPlan

log = logging.getLogger(__name__)

MAX_CLOCK_OFFSET_US: Final = SECOND_US


@dataclass(slots=True)
class HeartbeatReport:
    """For metrics and views; counters since start, gauges of the last round."""

    leader: bool = False
    """This worker holds the producer and sends."""
    last_sent_us: int | None = None
    """Own clock at the last acknowledged round."""
    planned: int = 0
    """Due by the last plan and not acknowledged since."""
    remaining: int = 0
    """Due, but left for later rounds of a catch-up."""
    sent_total: int = 0
    repeated: int = 0
    """Minutes sent once more, because a week or month ended after the schedule did."""
    early: int = 0
    """Sent before their minute was over by the broker's clock, and so sent again."""
    skipped: int = 0
    """Series that are historical."""
    asleep: int = 0
    unscheduled: int = 0
    unseen: int = 0
    """Series in the schedule that were never seen in ticks: they have no partition."""
    errors: int = 0
    fenced: int = 0
    holding: bool = False
    clock_offset_us: int = 0
    """Own clock minus the broker's: positive is fast."""
    clock_wrong: bool = False
    """More than a second off: nothing is sent."""
    unchecked: bool = False
    """The topic does not carry append times, so clocks cannot be compared."""

    @property
    def behind(self) -> int:
        """Minutes of series that are due and not acknowledged; only a leader can be behind."""
        return self.planned + self.remaining

    @property
    def clock_offset_ms(self) -> int:
        """Own clock minus the broker's, in milliseconds."""
        return self.clock_offset_us // 1000

    def planned_by(self, due: HeartbeatPlan, *, unseen: int) -> None:
        """A plan was made."""
        self.planned, self.remaining = len(due), due.remaining
        self.skipped, self.asleep, self.unscheduled = due.historical, due.asleep, due.unscheduled
        self.unseen = unseen

    def sent(self, at_us: int, count: int, early: int, repeated: int = 0) -> None:
        """A round was acknowledged: ``early`` of ``count`` go again, ``repeated`` were repeats."""
        self.last_sent_us = at_us
        self.sent_total += count
        self.planned = max(0, self.planned - count)
        self.early += early
        self.repeated += repeated

    def compare_clocks(self, before_us: int, after_us: int, appended: Iterable[Appended]) -> bool:
        """Take in what one send says of the clock; True when it has just become right.

        A clock that is wrong is told of once, not once a round.
        """
        offset_us = clock_offset_us(before_us, after_us, appended)
        if offset_us is None:
            if not self.unchecked:
                log.error("the heartbeat topic is not LogAppendTime: clocks are not compared")
            self.unchecked = True
            return False
        was_wrong, self.clock_wrong = self.clock_wrong, abs(offset_us) > MAX_CLOCK_OFFSET_US
        self.clock_offset_us = offset_us
        if self.clock_wrong and not was_wrong:
            log.error(
                "no heartbeats: this machine's clock is off the broker's, correct it (NTP) "
                "clock_offset_ms=%d allowed=%d",
                self.clock_offset_ms,
                MAX_CLOCK_OFFSET_US // 1000,
            )
        elif was_wrong and not self.clock_wrong:
            log.info("clock is right again, sending clock_offset_ms=%d", self.clock_offset_ms)
        return was_wrong and not self.clock_wrong


def clock_offset_us(before_us: int, after_us: int, appended: Iterable[Appended]) -> int | None:
    """How far the clock that read ``before_us`` and ``after_us`` around a send is off.

    Positive: it is fast.  0: the append times (whole milliseconds) lie between the two, so
    nothing is known against it, however slow the acknowledgement.  None: no append times.
    """
    parts = list(appended)
    earliest = min((part.earliest_us for part in parts if part.earliest_us is not None), default=0)
    latest = max((part.latest_us for part in parts if part.latest_us is not None), default=0)
    if not latest:
        return None
    if before_us > earliest + 999:
        return before_us - (earliest + 999)
    return min(0, after_us - latest)
