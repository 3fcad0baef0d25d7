"""The plan of topics: what spec.md 1, 2, 5 and 8 say each of them must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from barstream.config import Settings
from barstream.errors import ConfigError
from barstream.kafka.topics import TopicNames, TopicPlan, TopicShape, make_plan
from barstream.model.period import DAY, Period

DAY_MS = 86_400_000


def planned(
    existing: dict[str, TopicShape] | None = None,
    bars: Mapping[str, Any] | None = None,
    **topics: Any,
) -> dict[str, TopicPlan]:
    settings = Settings(topics=topics, bars=bars or {})  # type: ignore[arg-type]  # sections
    return {plan.logical: plan for plan in make_plan(settings, existing)}


def test_the_default_names_are_those_of_the_specification() -> None:
    assert [plan.name for plan in planned().values()] == [
        "ticks",
        "ticks_rejected",
        "market_schedule",
        "series_seen",
        "rate_1m_final",
        "rate_1m_live",
        "hb_1m",
        "barstream-series",
        "rate_5m_final",
        "rate_15m_final",
        "rate_1h_final",
        "rate_1d_final",
    ]


def test_the_broker_stamps_every_topic_we_create() -> None:
    for plan in planned().values():
        assert plan.config["message.timestamp.type"] == "LogAppendTime", plan.name


def test_everything_a_series_is_in_has_the_partitions_of_its_ticks() -> None:
    partitions = {name: plan.partitions for name, plan in planned(partitions=6).items()}
    assert partitions.pop("market_schedule") == 1
    assert partitions.pop("series_seen") == 1
    assert set(partitions.values()) == {6}


def test_an_existing_tick_topic_decides_whatever_the_settings_say() -> None:
    plans = planned({"ticks": TopicShape(12, 3)}, partitions=6)
    for name in ("ticks", "ticks_rejected", "rate_1m_final", "rate_1m_live", "series"):
        assert plans[name].partitions == 12
    assert plans["heartbeats"].partitions == 12


def test_heartbeats_inherit_partitions_and_replication_from_the_final_bars() -> None:
    plans = planned({"rate_1m_final": TopicShape(5, 3)}, partitions=6, replication=1)
    assert (plans["heartbeats"].partitions, plans["heartbeats"].replication) == (5, 3)
    assert plans["heartbeats"].config["min.insync.replicas"] == "2"
    assert plans["rate_1m_live"].replication == 1


def test_tables_are_compacted_and_never_deleted_by_age_or_size() -> None:
    plans = planned()
    for name in ("series", "series_seen", "market_schedule"):
        assert plans[name].config["cleanup.policy"] == "compact"
        assert plans[name].config["retention.ms"] == "-1"
        assert plans[name].config["retention.bytes"] == "-1"


def test_a_restore_reads_a_bounded_tail_that_was_not_compacted() -> None:
    config = planned()["series"].config
    assert int(config["segment.bytes"]) <= 32 << 20
    assert int(config["segment.ms"]) <= DAY_MS
    assert int(config["max.compaction.lag.ms"]) <= DAY_MS
    assert float(config["min.cleanable.dirty.ratio"]) <= 0.2


@pytest.mark.parametrize("name", ["rate_1m_final", "rate_1m_live", "heartbeats"])
def test_bars_and_heartbeats_are_compacted_and_kept_for_the_local_retention(name: str) -> None:
    config = planned(retention_days=2.5)[name].config
    assert config["cleanup.policy"] == "compact,delete"
    assert int(config["retention.ms"]) == 2.5 * DAY_MS
    assert config["retention.bytes"] == "-1"


def test_a_worker_that_was_away_finds_that_a_bar_was_withdrawn() -> None:
    """Its disk has the bar; what it reads are the records since, as long as they are kept."""
    finals = [plan for plan in planned(retention_days=2.5).values() if plan.name.endswith("_final")]
    assert len(finals) > 1
    for plan in finals:
        assert plan.config["delete.retention.ms"] == plan.config["retention.ms"], plan.name


def test_ticks_and_rejected_ticks_are_never_compacted() -> None:
    plans = planned(ticks_retention_days=7, retention_days=3)
    assert plans["ticks"].config["cleanup.policy"] == "delete"
    assert int(plans["ticks"].config["retention.ms"]) == 7 * DAY_MS
    assert plans["ticks_rejected"].config["cleanup.policy"] == "delete"


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_three_copies_need_two_before_an_acknowledgement(replication: int, in_sync: str) -> None:
    for plan in planned(replication=replication).values():
        assert plan.config["min.insync.replicas"] == in_sync


def test_names_follow_app_id_base_and_overrides() -> None:
    settings = Settings(
        app_id="fx",
        topics={"base": "Quote", "overrides": {"rate_1m_live": "Live.Bars", "series": "fx_state"}},  # type: ignore[arg-type]
    )
    names = TopicNames.of(settings)
    assert names.final_1m == "quote_1m_final"
    assert names.live_1m == "Live.Bars"
    assert names.series == "fx_state"
    assert TopicNames.of(Settings(app_id="fx")).series == "fx-series"


def test_an_override_of_a_topic_we_do_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rate_1m_final.*found rate_9m_final"):
        planned(overrides={"rate_9m_final": "x"})


def test_two_topics_with_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="rate_1m_final and rate_1m_live are both 'bars'"):
        planned(overrides={"rate_1m_live": "bars", "rate_1m_final": "bars"})


def test_every_timeframe_in_force_has_a_topic_and_open_bars_one_where_asked_for() -> None:
    """No topic is made for what nobody reads there: open bars can be read from the workers."""
    bars = {"timeframes": ["1wk", "4h"], "live_timeframes": ["4h"]}
    names = TopicNames.of(Settings(bars=bars, topics={"base": "Quote"}))  # type: ignore[arg-type]
    assert names.rollups == {
        Period.hours(4): "quote_4h_final",
        DAY: "quote_1d_final",
        Period.weeks(): "quote_1wk_final",
    }
    assert list(names.rollups) == [Period.hours(4), DAY, Period.weeks()]
    assert names.live_rollups == {Period.hours(4): "quote_4h_live"}
    # a cluster is asked for these: a topic that is not among them is never found
    assert {"rate_4h_final", "rate_4h_live", "rate_1wk_final"} <= names.by_logical().keys()
    plans = planned(bars=bars)
    assert [name for name in plans if name not in planned(bars={"timeframes": []})] == [
        "rate_4h_final",
        "rate_1d_final",
        "rate_1wk_final",
        "rate_4h_live",
    ]


def test_topics_of_a_timeframe_can_be_named_like_any_other() -> None:
    settings = Settings(
        topics={"overrides": {"rate_5m_final": "Bars.5m", "rate_5m_live": "Bars.5m.Live"}},  # type: ignore[arg-type]
        bars={"live_timeframes": ["5m"]},  # type: ignore[arg-type]
    )
    names = TopicNames.of(settings)
    assert names.rollups[Period.minutes(5)] == names.finals(Period.minutes(5)) == "Bars.5m"
    assert names.live_rollups == {Period.minutes(5): "Bars.5m.Live"}
    assert names.finals(Period.minutes(1)) == names.final_1m


@pytest.mark.parametrize("logical", ["rate_4h_final", "rate_5m_live"])
def test_a_name_for_a_topic_of_a_timeframe_that_is_not_made_is_refused(logical: str) -> None:
    with pytest.raises(ConfigError, match=f"found {logical}"):
        planned(overrides={logical: "x"})


def test_a_timeframe_and_another_topic_with_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="rate_1m_final and rate_5m_final are both 'bars'"):
        planned(overrides={"rate_1m_final": "bars", "rate_5m_final": "bars"})


def test_bars_of_every_timeframe_share_the_partitions_of_their_ticks() -> None:
    """A parent is written by the worker that holds its children, in one transaction with them."""
    plans = planned({"ticks": TopicShape(12, 3)}, bars={"live_timeframes": ["5m"]}, partitions=6)
    for name in ("rate_5m_final", "rate_1d_final", "rate_5m_live"):
        assert (plans[name].partitions, plans[name].like) == (12, "ticks")


def test_longer_bars_are_kept_longer_and_as_the_settings_say() -> None:
    bars = {"timeframes": ["5m", "15m", "1h", "1mo"], "live_timeframes": ["1mo"]}
    plans = planned(
        bars=bars, retention_days=10, timeframe_retention_days={"15m": 400, "1mo": 3000.5}
    )
    days = {
        name: int(plan.config["retention.ms"]) / DAY_MS
        for name, plan in plans.items()
        if name.startswith("rate_")
    }
    assert days == {
        "rate_1m_final": 10,
        "rate_1m_live": 10,
        "rate_5m_final": 10,
        "rate_15m_final": 400,
        "rate_1h_final": 60,
        "rate_1d_final": 3650,
        "rate_1mo_final": 3000.5,
        "rate_1mo_live": 3000.5,
    }
    for name in days:
        assert plans[name].config["cleanup.policy"] == "compact,delete"


def test_ten_years_of_one_bar_a_day_are_no_thousands_of_files() -> None:
    for plan in planned().values():
        if plan.name.endswith("_final"):
            segments = int(plan.config["retention.ms"]) / int(plan.config["segment.ms"])
            assert segments <= 200, plan.name
