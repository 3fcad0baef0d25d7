"""The metrics and the page that explains them."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from barstream.metrics import Metrics
from barstream.model.rejection import Reason

from .web_worker import WebWorker

DOC = Path(__file__).parents[2] / "docs" / "metrics.md"


def declared() -> dict[str, tuple[str, ...]]:
    """Name as scraped, and labels, of every metric that is an attribute of `Metrics`."""
    found: dict[str, tuple[str, ...]] = {}
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.describe()
            suffix = "_total" if isinstance(metric, Counter) else ""
            found[family.name + suffix] = tuple(metric._labelnames)
    return found


def documented() -> dict[str, tuple[str, ...]]:
    rows = re.findall(r"^\| `(barstream_\w+)` \| ([^|]*)\|", DOC.read_text(), re.MULTILINE)
    return {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_every_metric_is_documented_with_its_labels_and_nothing_else_is() -> None:
    assert documented() == declared()


def test_workers_in_one_process_do_not_share_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.bars_synthetic.inc(5)
    assert other.registry.get_sample_value("barstream_bars_synthetic_total") == 0


def test_what_an_alert_waits_for_is_shown_at_0_before_it_comes() -> None:
    """Prometheus sees no rise in a counter that was not there before: the first would be missed."""
    metrics = Metrics()
    metrics.show_timeframes("5m")
    metrics.show_path("/bars")
    metrics.show_partition(2)
    value = metrics.registry.get_sample_value
    for reason in Reason:
        assert value("barstream_ticks_rejected_total", {"reason": reason}) == 0
    for result in ("answered", "moved", "refused", "gone", "timed_out"):
        assert value("barstream_routed_reads_total", {"result": result}) == 0
    assert value("barstream_invariant_failures_total", {"timeframe": "5m"}) == 0
    assert value("barstream_http_requests_total", {"path": "/bars", "status": "500"}) == 0
    assert value("barstream_ticks_total", {"partition": "2"}) == 0


def test_a_lost_partition_is_no_longer_shown() -> None:
    metrics = Metrics()
    for partition in (0, 1):
        metrics.lag.labels("ticks", partition).set(7)
        metrics.heartbeats_waiting.labels(partition).set(1)
    metrics.forget_partition(0)
    value = metrics.registry.get_sample_value
    assert value("barstream_lag_records", {"topic": "ticks", "partition": "0"}) is None
    assert value("barstream_heartbeats_waiting", {"partition": "0"}) is None
    assert value("barstream_lag_records", {"topic": "ticks", "partition": "1"}) == 7


def test_paths_that_are_none_are_counted_together(shared_worker: WebWorker) -> None:
    """A label of its own for each would grow without end."""
    for path in ("/nothing", "/" + "x" * 5_000, "/bars/A/B/C"):
        assert shared_worker.get(path)[0] == 404
    found = shared_worker.metrics.http_requests.collect()
    paths = {sample.labels["path"] for metric in found for sample in metric.samples}
    assert "unknown" in paths
    assert not {path for path in paths if "nothing" in path or "xxx" in path or "/A/B" in path}
