"""What the engine did, counted: for the metrics and for the status line."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from barstream.metrics import Metrics
from barstream.model.time import SECOND_US
from barstream.partition.counts import Counts
from barstream.rules.late_share import LatenessJudge, TooLate
from barstream.rules.series import Rules

log = logging.getLogger(__name__)


class Tally:
    """Totals since the worker started.

    Args:
        metrics: numbers of this worker.
        rules: the grace and the feed delays that late ticks are told with.
        clock: seconds that do not go back.

    Attributes:
        accepted: ticks that entered a bar.
        rejected: ticks that did not, by reason.
    """

    def __init__(
        self,
        metrics: Metrics,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self._metrics = metrics
        self._rules = rules or Rules()
        self._clock = clock
        self._lateness = LatenessJudge()

    def count(self, partition: int, counts: Counts) -> None:
        """Add what a partition did since it was counted last."""
        metrics = self._metrics
        self.accepted += counts.accepted
        metrics.ticks.labels(str(partition)).inc(counts.accepted)
        metrics.bars_final.labels("watermark").inc(counts.watermark_finals)
        metrics.bars_final.labels("heartbeat").inc(counts.heartbeat_finals)
        metrics.bars_synthetic.inc(counts.synthetic)
        metrics.bars_revised.inc(counts.revised)
        for period, count in counts.rollups.items():
            metrics.rollups_final.labels(period.timeframe).inc(count)
        metrics.unpriced_minutes.inc(counts.unpriced_minutes)
        metrics.heartbeats_illegal.inc(counts.early_heartbeats)
        for reason, count in counts.rejected.items():
            self.rejected[reason.value] += count
            metrics.ticks_rejected.labels(reason.value).inc(count)
        self._lateness.add(counts.arrivals)
        for found in self._lateness.judge(self._clock()):
            self._tell(found)

    def _tell(self, found: TooLate) -> None:
        delay_us = found.arrivals.delay_us
        log.warning(
            "ticks come too late for their bars: out of order, raise bars.grace_s; reaching Kafka "
            "late, raise heartbeats.feed_delay_s of the broker; broker=%s late=%d of=%d "
            "share=%.1f%% longest_delay_s=%s grace_s=%g feed_delay_s=%g",
            found.broker,
            found.arrivals.late,
            found.arrivals.ticks,
            100 * found.share,
            "unknown" if delay_us is None else f"{delay_us / SECOND_US:.3f}",
            self._rules.grace_us / SECOND_US,
            self._rules.feed_delay_us.get(found.broker, 0) / SECOND_US,
        )

    def flushed(self, rows: int, live: int, seconds: float) -> None:
        """A flush was committed."""
        self._metrics.flush_seconds.observe(seconds)
        self._metrics.flush_rows.inc(rows)
        self._metrics.bars_live.inc(live)

    def fenced(self) -> None:
        """A write was refused because another worker took over."""
        self._metrics.fenced.inc()
