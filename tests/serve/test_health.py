"""What a worker says of itself, as a scraper reads it."""

from __future__ import annotations

from aiokafka import TopicPartition

from barstream.codecs.ticks.series_names import Respelled
from barstream.codecs.topics.series_seen import UniverseReading
from barstream.heartbeat.report import HeartbeatReport
from barstream.kafka.consumer_group import Declaration, Member
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import Universe
from barstream.metrics import Metrics
from barstream.model.key import FOLDED
from barstream.rules.series import Rules
from barstream.runtime.agreement import Agreement
from barstream.runtime.restore_progress import RestoreProgress, TableProgress
from barstream.runtime.spellings import Spellings

from .engine_stub import StubStandbys, feed, stub_partitions, stub_reads, stub_reporting

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
    reporting.update(metrics)
    reporting.update(metrics)  # a counter grows by what is new, not once more by all
    assert scraped(metrics, "heartbeats_early_total") == 2
    assert scraped(metrics, "heartbeats_fenced_total") == 7
    assert scraped(metrics, "heartbeats_holding") == 1
    assert scraped(metrics, "clock_wrong") == 1
    assert scraped(metrics, "clock_unchecked") == 1
    assert scraped(metrics, "universe_rows_refused_total") == 8
    assert scraped(metrics, "schedule_reload_failures_total") == 1
    assert scraped(metrics, "schedule_rows_refused") == 9
    assert {
        why: scraped(metrics, "heartbeats_skipped_series", why=why)
        for why in ("historical", "asleep", "unscheduled", "unseen")
    } == {"historical": 3, "asleep": 4, "unscheduled": 5, "unseen": 6}


def test_a_leader_that_cannot_send_is_behind_by_all_that_is_due() -> None:
    """Not only by what a later round of a catch-up would take: else it never alerts."""
    provider, metrics = MarketScheduleProvider.always_open(), Metrics()
    report = HeartbeatReport(planned=3, remaining=4)
    partitions = stub_partitions(provider, Rules())
    stub_reporting(partitions, provider, Universe(), metrics, report=report).update(metrics)
    assert scraped(metrics, "heartbeats_behind_minutes") == 0, "it does not lead"
    reporting = stub_reporting(partitions, provider, Universe(), metrics, report=report, leads=True)
    reporting.update(metrics)
    assert scraped(metrics, "heartbeats_behind_minutes") == 7
    report.sent(DAY, 3, 0)
    reporting.update(metrics)
    assert scraped(metrics, "heartbeats_behind_minutes") == 4


def test_series_are_counted_by_how_they_stand() -> None:
    provider, metrics = MarketScheduleProvider.always_open(), Metrics()
    partitions = stub_partitions(provider, Rules(grace_us=0, inactive_after=5))
    feed(partitions.owned[0].engine, "LONG_AGO", [DAY])
    feed(partitions.owned[0].engine, "LOADED", [DAY], late_us=DAY)
    stub_reporting(partitions, provider, Universe(), metrics).update(metrics)
    kinds = ("live", "historical", "asleep", "unscheduled")
    assert [scraped(metrics, "series", kind=kind) for kind in kinds] == [0, 1, 1, 0]


def test_lag_is_counted_to_the_newest_end_that_is_known() -> None:
    # a worker that is held back fetches nothing, and hears nothing of the end with it
    provider, metrics = MarketScheduleProvider.always_open(), Metrics()
    partitions = stub_partitions(provider, Rules())
    feed(partitions.owned[0].engine, "X", [DAY, DAY + 1])
    reporting = stub_reporting(partitions, provider, Universe(), metrics, highwater=2)
    reporting.update(metrics)
    assert scraped(metrics, "lag_records", topic="ticks", partition="0") == 0
    partitions.monitor.note({("ticks", 0): 500})
    reporting.update(metrics)
    assert scraped(metrics, "lag_records", topic="ticks", partition="0") == 498
    partitions.monitor.note({("ticks", 0): 1})  # as it was a moment before the fetch
    reporting.update(metrics)
    assert scraped(metrics, "lag_records", topic="ticks", partition="0") == 0


def test_a_restore_shows_how_far_it_has_come_and_what_is_left() -> None:
    now_s = [100.0]
    partitions = stub_partitions(MarketScheduleProvider.always_open(), Rules())
    partitions.progress = progress = RestoreProgress(lambda: now_s[0])
    reads = stub_reads(partitions, MarketScheduleProvider.always_open())
    assert reads.ready().reasons[-1] == "the transaction coordinator of Kafka is awaited"
    progress.fenced = True
    shown = reads.ready().progress
    assert shown["percent"] is None, "the ends are not known yet"
    assert reads.ready().reasons[-1] == "tables are being restored from their changelogs"
    finals, series = TopicPartition("finals", 0), TopicPartition("series", 0)
    progress.tables[finals] = TableProgress(start=1000, end=2000, position=1400, rows=390)
    progress.tables[series] = TableProgress(start=50, end=50, position=50)
    now_s[0] += 8.0
    shown = reads.ready().progress
    assert not reads.ready().ready
    assert (shown["rows_read"], shown["rows_remaining"]) == (390, 600)
    assert (shown["percent"], shown["seconds"], shown["seconds_left"]) == (40.0, 8.0, 12.0)
    assert [table["topic"] for table in shown["tables"]] == ["finals"]


def test_two_spellings_of_a_series_are_in_the_status() -> None:
    provider = MarketScheduleProvider.always_open()
    spellings = Spellings(FOLDED, lambda: provider.index, Metrics())
    reporting = stub_reporting(
        stub_partitions(provider, Rules()), provider, Universe(), spellings=spellings
    )
    assert reporting.stats().respelled == []
    found = Respelled(("X", "BCPC"), ("x", "BCPC"), ("x", "BCpC"))
    spellings.folded([found])
    assert reporting.stats().respelled == [found]


def test_workers_with_other_settings_are_in_the_status_and_the_metrics() -> None:
    provider, metrics = MarketScheduleProvider.always_open(), Metrics()
    agreement = Agreement("b-here-1", Declaration("1.0", {"bars.grace_s": "5.0"}))
    reporting = stub_reporting(
        stub_partitions(provider, Rules()), provider, Universe(), metrics, agreement=agreement
    )
    reporting.update(metrics)
    assert scraped(metrics, "workers", settings="other") == 0
    other = Member("b-there-2", "/10.0.0.2", None, Declaration("1.1", {"bars.grace_s": "7.0"}))
    agreement.look([other, Member("b-old-3", "/10.0.0.3")])
    reporting.update(metrics)
    assert reporting.stats().version == "1.0"
    assert [each.settings for each in reporting.stats().others] == ["unknown", "other"]
    assert scraped(metrics, "workers", settings="other") == 1
    assert scraped(metrics, "workers", settings="unknown") == 1
    assert scraped(metrics, "workers", settings="same") == 0


def test_standbys_and_what_they_lack_can_be_scraped_while_they_are_held() -> None:
    provider, metrics = MarketScheduleProvider.always_open(), Metrics()
    partitions = stub_partitions(provider, Rules())
    reporting = stub_reporting(partitions, provider, Universe(), metrics)
    partitions.standbys = StubStandbys({2: 5, 3: 0}, rows=70, reopened=1)
    reporting.update(metrics)
    assert scraped(metrics, "standby_partitions") == 2
    assert scraped(metrics, "standby_lag_rows", partition="2") == 5
    assert scraped(metrics, "standby_rows_total") == 70
    assert scraped(metrics, "standby_reopened_total") == 1
    assert reporting.stats().standbys == {2: 5, 3: 0}
    partitions.standbys = StubStandbys(rows=70, reopened=1)
    reporting.update(metrics)
    assert scraped(metrics, "standby_lag_rows", partition="2") is None
