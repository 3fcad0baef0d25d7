"""What cannot be meant is refused at start, all of it in one message that says where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barstream.config import load_settings
from barstream.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(env: dict[str, str] | None = None, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(env=env or {}, overrides=overrides)
    return str(caught.value)


def test_unknown_keys_and_variables_are_refused_with_the_nearest_names(tmp_path: Path) -> None:
    """A mistyped setting that is ignored is the default in force, and nobody knows."""
    file = tmp_path / "mine.toml"
    file.write_text("botstrap = 'k:1'\n[topics]\npartitons = 8\n[tick]\nformat = 'json'\n")

    with pytest.raises(ConfigError) as caught:
        load_settings(file, env={"BARSTREAM_BOTSTRAP": "k:1", "BARSTREAM_WEBPORT": "1"})

    message = str(caught.value)
    assert f"unknown key botstrap in {file}: did you mean bootstrap?" in message
    assert "unknown key topics.partitons" in message
    assert "did you mean topics.partitions?" in message
    assert "unknown key tick" in message
    assert "unknown variable BARSTREAM_BOTSTRAP: did you mean BARSTREAM_BOOTSTRAP?" in message
    assert "unknown variable BARSTREAM_WEBPORT" in message


def test_every_problem_is_listed_with_its_place() -> None:
    message = refusal(
        {"BARSTREAM_TOPICS__PARTITIONS": "0", "BARSTREAM_BARS__GRACE_S": "soon"}, app_id="a b"
    )

    assert "topics.partitions = '0', from environment BARSTREAM_TOPICS__PARTITIONS" in message
    assert "bars.grace_s = 'soon', from environment BARSTREAM_BARS__GRACE_S" in message
    assert "app_id = 'a b', from command line" in message


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("heartbeats", "backfill_minutes", -1),
        ("heartbeats", "backfill_minutes", 3),
        ("heartbeats", "feed_delay_s", {"OANDA": -1}),
        ("heartbeats", "feed_delay_s", {" ": 1}),
        ("heartbeats", "max_catch_up", 0),
        ("bars", "grace_s", -0.1),
        ("bars", "grace_s", float("nan")),
        ("bars", "inactive_after", 0),
        ("bars", "late_policy", "drop"),
        ("bars", "live_interval_ms", 0),
        ("bars", "anchor", "exchange"),
        ("bars", "timeframes", ["5M"]),
        ("bars", "timeframes", ["7m"]),
        ("bars", "timeframes", [5]),
        ("bars", "timeframes", ["5m", ""]),
        ("bars", "live_timeframes", ["hour"]),
        ("topics", "timeframe_retention_days", {"1h": 0}),
        ("topics", "timeframe_retention_days", {"1m": 9}),
        ("topics", "timeframe_retention_days", {"5M": 9}),
        ("topics", "ticks", "no spaces"),
        ("topics", "ticks", ".."),
        ("topics", "overrides", {"rate_1m_final": "a/b"}),
        ("topics", "overrides", 3),
        ("topics", "retention_days", 0),
        ("topics", "replication", 0),
        ("ticks", "format", "csv"),
        ("ticks", "price_scale", -1),
        ("ticks", "registry_url", "registry:8081"),
        ("ticks", "schema_file", "/no/such/file.avsc"),
        ("web", "port", 0),
        ("web", "port", 65_536),
        ("web", "port", True),
        ("web", "host", ""),
        ("kafka", "security_protocol", "TLS"),
        ("kafka", "session_timeout_s", 41),
    ],
)
def test_values_out_of_range_are_refused(section: str, key: str, value: Any) -> None:
    assert section in refusal(**{section: {key: value}})


@pytest.mark.parametrize(
    "bootstrap", ["", "localhost", "kafka://k:9092", "k:0", "k:70000", "a:1,,b:2", "a:1;b:2"]
)
def test_bootstrap_must_be_addresses(bootstrap: str) -> None:
    assert "host:port" in refusal(bootstrap=bootstrap)


def test_bootstrap_takes_several_addresses_and_ipv6() -> None:
    settings = load_settings(env={"BARSTREAM_BOOTSTRAP": "a:1, [::1]:9092"})

    assert settings.bootstrap == "a:1,[::1]:9092"


@pytest.mark.parametrize(
    ("kafka", "needed"),
    [
        ({"security_protocol": "SASL_SSL"}, "sasl_mechanism, sasl_username, sasl_password"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "sasl_username"),
        ({"sasl_password": "hunter2"}, "sasl_password would not be used"),
        ({"ssl_cafile": __file__}, "would not be used"),
        ({"security_protocol": "SSL", "ssl_certfile": __file__}, "go together"),
    ],
)
def test_half_configured_security_is_refused(kafka: dict[str, str], needed: str) -> None:
    """Credentials that are silently not used are worse than none."""
    assert needed in refusal(kafka=kafka)


@pytest.mark.parametrize(
    ("ticks", "needed"),
    [
        ({"bid": "b"}, "bid needs ask"),
        ({"ask": "a"}, "ask needs bid"),
        ({"bid": "b", "ask": "a", "price": "p"}, "only one"),
        ({"broker": "venue", "broker_constant": "FXCM"}, "not both"),
        ({"format": "json", "registry_url": "http://r:8081"}, "would not be used"),
    ],
)
def test_a_tick_mapping_with_two_meanings_is_refused(ticks: dict[str, str], needed: str) -> None:
    assert needed in refusal(ticks=ticks)


def test_two_topics_of_one_name_are_refused() -> None:
    assert "both name the topic 'x'" in refusal(topics={"ticks": "x", "ticks_rejected": "x"})


def test_one_setting_by_two_variables_is_refused() -> None:
    message = refusal({"BARSTREAM_WEB_PORT": "7000", "BARSTREAM_WEB__PORT": "7001"})

    assert "web.port is set twice" in message


def test_a_refused_secret_is_not_repeated() -> None:
    secret = "hunter2"
    message = refusal(
        kafka={"sasl_password": [secret], "security_protocol": "SASL_SSL"},
        ticks={"registry_url": f"ftp://user:{secret}@registry"},
    )

    assert "sasl_password" in message
    assert "registry_url" in message
    assert secret not in message
