"""The plan of a pipeline: derived without a broker, and everything is built from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from barstream.cli import cli
from barstream.config import Settings, load_settings
from barstream.errors import ConfigError
from barstream.kafka.topics import TopicNames, TopicShape, make_plan
from barstream.model.period import DAY, MINUTE, Period
from barstream.pipeline import DEFAULT, Query
from barstream.planner import Plan, make, plan_of


@pytest.fixture(autouse=True)
def _no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(**sections: Any) -> Plan:
    return plan_of(load_settings(env={}, overrides=sections))


def test_entities_of_the_pipeline_that_comes_with_us() -> None:
    plan = planned()

    assert [entity.name for entity in plan.inputs] == ["ticks", "market_schedule", "heartbeats"]
    assert [entity.name for entity in plan.entities] == [
        f"rate_{timeframe}_{kind}"
        for timeframe in ("1m", "5m", "15m", "1h", "1d")
        for kind in ("live", "final")
    ]
    assert plan.periods == (Period.minutes(5), Period.minutes(15), Period.hours(1), DAY)
    assert plan.notes == ()


def test_only_minutes_are_closed_by_heartbeats() -> None:
    """Longer bars rest on them; a heartbeat of their own could close one before its minutes."""
    plan = planned(topics={"heartbeats": "beat"})
    assert {entity.name for entity in plan.entities if entity.sync == "beat"} == {
        "rate_1m_live", "rate_1m_final",
    }  # fmt: skip
    assert {entity.sync for entity in plan.entities} == {"beat", None}


def test_heartbeats_are_sent_where_there_is_a_window_and_they_are_enabled() -> None:
    off = planned(heartbeats={"enabled": False})
    nothing = make(Query(), Settings())

    assert planned().heartbeats
    assert not off.heartbeats
    assert not nothing.heartbeats
    for plan in (off, nothing):
        assert "heartbeats" not in [entity.name for entity in plan.inputs]
        assert {entity.sync for entity in plan.entities} <= {None}
    assert not nothing.entities
    assert not nothing.periods
    assert "no tumbling window" in nothing.notes[0]
    assert "heartbeats are off" in off.notes[0]


def test_live_bars_have_a_topic_where_asked_for_and_are_made_when_read_elsewhere() -> None:
    plan = planned(bars={"live_timeframes": ["15m"]})

    assert plan.topic(MINUTE, "live") == "rate_1m_live"
    assert plan.topic(Period.minutes(15), "live") == "rate_15m_live"
    assert plan.topic(Period.minutes(5), "live") is None
    assert plan.topic(Period.minutes(5), "final") == "rate_5m_final"
    assert plan.live_periods == (Period.minutes(15),)
    with pytest.raises(KeyError):
        plan.topic(Period.hours(4), "final")
    with pytest.raises(KeyError):
        plan.topic(Period.minutes(5, anchor="session"), "final")


def test_what_bars_are_made_of_and_that_days_were_added_is_said() -> None:
    plan = planned(bars={"timeframes": ["4h", "1wk", "1mo"]})

    made_of = {entity.name: entity.made_of for entity in plan.entities if entity.role == "final"}
    assert made_of == {
        "rate_1m_final": "ticks",
        "rate_4h_final": "rate_1m_final",
        "rate_1d_final": "rate_1m_final",
        "rate_1wk_final": "rate_1d_final",
        "rate_1mo_final": "rate_1d_final",
    }
    assert plan.notes == ("1d was added: 1wk 1mo are made of it",)


def test_keys_are_those_of_the_models() -> None:
    keys = {entity.name: entity.key for entity in (*planned().inputs, *planned().entities)}
    assert keys["ticks"] == ("broker", "symbol")
    assert keys["market_schedule"] == ("broker", "symbol", "trading_date", "session")
    assert keys["heartbeats"] == keys["rate_1d_final"] == ("broker", "symbol", "bucket_start")


def test_without_a_schedule_it_runs_24x7() -> None:
    """Of a declaration that joins none, and of settings that say so."""
    free = Query().tumbling(Period.minutes(1), Period.hours(1))
    for plan in (make(free, Settings()), planned(bars={"schedule": False})):
        assert not plan.settings.bars.schedule
        assert "market_schedule" not in [entity.name for entity in plan.inputs]
        assert plan.notes == (
            "there is no market schedule: every series trades 24x7 on the UTC calendar",
        )
    set_in_settings = make(free, load_settings(env={"BARSTREAM_BARS__SCHEDULE": "true"}))
    assert [entity.name for entity in set_in_settings.inputs][1] == "market_schedule"
    with pytest.raises(ConfigError, match="open of sessions"):
        make(free.tumbling(Period.minutes(5, anchor="session")), Settings())


def test_what_is_set_wins_over_what_is_declared_and_that_over_the_defaults() -> None:
    query = DEFAULT.tumbling(Period.hours(4), grace_s=2).into(DEFAULT.target, base="fx")
    declared = make(query, Settings())
    set_too = make(query, load_settings(env={"BARSTREAM_BARS__TIMEFRAMES": "30m"}))

    assert declared.topic(Period.hours(4), "final") == "fx_4h_final"
    assert declared.settings.bars.grace_us == 2_000_000
    assert set_too.periods == (Period.minutes(30),)
    assert set_too.topic(MINUTE, "final") == "fx_1m_final"
    assert make(DEFAULT, Settings()).topic(MINUTE, "final") == "rate_1m_final"


def test_what_is_set_survives_the_completion(tmp_path: Path) -> None:
    certificates = tmp_path / "ca.pem"
    certificates.touch()
    settings = load_settings(
        env={
            "BARSTREAM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "BARSTREAM_KAFKA__SASL_MECHANISM": "PLAIN",
            "BARSTREAM_KAFKA__SASL_USERNAME": "me",
            "BARSTREAM_KAFKA__SASL_PASSWORD": "hunter2",
            "BARSTREAM_KAFKA__SSL_CAFILE": str(certificates),
            "BARSTREAM_HEARTBEATS__FEED_DELAY_S__OANDA": "900",
            # of which price would be refused if it became set on the way
            "BARSTREAM_TICKS__BID": "b",
            "BARSTREAM_TICKS__ASK": "a",
        }
    )
    plan = make(DEFAULT.tumbling(Period.hours(4)), settings)

    assert plan.settings.kafka == settings.kafka
    assert plan.settings.ticks == settings.ticks
    assert plan.settings.heartbeats == settings.heartbeats
    assert plan.settings.sources["kafka.sasl_username"] == settings.sources["kafka.sasl_username"]


def test_the_plan_the_names_and_the_topics_that_are_created_are_one() -> None:
    settings = Settings(
        bars={"timeframes": ["5m", "1wk"], "live_timeframes": ["5m"]},  # type: ignore[arg-type]
        topics={"overrides": {"rate_5m_final": "Five"}, "partitions": 6},  # type: ignore[arg-type]
    )
    plan = plan_of(settings)
    created = {topic.logical: topic for topic in make_plan(settings)}

    assert TopicNames.of(plan.settings) == TopicNames.of(settings)
    for entity in (*plan.inputs, *plan.entities):
        if entity.topic is None:
            continue
        topic = created.pop(entity.name)
        assert (entity.topic, entity.partitions, entity.like) == (
            topic.name, topic.partitions, topic.like,
        )  # fmt: skip
        kept = int(topic.config["retention.ms"])
        assert entity.retention_days == (None if kept < 0 else kept / 86_400_000)
    assert set(created) == {"ticks_rejected", "series_seen", "series"}


def test_a_tick_topic_that_exists_decides_on_partitions() -> None:
    plan = make(DEFAULT, Settings(), {"ticks": TopicShape(12, 3)})
    assert {entity.partitions for entity in plan.entities if entity.topic} == {12}


def printed(*options: str, **env: str) -> Result:
    ran = CliRunner().invoke(cli, ["plan", *options], env=env)
    assert ran.exit_code == 0, ran.output
    return ran


def test_the_command_prints_every_entity_without_a_broker() -> None:
    env = {"BARSTREAM_BOOTSTRAP": "localhost:1", "BARSTREAM_BARS__TIMEFRAMES": "4h,1wk"}
    lines = [json.loads(line) for line in printed("--json", **env).stdout.splitlines()]

    assert [line["entity"] for line in lines][-1] == "rate_1wk_final"
    assert {line["entity"]: line for line in lines}["rate_4h_final"] == {
        "entity": "rate_4h_final",
        "role": "final",
        "model": "Rate",
        "timeframe": "4h",
        "period": "4h",
        "key": ["broker", "symbol", "bucket_start"],
        "topic": "rate_4h_final",
        "partitions": 4,
        "like": "ticks",
        "sync": None,
        "made_of": "rate_1m_final",
        "retention_days": 180.0,
    }
    shown = printed(**env).stdout
    for line in lines:
        assert line["entity"] in shown
    for word in ("hb_1m", "for ever", "broker symbol bucket_start", "1d was added"):
        assert word in shown
    assert all(len(row) < 200 for row in shown.splitlines())


def test_a_narrow_terminal_gets_fewer_columns_and_whole_names() -> None:
    """A table whose cells are broken letter by letter cannot be read, nor a name copied."""
    shown = re.sub(r"\x1b\[[0-9;]*m", "", printed(FORCE_COLOR="1", COLUMNS="100").stdout)

    assert all(len(row.rstrip()) <= 100 for row in shown.splitlines() if "note:" not in row)
    assert "no room for made of and kept and key" in shown
    for name in ("market_schedule", "rate_15m_final", "hb_1m"):
        assert name in shown


def test_a_pipeline_that_cannot_be_used_ends_the_command_with_the_reason() -> None:
    ran = CliRunner().invoke(cli, ["plan"], env={"BARSTREAM_BARS__TIMEFRAMES": "1h,1h@session"})
    assert ran.exit_code == ConfigError.exit_code
    assert "each timeframe once" in ran.stderr
