"""The heartbeat sender: plans on every worker, sends on the one that leads.

Order at start: schedule and universe read, topics ensured (``ready``), leadership, sending.
One round: follow the flag, plan by the clock, send, remember what the broker acknowledged,
wait until the next minute is due.  Anything that goes wrong with the broker drops the
producer; the next round fences with a new one and reads from the log what was emitted, so
an unknown outcome is never guessed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mode import Service

from barstream.clock import system_clock_us
from barstream.heartbeat.last_minute import Emitted
from barstream.heartbeat.leadership import LeadershipFlag
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
from barstream.heartbeat.timer import Waker
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

ROUND_WITHIN_S: Final = 10.0
"""Acknowledged later than this, a heartbeat would carry a barrier from before the trouble."""
RECOVER_WITHIN_S: Final = 60.0
WINDOW_US: Final = 2 * MINUTE_US

# Pauses before the next round, when it is not the clock that decides.
RETRY_S: Final = 3.0
PROBE_S: Final = 5.0
CATCH_UP_S: Final = 1.0
REBALANCE_S: Final = 0.2
EARLY_S: Final = 0.05


class HeartbeatSender(Service):
    """Sends the heartbeats of all series while ``flag`` is on.

    Args:
        rules: what planning depends on.
        provider: the market schedule; nothing is planned before it is ready.
        universe: the series seen, kept up to date by a reader of ``series_seen``.
        flag: leadership; this service only ever deposes it (fenced) and reclaims it.
        cluster: where the topics are.
        ticks_topic, heartbeats_topic: names in Kafka.
        transactional_id: one for the application, so that a new leader fences the old.
        periods: of the upper bars; weeks and months may need a minute to be sent again.
        clock: microseconds since the epoch.
        rebalancing: True while the consumer group is; nothing is sent then.
        ready: the universe is read and the topics are ensured.
        wanted: heartbeats are enabled and the pipeline has a tumbling window.
        jitter_us: wake up to this much after the instant a minute is due.
        resume_hold_us: after an outage wait so long before catching up.
        reclaim_s: how long a fenced leader waits before it looks at its assignment again;
            longer than the session timeout, so that a deposed one has lost it by then.
        nap_s: the clock is looked at again at least this often.
    """

    def __init__(
        self,
        *,
        rules: HeartbeatRules,
        provider: MarketScheduleProvider,
        universe: Universe,
        flag: LeadershipFlag,
        cluster: Cluster,
        ticks_topic: str,
        heartbeats_topic: str,
        transactional_id: str,
        periods: Sequence[Period] = (),
        clock: Callable[[], int] = system_clock_us,
        rebalancing: Callable[[], bool] = lambda: False,
        ready: Callable[[], bool] = lambda: True,
        wanted: bool = True,
        jitter_us: int = 250_000,
        resume_hold_us: int = 30 * SECOND_US,
        reclaim_s: float = 15.0,
        nap_s: float = 1.0,
    ) -> None:
        super().__init__()
        self.rules = rules
        self.provider = provider
        self.universe = universe
        self.flag = flag
        self.report = HeartbeatReport()
        self._cluster = cluster
        self._ticks_topic = ticks_topic
        self._topic = heartbeats_topic
        self._transactional_id = transactional_id
        self._periods = tuple(periods)
        self._clock = clock
        self._rebalancing = rebalancing
        self._ready = ready
        self._wanted = wanted
        self._nap_s = nap_s
        self._reclaim_s = reclaim_s
        self._reclaim_at_s: float | None = None
        self._resume = ResumeRule(resume_hold_us / SECOND_US)
        self._waker = Waker(rules, self.now_us, jitter_us, nap_s)
        self._emitted = Emitted()
        self._producer: LeaderProducer | None = None
        self._used_at_s = 0.0
        self._rest_s = math.inf
        self._barriers: Barriers | None = None
        self._stale = False
        self._settling = Settling()
        self._changed: set[SeriesName] = set()
        provider.on_change(self._schedule_changed)
        flag.listen(self._flag_changed)

    async def start(self) -> None:
        """Start once: again, or without a tumbling window, it changes nothing."""
        if self._wanted and not self._started.is_set():
            await super().start()

    def wake(self) -> None:
        """Plan now instead of when the next minute is due."""
        self._waker.nudge()

    def now_us(self) -> int:
        """The clock less what it is known to be fast, so that no heartbeat comes too early."""
        fast_us = self.report.clock_offset_us
        return self._clock() - (0 if self.report.clock_wrong else max(0, fast_us))

    @Service.task
    async def _send_for_ever(self) -> None:
        while not self.should_stop:
            if self.provider.ready and self._ready():
                break
            await asyncio.sleep(min(self._nap_s, 0.1))
        while not self.should_stop:
            await self._round()
            await self._waker.wait(lambda: self.should_stop)

    async def on_shutdown(self) -> None:
        await self._close()

    def _flag_changed(self, flag: LeadershipFlag) -> None:
        # Off and on again between two rounds: another may have led meanwhile.
        self._stale = self._stale or not flag.on
        self._waker.nudge()

    def _schedule_changed(self, index: ScheduleIndex) -> None:
        self._settling.changed(index.changed, time.monotonic())
        self._changed |= index.changed

    async def _round(self) -> None:
        self._waker.begin()
        try:
            await self._follow_flag()
            due = await self._plan()
            self._emitted.marks.update(due.began)
            await self._send(due)
        except ProducerFenced:
            log.warning("another worker leads now, stepping down topic=%s", self._topic)
            self.report.fenced += 1
            self._reclaim_at_s = time.monotonic() + self._reclaim_s
            self.flag.depose()
            await self._close()
        except (KafkaError, TimeoutError, OSError) as error:
            self.report.errors += 1
            if not self._resume.failing:
                log.warning("heartbeats not acknowledged, still trying error=%r", error)
            self._resume.failed(time.monotonic())
            await self._close()
            self._waker.again_in(RETRY_S)

    async def _plan(self) -> HeartbeatPlan:
        seen, index, known = self.universe.rows(), self.provider.index, self._emitted
        # not when it changes: a round that is under way plans by the index before
        known.schedule_changed(self._changed)
        self._changed.clear()
        rows = self._settling.settled(seen, time.monotonic())
        if len(rows) < len(seen):
            self._waker.again_in(SETTLE_S)
        due = await asyncio.to_thread(
            plan, self.now_us(), rows, index, known.marks, self.rules, self._periods, known.heard
        )
        unseen = sum(name not in self.universe for name in index.series())
        self.report.planned_by(due, unseen=unseen)
        if due.held_until_us is not None:
            self._waker.again_in(max(0.0, (due.held_until_us - due.now_us) / SECOND_US))
        if due.remaining:
            log.debug("catching up planned=%d remaining=%d", len(due), due.remaining)
            self._waker.again_in(CATCH_UP_S)
        return due

    async def _send(self, due: HeartbeatPlan) -> None:
        """Send if this worker leads, and remember what needs no sending any more."""
        producer, barriers = self._producer, self._barriers
        if producer is None or barriers is None:
            self._emitted.by_another(due)
            return
        if not len(due) or self._holds(due):
            return
        if not self._may_send():
            self._waker.again_in(REBALANCE_S)
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
                self._waker.again_in(0.0)  # the clock is right again: the rest may follow
            if self.report.clock_wrong or not self._may_send():
                await producer.abort()
                self._waker.again_in(PROBE_S if self.report.clock_wrong else REBALANCE_S)
                return
            await producer.commit()
        self._acknowledged(due, appended)

    def _acknowledged(self, due: HeartbeatPlan, appended: Mapping[int, Appended]) -> None:
        now_us = self._clock()
        self._used_at_s = time.monotonic()
        self._resume.acknowledged(now_us)
        early, repeated = self._emitted.acknowledged(
            due, appended, now_us, self.rules, self.provider.index
        )
        if early:
            self._waker.again_in(EARLY_S)
        if repeated:
            log.info("a week or month ended after its schedule, sent again series=%d", repeated)
        self.report.sent(now_us, sum(part.count for part in appended.values()), early, repeated)

    def _holds(self, due: HeartbeatPlan) -> bool:
        oldest = next(due.minutes(), None)
        if oldest is None:
            return False  # what is sent again closes nothing, so it makes no tick late
        row, oldest_us = oldest
        now_us = self._clock()
        schedule = self.provider.index.for_series(row.broker, row.symbol)
        overdue_us = now_us - self.rules.due_us(row.broker, oldest_us, schedule)
        hold_s = self._resume.hold_s(overdue_us, now_us, time.monotonic())
        if hold_s and not self.report.holding:
            log.warning("after an outage, catching up in %.0f s planned=%d", hold_s, len(due))
        self.report.holding = hold_s > 0
        if hold_s:
            self._waker.again_in(hold_s)
        return hold_s > 0

    def _may_send(self) -> bool:
        return self.flag.on and not self._rebalancing()

    async def _follow_flag(self) -> None:
        if self._reclaim_at_s is not None:
            left_s = self._reclaim_at_s - time.monotonic()
            if left_s > 0:
                self._waker.again_in(left_s)
            else:
                self._reclaim_at_s = None
                self.flag.reclaim()
        rested = time.monotonic() - self._used_at_s > self._rest_s
        if self._stale or rested:  # off now, off and on again; or soon forgotten by the brokers
            self._stale = False
            await self._close()
        if self.flag.on and self._producer is None:
            if self._rebalancing():
                self._waker.again_in(REBALANCE_S)
            else:
                await self._take_over()

    async def _take_over(self) -> None:
        """Fence the leader before, then learn from the log where it stopped."""
        async with asyncio.timeout(RECOVER_WITHIN_S):
            self._producer = LeaderProducer(self._cluster, self._topic, self._transactional_id)
            self._barriers = Barriers(self._cluster, self._ticks_topic)
            await self._producer.start()
            await self._barriers.start()
            self._used_at_s = time.monotonic()
            self._rest_s = await longest_rest_s(self._cluster)
            now_us, rows, index = self._clock(), self.universe.rows(), self.provider.index
            windows = await asyncio.to_thread(
                recovery_windows, now_us, rows, index, self.rules, WINDOW_US
            )
            recovered = await recover(
                self._cluster, self._topic, now_us, windows, self.rules, index
            )
        self._emitted = Emitted(recovered.marks)
        self._resume.took_over(recovered.newest_us, time.monotonic())
        self.report.leader = True
        log.debug("leading the heartbeats series_recovered=%d", len(recovered.marks))

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        barriers, self._barriers = self._barriers, None
        self.report.leader = False
        if producer is not None:
            await producer.stop()
        if barriers is not None:
            await barriers.stop()
