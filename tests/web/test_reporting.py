"""What a worker says of itself, as a scraper reads it."""

from __future__ import annotations

from barstream.codecs.series_seen import UniverseReading
from barstream.core.schedule import MarketScheduleProvider
from barstream.core.state import Rules
from barstream.core.universe import Universe
from barstream.heartbeats.report import HeartbeatReport
from barstream.metrics import Metrics

from .engine_stub import feed, stub_partitions, stub_reporting

DAY = 1440 * 60_000_000


def scraped(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"barstream_{name}", labels)


def test_everything_the_heartbeat_sender_knows_of_itself_can_be_scraped() -> None:
    provider, metrics = MarketScheduleProvider.always_open(), Metrics()
    report = HeartbeatReport(
        early=2, skipped=3, asleep=4, unscheduled=5, unseen=6, fenced=7, holding=True,
        clock_wrong=True, unchecked=True,
    )  # fmt: skip
    reading = UniverseReading(Universe())
    reading.refused = 8
    partitions = stub_partitions(provider, Rules())
    reporting = stub_reporting(
        partitions, provider, reading.universe, metrics, report=report, reading=reading
    )
    reporting.update()
    reporting.update()  # a counter grows by what is new, not once more by all
    assert scraped(metrics, "heartbeats_early_total") == 2
    assert scraped(metrics, "heartbeats_fenced_total") == 7
    assert scraped(metrics, "heartbeats_holding") == 1
    assert scraped(metrics, "clock_wrong") == 1
    assert scraped(metrics, "clock_unchecked") == 1
    assert scraped(metrics, "universe_rows_refused_total") == 8
    assert scraped(metrics, "schedule_reload_failures_total") == 1
    assert {
        why: scraped(metrics, "heartbeats_skipped_series", why=why)
        for why in ("historical", "asleep", "unscheduled", "unseen")
    } == {"historical": 3, "asleep": 4, "unscheduled": 5, "unseen": 6}


def test_series_are_counted_by_how_they_stand() -> None:
    provider, metrics = MarketScheduleProvider.always_open(), Metrics()
    partitions = stub_partitions(provider, Rules(grace_us=0, inactive_after=5))
    feed(partitions.owned[0].engine, "LONG_AGO", [DAY])
    feed(partitions.owned[0].engine, "LOADED", [DAY], late_us=DAY)
    stub_reporting(partitions, provider, Universe(), metrics).update()
    kinds = ("live", "historical", "asleep", "unscheduled")
    assert [scraped(metrics, "series", kind=kind) for kind in kinds] == [0, 1, 1, 0]


def test_lag_is_counted_to_the_newest_end_that_is_known() -> None:
    # a worker that is held back fetches nothing, and hears nothing of the end with it
    provider, metrics = MarketScheduleProvider.always_open(), Metrics()
    partitions = stub_partitions(provider, Rules())
    feed(partitions.owned[0].engine, "X", [DAY, DAY + 1])
    reporting = stub_reporting(partitions, provider, Universe(), metrics, highwater=2)
    reporting.update()
    assert scraped(metrics, "lag_records", topic="ticks", partition="0") == 0
    partitions.ends.note({("ticks", 0): 500})
    reporting.update()
    assert scraped(metrics, "lag_records", topic="ticks", partition="0") == 498
    partitions.ends.note({("ticks", 0): 1})  # as it was a moment before the fetch
    reporting.update()
    assert scraped(metrics, "lag_records", topic="ticks", partition="0") == 0
