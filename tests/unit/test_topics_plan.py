"""The plan of topics: what spec.md 1, 2, 5 and 8 say each of them must be."""

from __future__ import annotations

from typing import Any

import pytest

from barstream.config import Settings
from barstream.errors import ConfigError
from barstream.topics import TopicNames, TopicPlan, TopicShape, make_plan

DAY_MS = 86_400_000


def planned(existing: dict[str, TopicShape] | None = None, **topics: Any) -> dict[str, TopicPlan]:
    settings = Settings(topics=topics)  # type: ignore[arg-type]  # pydantic makes the section
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
