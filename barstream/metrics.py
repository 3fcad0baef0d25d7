"""Every number an operator can see; what each means and what to do is in ``docs/metrics.md``.

One `Metrics` per worker, on its own registry, so that tests and several workers in a process
do not share numbers.  An attribute is the name of its metric without ``barstream_`` and unit
suffixes; labelled metrics are bound once by callers, off the hot path.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from barstream.model.rejection import Reason

_FLUSH_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_HTTP_SECONDS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0)


class Metrics:
    """The metrics of one worker.

    ``before_scrape`` callbacks run before each scrape: numbers that can be looked up then
    (lag, series by kind, heartbeats waiting) need not be kept up to date all the time.
    """

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.before_scrape: list[Callable[[], None]] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._worker()
        self._ticks_and_bars()
        self._heartbeats()
        self._engine()
        self._http()

    def _worker(self) -> None:
        self.build = self._gauge("build_info", "1, with the version running.", "version")
        self.build.labels(running_version()).set(1)
        self.ready = self._gauge("ready", "1 when this worker answers reads.")
        self.partitions = self._gauge("partitions", "Tick partitions this worker holds.")
        self.workers = self._gauge(
            "workers", "Other workers of the group, by how their settings are to those here.",
            "settings",
        )  # fmt: skip
        _show(self.workers, "same", "other", "unknown")
        self.rebalances = self._counter("rebalances", "Assignments received.")
        self.fenced = self._counter("fenced", "Writes refused since another worker took over.")
        self.lost_tails = self._counter(
            "lost_tails",
            "Times that others stood where records of this topic were read: Kafka lost its tail.",
            "topic",
        )
        self.last_failure = self._gauge(
            "last_failure_timestamp_seconds",
            "When this worker's process ended by itself last, since its last orderly stop.",
            "reason",
        )
        self.restore_rows = self._counter("restore_rows", "Rows read back from changelogs.")
        self.restore_remaining = self._gauge(
            "restore_remaining_rows", "Changelog rows still to be read before reads are answered."
        )

        self.restore_seconds = self._gauge(
            "restore_seconds", "How long the last restore took, fencing included."
        )
        self.standby_partitions = self._gauge(
            "standby_partitions", "Partitions of which this worker keeps a warm copy."
        )
        self.standby_lag = self._gauge(
            "standby_lag_rows", "Changelog rows a copy lacks.", "partition"
        )
        self.standby_rows = self._counter("standby_rows", "Changelog rows copied as a standby.")
        self.standby_reopened = self._counter(
            "standby_reopened", "Times the changelogs had to be followed anew."
        )

    def _ticks_and_bars(self) -> None:
        self.ticks = self._counter("ticks", "Ticks accepted into bars.", "partition")
        self.ticks_rejected = self._counter("ticks_rejected", "Ticks rejected.", "reason")
        _show(self.ticks_rejected, *Reason)
        self.bars_final = self._counter("bars_final", "Final bars written.", "cause")
        _show(self.bars_final, "watermark", "heartbeat")
        self.bars_synthetic = self._counter("bars_synthetic", "Finals of minutes without a tick.")
        self.bars_revised = self._counter(
            "bars_revised", "Finals of minutes changed or added by late ticks."
        )
        self.rollups_final = self._counter(
            "rollups_final", "Bars of longer periods written, revisions included.", "timeframe"
        )
        self.invariant_checks = self._counter(
            "invariant_checks", "Bars of longer periods compared with a fold of their children."
        )
        self.invariant_failures = self._counter(
            "invariant_failures", "Those that were not that fold.", "timeframe"
        )
        self.rules_changes = self._counter(
            "rules_changes", "Partitions taken over that were judged by other settings before."
        )
        self.bars_live = self._counter("bars_live", "Updates of open bars written.")
        self.unpriced_minutes = self._counter(
            "unpriced_minutes", "In-session minutes without a bar: no price before them."
        )
        self.series = self._gauge("series", "Series this worker holds.", "kind")
        self.series_taken = self._gauge(
            "series_taken_ratio",
            "Series of a partition, of bars.max_series; 1: full.",
            "partition",
        )
        self.series_respelled = self._counter(
            "series_respelled", "Series whose ticks came in two spellings, folded into one."
        )
        self.event_delay = self._gauge(
            "event_delay_seconds", "Append time less event time of recent ticks.", "broker"
        )

    def _heartbeats(self) -> None:
        self.leader = self._gauge("leader", "1 on the worker that sends heartbeats.")
        self.heartbeats_sent = self._counter("heartbeats_sent", "Heartbeats acknowledged.")
        self.heartbeats_behind = self._gauge(
            "heartbeats_behind_minutes", "Minutes due that the leader has not sent yet."
        )
        self.heartbeat_failures = self._counter("heartbeat_failures", "Sendings that failed.")
        self.last_heartbeat = self._gauge(
            "last_heartbeat_timestamp_seconds", "When the last heartbeat was acknowledged."
        )
        self.clock_offset = self._gauge(
            "clock_offset_seconds", "This worker's clock less the broker's append time."
        )
        self.clock_wrong = self._gauge(
            "clock_wrong", "1 while heartbeats are held back because the clock is off."
        )
        self.clock_unchecked = self._gauge(
            "clock_unchecked", "1 when the heartbeat topic has no append times to compare with."
        )
        self.heartbeats_early = self._counter(
            "heartbeats_early", "Sent before their minute was over by the broker's clock."
        )
        self.heartbeats_fenced = self._counter(
            "heartbeats_fenced", "Times a leader was deposed by the broker."
        )
        self.heartbeats_holding = self._gauge(
            "heartbeats_holding", "1 while catching up waits after an outage."
        )
        self.heartbeats_skipped = self._gauge(
            "heartbeats_skipped_series", "Series of the last plan without heartbeats.", "why"
        )
        self.universe_rows_refused = self._counter(
            "universe_rows_refused", "Records of the series topic that are none."
        )
        self.heartbeats_waiting = self._gauge(
            "heartbeats_waiting", "Heartbeats whose barrier is not reached yet.", "partition"
        )
        self.heartbeats_illegal = self._counter(
            "heartbeats_illegal", "Heartbeats from before their minute was over."
        )
        self.heartbeats_undecodable = self._counter(
            "heartbeats_undecodable", "Records of the heartbeat topic that are none."
        )

    def _engine(self) -> None:
        self.lag = self._gauge("lag_records", "End offset less position.", "topic", "partition")
        self.flush_seconds = self._histogram("flush_seconds", "One flush.", _FLUSH_SECONDS)
        self.flush_rows = self._counter("flush_rows", "Rows written by flushes.")
        self.schedule_rows = self._gauge("schedule_rows", "Sessions loaded.")
        self.schedule_series = self._gauge("schedule_series", "Series that have sessions.")
        self.schedule_conflicts = self._gauge(
            "schedule_conflicts", "Series whose newer rows are refused, as they conflict."
        )
        self.schedule_rows_refused = self._gauge(
            "schedule_rows_refused", "Records of the schedule topic that are no session."
        )
        self.schedule_reload_failures = self._counter(
            "schedule_reload_failures", "Reloads that failed; the rows before stay in force."
        )

    def _http(self) -> None:
        self.http_requests = self._counter("http_requests", "Requests answered.", "path", "status")
        self.http_request_seconds = self._histogram(
            "http_request_seconds", "Time to answer a request.", _HTTP_SECONDS, "path"
        )
        self.http_connections = self._gauge("http_connections", "Connections of clients held.")
        self.http_connections_closed = self._counter(
            "http_connections_closed", "Connections closed or refused by this worker.", "why"
        )
        _show(self.http_connections_closed, "refused", "idle", "slow", "kept")
        self.http_rows = self._gauge("http_rows", "Rows being read for requests.")
        self.http_reads_refused = self._counter(
            "http_reads_refused", "Requests refused because too much was being read.", "why"
        )
        _show(self.http_reads_refused, "waiting", "late")
        self.http_clients_dropped = self._counter(
            "http_clients_dropped", "Connections closed because their client did not read."
        )
        self.routed_reads = self._counter(
            "routed_reads", "Requests passed on to the worker that holds a series.", "result"
        )
        _show(self.routed_reads, "answered", "moved", "refused", "gone", "timed_out")
        self.routed_read_seconds = self._histogram(
            "routed_read_seconds", "Time until that worker had answered.", _HTTP_SECONDS
        )

    def show_timeframes(self, *timeframes: str) -> None:
        """Show the counters of these upper bars, at 0."""
        _show(self.invariant_failures, *timeframes)
        _show(self.rollups_final, *timeframes)

    def show_path(self, path: str) -> None:
        """Show the errors of a path of the web views, at 0."""
        for status in ("500", "503"):
            self.http_requests.labels(path, status)

    def show_partition(self, partition: int) -> None:
        """Show the ticks of a partition that was taken over, at 0 or at what they were."""
        self.ticks.labels(str(partition))

    def forget_partition(self, partition: int) -> None:
        """Drop what is shown of a partition this worker lost; its counters stand."""
        self.heartbeats_waiting.remove_by_labels({"partition": str(partition)})
        self.series_taken.remove_by_labels({"partition": str(partition)})
        self.lag.remove_by_labels({"partition": str(partition)})

    def scraped(self) -> CollectorRegistry:
        """The registry, brought up to date by ``before_scrape``."""
        for callback in self.before_scrape:
            callback()
        return self.registry

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, namespace="barstream", registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, namespace="barstream", registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            name, meaning, labels, namespace="barstream", registry=self.registry, buckets=buckets
        )


def _show(metric: Any, *values: str) -> None:
    """Show label values at 0: Prometheus sees no rise in a counter that was not there before."""
    for value in values:
        metric.labels(value)


def running_version() -> str:
    """Of barstream, as it was installed."""
    try:
        return version("barstream")
    except PackageNotFoundError:
        return "unknown"
