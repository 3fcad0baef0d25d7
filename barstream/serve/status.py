"""What a worker says of itself: readiness, the status line and the gauges of its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from faust.types import TP

from barstream.codecs.topics.series_seen import UniverseReading
from barstream.market.schedule import MarketScheduleProvider
from barstream.metrics import Metrics
from barstream.rules.series import NEVER_US
from barstream.runtime.agreement import Agreement
from barstream.runtime.lifecycle import Held, Seen
from barstream.serve.reads import Placement, Readiness, Stats
from barstream.serve.series_kind import SERIES_KINDS, Kinds

if TYPE_CHECKING:
    from agents.heartbeats import HeartbeatSender
    from agents.schedule import ScheduleService
    from barstream.runtime.app import BarstreamApp
    from barstream.runtime.assignment import Assignment
    from barstream.runtime.partition_task import PartitionTask
    from barstream.runtime.spellings import Spellings


class Reporting:
    """Looks the numbers up when they are asked for."""

    def __init__(
        self,
        app: BarstreamApp,
        partitions: Assignment,
        provider: MarketScheduleProvider,
        reading: UniverseReading,
        schedule: ScheduleService,
        sender: HeartbeatSender,
        metrics: Metrics,
        ticks_topic: str,
        heartbeat_topic: str,
        spellings: Spellings,
        agreement: Agreement,
    ) -> None:
        self._app = app
        self._partitions = partitions
        self._provider = provider
        self._reading = reading
        self._schedule = schedule
        self._sender = sender
        self._metrics = metrics
        self._ticks_topic = ticks_topic
        self._heartbeat_topic = heartbeat_topic
        self._spellings = spellings
        self._agreement = agreement
        self._counted: Counter[str] = Counter()
        self._kinds = Kinds(provider, partitions.settings.rules.inactive_after)

    @property
    def held(self) -> Mapping[int, PartitionTask]:
        """The partitions that are this worker's: not those another one may have taken over."""
        if not self._app.membership.sure:
            return {}
        return {
            partition: owned
            for partition, owned in self._partitions.owned.items()
            if not owned.fenced
        }

    def readiness(self) -> Readiness:
        """Ready once the schedule is read, the tables are restored and no rebalance runs."""
        reasons: list[str] = []
        if not self._provider.ready:
            reasons.append("the market schedule is being read")
        if (restoring := self._partitions.progress) is not None:
            reasons.append(restoring.awaited)
        elif self._app.rebalancing or self._partitions.generation < 0:
            reasons.append("partitions are being assigned")
        elif not self._app.membership.sure:
            reasons.append(self._silence())
        reasons += [
            f"another worker has taken partition {partition} over, a rebalance is awaited"
            for partition, owned in sorted(self._partitions.owned.items())
            if owned.fenced
        ]
        progress: dict[str, Any] = {"partitions": len(self.held)}
        if restoring is not None:
            progress |= restoring.shown()
        return Readiness(not reasons, reasons, progress)

    def _silence(self) -> str:
        membership = self._app.membership
        silent_s = membership.silent_s
        heard = "has not answered yet" if silent_s is None else f"was silent for {silent_s:.0f} s"
        return (
            f"the coordinator of the consumer group {heard}: {membership.session_timeout_s:g} s "
            "after the last word another worker may have taken over"
        )

    def stats(self) -> Stats:
        """The status line."""
        index = self._provider.index
        return Stats(
            self._app.conf.id,
            self._sender.flag.on,
            sorted(self.held),
            sum(self._lags(self._ticks_topic).values()),
            self._partitions.tally.accepted,
            dict(self._partitions.tally.rejected),
            self._unscheduled(),
            None if index.always_open else len(index),
            self._sender.report.last_sent_us,
            self._partitions.standbys.lag,
            {} if (judged_by := self._partitions.settings.judged_by) is None else judged_by.shown,
            self._spellings.respelled,
            self._agreement.version,
            self._agreement.others,
        )

    def _unscheduled(self) -> list[tuple[str, str]]:
        index = self._provider.index
        return [
            name
            for owned in self.held.values()
            for name in reversed(owned.engine.gate.unscheduled)
            # rows may have come since its last tick was refused
            if index.for_series(*name) is None
        ]

    def seen(self) -> Seen:
        """What the log tells of when it changes."""
        readiness, index = self.readiness(), self._provider.index
        partitions = self._partitions
        given_out = self._app.rebalancing or partitions.restoring or partitions.generation < 0
        scheduled = self._provider.ready and not index.always_open
        return Seen(
            tuple(readiness.reasons),
            None if partitions.progress is None else partitions.progress.percent,
            None if given_out else self._given(),
            self._schedule.status.rows if scheduled else None,
            len(index) if scheduled else 0,
            index.version,
            tuple(self._unscheduled()),
        )

    def _given(self) -> Held:
        partitions, given = self._partitions, self._distribution()
        return Held(
            frozenset(partitions.owned),
            frozenset(partitions.standbys.held),
            # who does not lead the group asks for the number of partitions later
            self._count()
            or sum(len(topics.get(self._ticks_topic, ())) for topics in given.values()),
            max(1, len(given)),
            self._sender.flag.on,
            *partitions.read_back,
        )

    def placement(self) -> Placement:
        """Where the tick partitions are, as the group's leader told at the last assignment."""
        holders: dict[int, str | None] = dict.fromkeys(range(self._count()))
        for url, topics in self._distribution().items():
            holders.update(dict.fromkeys(topics.get(self._ticks_topic, ()), str(url).rstrip("/")))
        url = str(self._app.conf.canonical_url).rstrip("/")
        return Placement(url, frozenset(self.held), holders)

    def _distribution(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        return cast("Any", self._app.assignor).external_topic_distribution  # type: ignore[no-any-return]

    def _count(self) -> int:
        """How many tick partitions there are; 0 until the consumer knows."""
        return self._app.consumer.topic_partitions(self._ticks_topic) or 0

    def _lags(self, topic: str) -> Mapping[int, int]:
        """End offset less applied position, by partition held."""
        lags: dict[int, int] = {}
        for partition, owned in self.held.items():
            # the later one: what was fetched may be newer than what was asked for, or far older
            fetched = self._app.consumer.highwater(TP(topic, partition)) or 0
            end = max(fetched, self._partitions.monitor.end_of(topic, partition) or 0)
            position = (
                owned.engine.position
                if topic == self._ticks_topic
                else owned.engine.waiting.resume_offset
            )
            if position is not None and end:
                lags[partition] = max(0, end - position)
        return lags

    def update(self) -> None:
        """Bring the gauges up to date, before a scrape."""
        metrics = self._metrics
        metrics.ready.set(self.readiness().ready)
        for topic in (self._ticks_topic, self._heartbeat_topic):
            for partition, lag in self._lags(topic).items():
                metrics.lag.labels(topic, str(partition)).set(lag)
        kinds = Counter(dict.fromkeys(SERIES_KINDS, 0))
        for partition, owned in self.held.items():
            state = owned.engine.state
            metrics.heartbeats_waiting.labels(str(partition)).set(len(owned.engine.waiting))
            for series in state:
                if series.first_tick_us != NEVER_US:
                    kinds[self._kinds.of_state(partition, state, series)] += 1
        for kind, count in kinds.items():
            metrics.series.labels(kind).set(count)
        for partition, owned in self._partitions.owned.items():
            metrics.series_taken.labels(str(partition)).set(owned.engine.gate.fullness)
        metrics.leader.set(self._sender.flag.on)
        for settings in ("same", "other", "unknown"):
            metrics.workers.labels(settings).set(self._agreement.count(settings))
        self._update_standbys()
        self._update_sender()
        self._add("refused", self._reading.refused, metrics.universe_rows_refused)
        status = self._schedule.status
        metrics.schedule_rows.set(status.rows)
        metrics.schedule_rows_refused.set(status.refused)
        self._add("reloads", status.failures, metrics.schedule_reload_failures)
        metrics.schedule_series.set(status.series)
        metrics.schedule_conflicts.set(len(self._provider.index.problems))

    def _update_standbys(self) -> None:
        metrics, standbys = self._metrics, self._partitions.standbys
        metrics.standby_partitions.set(len(standbys.held))
        metrics.standby_lag.clear()
        for partition, lag in standbys.lag.items():
            metrics.standby_lag.labels(str(partition)).set(lag)
        self._add("standby rows", standbys.rows, metrics.standby_rows)
        self._add("standby reopened", standbys.reopened, metrics.standby_reopened)

    def _update_sender(self) -> None:
        metrics, report = self._metrics, self._sender.report
        # also while it cannot connect: due is what it was before the trouble, and more
        metrics.heartbeats_behind.set(report.behind if self._sender.flag.on else 0)
        metrics.heartbeats_holding.set(report.holding)
        for why, count in (
            ("historical", report.skipped),
            ("asleep", report.asleep),
            ("unscheduled", report.unscheduled),
            ("unseen", report.unseen),
        ):
            metrics.heartbeats_skipped.labels(why).set(count)
        metrics.clock_offset.set(report.clock_offset_us / 1e6)
        metrics.clock_wrong.set(report.clock_wrong)
        metrics.clock_unchecked.set(report.unchecked)
        if report.last_sent_us is not None:
            metrics.last_heartbeat.set(report.last_sent_us / 1e6)
        self._add("sent", report.sent_total, metrics.heartbeats_sent)
        self._add("early", report.early, metrics.heartbeats_early)
        self._add("fenced", report.fenced, metrics.heartbeats_fenced)
        self._add("errors", report.errors, metrics.heartbeat_failures)

    def _add(self, name: str, total: int, counter: object) -> None:
        """Raise a counter by what a total has grown since it was looked at last."""
        counter.inc(total - self._counted[name])  # type: ignore[attr-defined]
        self._counted[name] = total
