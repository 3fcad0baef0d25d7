"""What the engine did, counted: for the metrics and for the status line."""

from __future__ import annotations

from collections import Counter

from barstream.engine.partition import Counts
from barstream.metrics import Metrics


class Tally:
    """Totals since the worker started.

    Attributes:
        accepted: ticks that entered a bar.
        rejected: ticks that did not, by reason.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self._metrics = metrics

    def count(self, partition: int, counts: Counts) -> None:
        """Add what a partition did since it was counted last."""
        metrics = self._metrics
        self.accepted += counts.accepted
        metrics.ticks.labels(str(partition)).inc(counts.accepted)
        metrics.bars_final.labels("watermark").inc(counts.watermark_finals)
        metrics.bars_final.labels("heartbeat").inc(counts.heartbeat_finals)
        metrics.bars_synthetic.inc(counts.synthetic)
        metrics.unpriced_minutes.inc(counts.unpriced_minutes)
        metrics.heartbeats_illegal.inc(counts.early_heartbeats)
        for reason, count in counts.rejected.items():
            self.rejected[reason.value] += count
            metrics.ticks_rejected.labels(reason.value).inc(count)

    def flushed(self, rows: int, live: int, seconds: float) -> None:
        """A flush was committed."""
        self._metrics.flush_seconds.observe(seconds)
        self._metrics.flush_rows.inc(rows)
        self._metrics.bars_live.inc(live)

    def fenced(self) -> None:
        """A write was refused because another worker took over."""
        self._metrics.fenced.inc()
