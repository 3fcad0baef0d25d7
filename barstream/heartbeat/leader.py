"""The leader of the heartbeats: who it is, in which state it is, and what it does in a round.

Every worker plans, and the one that holds partition 0 of ``hb_1m`` in the application's own
consumer group sends; no assignment of another topic makes a leader, and no topic of Faust's.
Every worker is in one of these states, and what happens leads from one to another as in
`TRANSITIONS` and in no other way:

- *following*: another worker sends, if any.
- *waiting*: it is this worker's to send; waited for are schedule, universe, the end of the
  rebalance or a broker, then it takes over: fences the leader before, and reads from the log
  where that one stopped.
- *catching up*: minutes are due that no broker has acknowledged.
- *holding*: after an outage the same, but feeds deliver first what they buffered.
- *current*: all that was due is acknowledged.
- *deposed*: Kafka has let another one in, though partition 0 is still this worker's by what it
  was told: one that was frozen may have fenced the rightful one, so it comes back after a while.

Two leaders for an instant are harmless, because Kafka fences the older one.  Whether something
may be sent is asked of the assignment at once (`Leader.leads`); states change in rounds alone, so
that none changes under a round that is under way.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from barstream.clock import system_clock_us
from barstream.heartbeat.alarm import Alarm
from barstream.heartbeat.last_minute import Emitted
from barstream.heartbeat.producer import (
    Appended,
    Barriers,
    Due,
    LeaderProducer,
    encode_rows,
)
from barstream.heartbeat.quiet_period import SETTLE_S, Settling
from barstream.heartbeat.recovery import recover
from barstream.heartbeat.report import HeartbeatReport
from barstream.kafka.clients import KafkaError, ProducerFenced
from barstream.kafka.cluster import Cluster
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex
from barstream.market.universe import SeriesName, Universe
from barstream.model.period import Period
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatPlan, HeartbeatRules, plan, recovery_windows
from barstream.rules.resume_hold import ResumeRule
from barstream.runtime.transactional_id import longest_rest_s

log = logging.getLogger(__name__)


class LeaderState(Enum):
    """Of a worker; what each means is said above."""

    FOLLOWING = "following"
    WAITING = "waiting"
    CATCHING_UP = "catching up"
    HOLDING = "holding"
    CURRENT = "current"
    DEPOSED = "deposed"


class LeaderEvent(Enum):
    """What leads from one state to another."""

    ASSIGNED = "an assignment with partition 0 of hb_1m is complete"
    REVOKED = "a revoke, a rebalance or the stop has begun"
    TOOK_OVER = "the leader before is fenced, and where it stopped is known"
    BEHIND = "minutes are due"
    OUTAGE = "they are, and long: there was an outage, feeds deliver first"
    UP_TO_DATE = "nothing is due that is not acknowledged"
    RESTED = "nothing was sent for so long that brokers may forget the transactional id"
    FAILED = "a broker did not acknowledge, or the round failed otherwise"
    FENCED = "another leader has started since"
    RECLAIMED = "that is a while ago, and the assignment still stands"


S, E = LeaderState, LeaderEvent

# fmt: off
TRANSITIONS: Final[Mapping[LeaderState, Mapping[LeaderEvent, LeaderState]]] = {
    S.FOLLOWING: {
        E.ASSIGNED: S.WAITING,        E.REVOKED: S.FOLLOWING,  E.FAILED: S.FOLLOWING,
    },
    S.WAITING: {
        E.ASSIGNED: S.WAITING,        E.REVOKED: S.FOLLOWING,  E.FENCED: S.DEPOSED,
        E.TOOK_OVER: S.CATCHING_UP,   E.FAILED: S.WAITING,
    },
    S.CATCHING_UP: {
        E.ASSIGNED: S.CATCHING_UP,    E.REVOKED: S.FOLLOWING,  E.FENCED: S.DEPOSED,
        E.BEHIND: S.CATCHING_UP,      E.OUTAGE: S.HOLDING,     E.UP_TO_DATE: S.CURRENT,
        E.FAILED: S.WAITING,          E.RESTED: S.WAITING,
    },
    S.HOLDING: {
        E.ASSIGNED: S.HOLDING,        E.REVOKED: S.FOLLOWING,
        E.BEHIND: S.CATCHING_UP,      E.OUTAGE: S.HOLDING,     E.UP_TO_DATE: S.CURRENT,
        E.FAILED: S.WAITING,          E.RESTED: S.WAITING,
    },
    S.CURRENT: {
        E.ASSIGNED: S.CURRENT,        E.REVOKED: S.FOLLOWING,
        E.BEHIND: S.CATCHING_UP,      E.OUTAGE: S.HOLDING,     E.UP_TO_DATE: S.CURRENT,
        E.FAILED: S.WAITING,          E.RESTED: S.WAITING,
    },
    S.DEPOSED: {
        E.ASSIGNED: S.WAITING,        E.REVOKED: S.FOLLOWING,  E.FAILED: S.DEPOSED,
        E.RECLAIMED: S.WAITING,
    },
}
# fmt: on
SENDING: Final = frozenset({S.CATCHING_UP, S.HOLDING, S.CURRENT})
"""It has a producer, and whoever led before is fenced."""

ROUND_WITHIN_S: Final = 10.0
"""Acknowledged later than this, a heartbeat would carry a barrier from before the trouble."""
RECOVER_WITHIN_S: Final = 60.0
WINDOW_US: Final = 2 * MINUTE_US

# Pauses before the next round, when it is not the clock that decides.
READY_S: Final = 0.1
RETRY_S: Final = 3.0
PROBE_S: Final = 5.0
CATCH_UP_S: Final = 1.0
REBALANCE_S: Final = 0.2
EARLY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class PlanSources:
    """What is planned from.

    Attributes:
        rules: when a minute is due.
        provider: the market schedule; nothing is planned before it is ready.
        universe: the series seen, kept up to date by a reader of ``series_seen``.
        periods: of the upper bars; weeks and months may need a minute to be sent again.
    """

    rules: HeartbeatRules
    provider: MarketScheduleProvider
    universe: Universe
    periods: Sequence[Period] = ()


@dataclass(frozen=True, slots=True)
class HeartbeatTopics:
    """Where heartbeats go.

    Attributes:
        cluster: where the topics are.
        ticks: the topic whose ends are the barriers.
        heartbeats: ``hb_1m``.
        transactional_id: one for the application, so that a new leader fences the old.
    """

    cluster: Cluster
    ticks: str
    heartbeats: str
    transactional_id: str


@dataclass(frozen=True, slots=True)
class LeaderPauses:
    """How long the leader waits on purpose.

    Attributes:
        jitter_us: it wakes up to this much after the instant a minute is due.
        resume_hold_us: after an outage it waits so long before it catches up.
        reclaim_s: so long after it was fenced it looks at its assignment again; longer than
            the session timeout, so that a deposed one has lost it by then.
    """

    jitter_us: int = 250_000
    resume_hold_us: int = 30 * SECOND_US
    reclaim_s: float = 15.0


class Leader:
    """Sends the heartbeats of all series while this worker leads; plans while it does not.

    Args:
        sources: what is planned from.
        topics: where it sends.
        pauses: how long it waits on purpose.
        clock: microseconds since the epoch.
        ready: the universe is read and the topics are ensured.
        rebalancing: True while the consumer group is; nothing is sent then.
    """

    def __init__(
        self,
        sources: PlanSources,
        topics: HeartbeatTopics,
        pauses: LeaderPauses = LeaderPauses(),
        *,
        clock: Callable[[], int] = system_clock_us,
        ready: Callable[[], bool] = lambda: True,
        rebalancing: Callable[[], bool] = lambda: False,
    ) -> None:
        self.sources = sources
        self.state = LeaderState.FOLLOWING
        self.report = HeartbeatReport()
        self._topics = topics
        self._pauses = pauses
        self._clock = clock
        self._ready = ready
        self._rebalancing = rebalancing
        self._held = False
        self._is_ended = False
        #: What the assignment has said since the last round began: at most that it was
        #: revoked, and then that it is ours again.
        self._said: list[LeaderEvent] = []
        self._reclaim_at_s = math.inf
        self._resume = ResumeRule(pauses.resume_hold_us / SECOND_US)
        self._alarm = Alarm(sources.rules, self.now_us, pauses.jitter_us)
        self._emitted = Emitted()
        self._producer: LeaderProducer | None = None
        self._barriers: Barriers | None = None
        self._used_at_s = 0.0
        self._rest_s = math.inf
        self._settling = Settling()
        self._changed: set[SeriesName] = set()
        sources.provider.on_change(self._schedule_changed)

    @property
    def leads(self) -> bool:
        """Whether this worker may send."""
        return self._held and self.state is not LeaderState.DEPOSED

    def assigned(self) -> None:
        """An assignment with partition 0 of ``hb_1m`` is complete."""
        self._held = True
        if self._said[-1:] != [LeaderEvent.ASSIGNED]:
            self._said.append(LeaderEvent.ASSIGNED)
        self._alarm.nudge()

    def revoked(self) -> None:
        """A revoke, a rebalance or the stop has begun: nothing is sent from here on."""
        if self._held:
            self._held = False
            self._said = [LeaderEvent.REVOKED]
            self._alarm.nudge()

    def end(self) -> None:
        """The worker stops: no round begins any more.

        A client that is asked something may drop the cancellation that Faust ends a task with.
        """
        self._is_ended = True
        self._alarm.nudge()

    def wake(self) -> None:
        """Plan now instead of when the next minute is due."""
        self._alarm.nudge()

    def look_at_the_clock(self, within_s: float) -> None:
        """Plan when an instant is due within so long, after which it has to be looked again."""
        self._alarm.look(within_s)

    def now_us(self) -> int:
        """The clock less what it is known to be fast, so that no heartbeat comes too early."""
        fast_us = self.report.clock_offset_us
        return self._clock() - (0 if self.report.clock_wrong else max(0, fast_us))

    async def run(self) -> None:
        """A round whenever it is woken, until it is cancelled or ended.

        Raises:
            RuntimeError: cancelled by nobody, which Faust would take for an end.
        """
        try:
            while not self._is_ended:
                await self._round()
                if not self._is_ended:  # a round begins by forgetting what has rung
                    await self._alarm.wait()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                raise RuntimeError("the heartbeats were cancelled by nobody") from error
            raise
        finally:
            await self._close()

    def _to(self, event: LeaderEvent) -> None:
        after = TRANSITIONS[self.state].get(event)
        if after is None:
            raise RuntimeError(f"a leader that is {self.state.value} is not to hear: {event.value}")
        self.state = after
        self.report.leader = after in SENDING
        self.report.holding = after is LeaderState.HOLDING

    def _schedule_changed(self, index: ScheduleIndex) -> None:
        self._settling.changed(index.changed, time.monotonic())
        self._changed |= index.changed

    async def _round(self) -> None:
        self._alarm.begin()
        if not (self.sources.provider.ready and self._ready()):
            self._alarm.again_in(READY_S)
            return
        try:
            await self._follow_assignment()
            due = await self._plan()
            self._emitted.marks.update(due.began)
            await self._send(due)
        except ProducerFenced:
            log.warning("another worker leads now, stepping down topic=%s", self._topics.heartbeats)
            self.report.fenced += 1
            self._reclaim_at_s = time.monotonic() + self._pauses.reclaim_s
            self._alarm.again_in(self._pauses.reclaim_s)
            self._to(LeaderEvent.FENCED)
            await self._close()
        except (KafkaError, TimeoutError, OSError) as error:
            self.report.errors += 1
            if not self._resume.failing:
                log.warning("heartbeats not acknowledged, still trying error=%r", error)
            self._resume.failed(time.monotonic())
            self._to(LeaderEvent.FAILED)
            await self._close()
            self._alarm.again_in(RETRY_S)

    async def _follow_assignment(self) -> None:
        said, self._said = self._said, []
        for event in said:
            self._to(event)
            if event is LeaderEvent.REVOKED:  # another may have led since
                await self._close()
        if self.state is LeaderState.DEPOSED:
            left_s = self._reclaim_at_s - time.monotonic()
            if left_s > 0:
                self._alarm.again_in(left_s)
            else:
                self._to(LeaderEvent.RECLAIMED)
        elif self.state in SENDING and time.monotonic() - self._used_at_s > self._rest_s:
            self._to(LeaderEvent.RESTED)
            await self._close()
        if self.state is LeaderState.WAITING:
            if self._rebalancing():
                self._alarm.again_in(REBALANCE_S)
            else:
                await self._take_over()

    async def _take_over(self) -> None:
        """Fence the leader before, then learn from the log where it stopped."""
        cluster, rules = self._topics.cluster, self.sources.rules
        async with asyncio.timeout(RECOVER_WITHIN_S):
            self._producer = LeaderProducer(
                cluster, self._topics.heartbeats, self._topics.transactional_id
            )
            self._barriers = Barriers(cluster, self._topics.ticks)
            await self._producer.start()
            await self._barriers.start()
            self._used_at_s = time.monotonic()
            self._rest_s = await longest_rest_s(cluster)
            now_us, rows = self._clock(), self.sources.universe.rows()
            index = self.sources.provider.index
            windows = await asyncio.to_thread(
                recovery_windows, now_us, rows, index, rules, WINDOW_US
            )
            recovered = await recover(
                cluster, self._topics.heartbeats, now_us, windows, rules, index
            )
        self._emitted = Emitted(recovered.marks)
        self._resume.took_over(recovered.newest_us, time.monotonic())
        self._to(LeaderEvent.TOOK_OVER)
        log.debug("leading the heartbeats series_recovered=%d", len(recovered.marks))

    async def _plan(self) -> HeartbeatPlan:
        sources, known = self.sources, self._emitted
        seen, index = sources.universe.rows(), sources.provider.index
        # not when it changes: a round that is under way plans by the index before
        known.schedule_changed(self._changed)
        self._changed.clear()
        rows = self._settling.settled(seen, time.monotonic())
        if len(rows) < len(seen):
            self._alarm.again_in(SETTLE_S)
        due = await asyncio.to_thread(
            plan, self.now_us(), rows, index, known.marks, sources.rules, sources.periods,
            known.heard,
        )  # fmt: skip
        unseen = sum(name not in sources.universe for name in index.series())
        self.report.planned_by(due, unseen=unseen)
        if due.held_until_us is not None:
            self._alarm.again_in(max(0.0, (due.held_until_us - due.now_us) / SECOND_US))
        if due.remaining:
            log.debug("catching up planned=%d remaining=%d", len(due), due.remaining)
            self._alarm.again_in(CATCH_UP_S)
        return due

    async def _send(self, due: HeartbeatPlan) -> None:
        """Send if this worker leads, and remember what needs no sending any more."""
        producer, barriers = self._producer, self._barriers
        if producer is None or barriers is None:
            self._emitted.by_another(due)
            return
        if not len(due):
            self._to(LeaderEvent.UP_TO_DATE)
            return
        if self._holds(due):
            return
        self._to(LeaderEvent.BEHIND)
        if not self._may_send():
            self._alarm.again_in(REBALANCE_S)
            return
        if self.report.clock_wrong:
            due = due.head(1)  # just enough to hear the broker's time
        async with asyncio.timeout(ROUND_WITHIN_S):
            ends = await barriers.read(due.partitions())  # after `now` was decided
            items = [Due(row.broker, row.symbol, row.partition, at) for row, at in due]
            rows = await asyncio.to_thread(encode_rows, items, ends, self._clock(), "planner")
            if not rows:
                return
            before_us = self._clock()
            appended = await producer.begin(rows)
            if self.report.compare_clocks(before_us, self._clock(), appended.values()):
                self._alarm.again_in(0.0)  # the clock is right again: the rest may follow
            if self.report.clock_wrong or not self._may_send():
                await producer.abort()
                self._alarm.again_in(PROBE_S if self.report.clock_wrong else REBALANCE_S)
                return
            await producer.commit()
        self._acknowledged(due, appended)

    def _acknowledged(self, due: HeartbeatPlan, appended: Mapping[int, Appended]) -> None:
        now_us = self._clock()
        self._used_at_s = time.monotonic()
        self._resume.acknowledged(now_us)
        early, repeated = self._emitted.acknowledged(
            due, appended, now_us, self.sources.rules, self.sources.provider.index
        )
        if early:
            self._alarm.again_in(EARLY_S)
        if repeated:
            log.info("a week or month ended after its schedule, sent again series=%d", repeated)
        self.report.sent(now_us, sum(part.count for part in appended.values()), early, repeated)
        if not early and not due.remaining:
            self._to(LeaderEvent.UP_TO_DATE)

    def _holds(self, due: HeartbeatPlan) -> bool:
        """Whether feeds are to deliver first; what is sent again only makes no tick late."""
        oldest = next(due.minutes(), None)
        if oldest is None:
            return False
        row, oldest_us = oldest
        now_us = self._clock()
        schedule = self.sources.provider.index.for_series(row.broker, row.symbol)
        overdue_us = now_us - self.sources.rules.due_us(row.broker, oldest_us, schedule)
        hold_s = self._resume.hold_s(overdue_us, now_us, time.monotonic())
        if not hold_s:
            return False
        if self.state is not LeaderState.HOLDING:
            log.warning("after an outage, catching up in %.0f s planned=%d", hold_s, len(due))
        self._to(LeaderEvent.OUTAGE)
        self._alarm.again_in(hold_s)
        return True

    def _may_send(self) -> bool:
        return self._held and not self._rebalancing()

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        barriers, self._barriers = self._barriers, None
        if producer is not None:
            await producer.stop()
        if barriers is not None:
            await barriers.stop()
