"""What a worker says of itself: readiness, the status line, its metrics, and the views of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web
from faust.types import TP
from prometheus_client.exposition import choose_encoder

from barstream.codecs.topics.series_seen import UniverseReading
from barstream.metrics import Metrics
from barstream.rules.series import NEVER_US
from barstream.runtime.agreement import Agreement
from barstream.runtime.lifecycle import Held, Seen, schedule_command
from barstream.serve.reads import Stats
from barstream.serve.render import time_text
from barstream.serve.series_list import SERIES_KINDS, Kinds
from barstream.serve.site import SITE, ReadView, Site
from barstream.serve.worker_reads import WorkerReads

if TYPE_CHECKING:
    from barstream.heartbeat.leader import Leader
    from barstream.runtime.agreement import Other
    from barstream.runtime.schedule import ScheduleService
    from barstream.runtime.spellings import Spellings


class Reporting:
    """Looks the numbers up when they are asked for."""

    def __init__(
        self,
        reads: WorkerReads,
        reading: UniverseReading,
        schedule: ScheduleService,
        leader: Leader,
        spellings: Spellings,
        agreement: Agreement,
    ) -> None:
        self._reads = reads
        self._app, self._partitions, self._provider = reads.app, reads.partitions, reads.provider
        self._reading = reading
        self._schedule = schedule
        self._leader = leader
        settings = reads.partitions.settings
        self._ticks_topic, self._heartbeat_topic = settings.ticks_topic, settings.heartbeat_topic
        self._spellings = spellings
        self._agreement = agreement
        self._counted: Counter[str] = Counter()
        self._kinds = Kinds(reads.provider, settings.rules.inactive_after)

    def stats(self) -> Stats:
        """The status line."""
        index = self._provider.index
        return Stats(
            self._app.conf.id,
            self._leader.leads,
            sorted(self._reads.held),
            sum(self._lags(self._ticks_topic).values()),
            self._partitions.tally.accepted,
            dict(self._partitions.tally.rejected),
            self._unscheduled(),
            None if index.always_open else len(index),
            self._leader.report.last_sent_us,
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
            for owned in self._reads.held.values()
            for name in reversed(owned.engine.gate.unscheduled)
            # rows may have come since its last tick was refused
            if index.for_series(*name) is None
        ]

    def seen(self) -> Seen:
        """What the log tells of when it changes."""
        readiness, index = self._reads.ready(), self._provider.index
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
        partitions, given = self._partitions, self._reads.distribution()
        return Held(
            frozenset(partitions.owned),
            frozenset(partitions.standbys.held),
            # who does not lead the group asks for the number of partitions later
            self._reads.partition_count()
            or sum(len(topics.get(self._ticks_topic, ())) for topics in given.values()),
            max(1, len(given)),
            self._leader.leads,
            *partitions.read_back,
        )

    def _lags(self, topic: str) -> Mapping[int, int]:
        """End offset less applied position, by partition held."""
        lags: dict[int, int] = {}
        for partition, owned in self._reads.held.items():
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

    def update(self, metrics: Metrics) -> None:
        """Bring the gauges up to date, before a scrape."""
        metrics.ready.set(self._reads.ready().ready)
        for topic in (self._ticks_topic, self._heartbeat_topic):
            for partition, lag in self._lags(topic).items():
                metrics.lag.labels(topic, str(partition)).set(lag)
        kinds = Counter(dict.fromkeys(SERIES_KINDS, 0))
        for partition, owned in self._reads.held.items():
            state = owned.engine.state
            metrics.heartbeats_waiting.labels(str(partition)).set(len(owned.engine.waiting))
            for series in state:
                if series.first_tick_us != NEVER_US:
                    kinds[self._kinds.of_state(partition, state, series)] += 1
        for kind, count in kinds.items():
            metrics.series.labels(kind).set(count)
        for partition, owned in self._partitions.owned.items():
            metrics.series_taken.labels(str(partition)).set(owned.engine.gate.fullness)
        metrics.leader.set(self._leader.leads)
        for settings in ("same", "other", "unknown"):
            metrics.workers.labels(settings).set(self._agreement.count(settings))
        self._update_standbys(metrics)
        self._update_leader(metrics)
        self._add("refused", self._reading.refused, metrics.universe_rows_refused)
        status = self._schedule.status
        metrics.schedule_rows.set(status.rows)
        metrics.schedule_rows_refused.set(status.refused)
        self._add("reloads", status.failures, metrics.schedule_reload_failures)
        metrics.schedule_series.set(status.series)
        metrics.schedule_conflicts.set(len(self._provider.index.problems))

    def _update_standbys(self, metrics: Metrics) -> None:
        standbys = self._partitions.standbys
        metrics.standby_partitions.set(len(standbys.held))
        metrics.standby_lag.clear()
        for partition, lag in standbys.lag.items():
            metrics.standby_lag.labels(str(partition)).set(lag)
        self._add("standby rows", standbys.rows, metrics.standby_rows)
        self._add("standby reopened", standbys.reopened, metrics.standby_reopened)

    def _update_leader(self, metrics: Metrics) -> None:
        report = self._leader.report
        # also while it cannot connect: due is what it was before the trouble, and more
        metrics.heartbeats_behind.set(report.behind if self._leader.leads else 0)
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


class HealthLive(ReadView):
    """``GET /health/live``: the process answers."""

    view_name, view_path = "health_live", "/health/live"

    async def get(self, _request: Any) -> Any:
        return self.answer({"live": True})


class HealthReady(ReadView):
    """``GET /health/ready``: 200 when reads are answered, 503 with the reasons until then."""

    view_name, view_path = "health_ready", "/health/ready"

    async def get(self, request: Any) -> Any:
        readiness = request.app[SITE].reads.ready()
        body = {
            "ready": readiness.ready,
            "reasons": list(readiness.reasons),
            "progress": dict(readiness.progress),
        }
        return self.answer(body, 200 if readiness.ready else 503)


class Status(ReadView):
    """``GET /status``: the status line of the page; answered while recovering, too."""

    view_name, view_path = "status", "/status"

    async def get(self, request: Any) -> Any:
        site: Site = request.app[SITE]
        readiness, stats = site.reads.ready(), site.stats()
        return self.answer(
            {
                "now": time_text(site.now_us()),
                "app_id": stats.app_id,
                "ready": readiness.ready,
                "reasons": list(readiness.reasons),
                "progress": dict(readiness.progress),
                "timeframes": [period.timeframe for period in site.reads.periods],
                "leader": stats.leader,
                "partitions": list(stats.partitions),
                "standbys": [
                    {"partition": partition, "rows_behind": behind}
                    for partition, behind in sorted(stats.standbys.items())
                ],
                "lag": stats.lag,
                "ticks": stats.ticks,
                "rejected": dict(stats.rejected),
                "unscheduled": [_named(each) for each in stats.unscheduled],
                "respelled": [
                    {
                        **_named(each.series),
                        "spellings": [_named(each.first), _named(each.other)],
                    }
                    for each in stats.respelled
                ],
                "what_to_do": schedule_command(stats.unscheduled),
                "scheduled_series": stats.scheduled_series,
                "last_heartbeat": time_text(stats.last_heartbeat_us),
                "rules": dict(stats.rules),
                "version": stats.version,
                "other_workers": [_worker(each) for each in stats.others],
            }
        )


def _worker(other: Other) -> dict[str, Any]:
    return {
        "url": other.member.url,
        "client": other.member.client,
        "version": other.version,
        "settings": other.settings,
        "differences": [
            {"setting": each.name, "here": each.here, "there": each.there}
            for each in other.differences
        ],
    }


def _named(series: tuple[str, str]) -> dict[str, str]:
    return {"broker": series[0], "symbol": series[1]}


class MetricsText(ReadView):
    """``GET /metrics``: Prometheus text, or OpenMetrics when asked for."""

    view_name, view_path = "metrics", "/metrics"

    async def get(self, request: Any) -> Any:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(request.app[SITE].metrics.scraped())
        return web.Response(body=body, headers={"Content-Type": content_type})
