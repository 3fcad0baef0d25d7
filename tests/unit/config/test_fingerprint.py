"""The settings that workers must have alike: all that say what is written, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from barstream.config import Settings, load_settings
from barstream.config.fingerprint import fingerprint

#: Of a worker alone: where it stands, whom it talks to, how much it may take.
OF_ITS_OWN = {
    "app_id", "bootstrap", "data_dir", "pipeline",
    "topics.partitions", "topics.replication", "topics.ticks_retention_days",
    "ticks.registry_url", "recovery.settle_within_s", "storage.block_cache_mb",
    "storage.write_buffer_mb",
}  # fmt: skip


def of(**env: str) -> dict[str, str]:
    return fingerprint(load_settings(env={f"BARSTREAM_{name}": env[name] for name in env}))


def test_every_setting_is_compared_or_is_known_to_be_a_workers_own() -> None:
    """Whoever adds one decides: it is compared by itself, unless it is named here and there."""
    every = {
        f"{section}.{key}"
        for section, value in Settings()
        for key in getattr(type(value), "model_fields", ())
    }
    own = {name for name in every if name.startswith(("web.", "kafka."))} | OF_ITS_OWN
    assert set(of()) == every - own
    assert OF_ITS_OWN - every == {"app_id", "bootstrap", "data_dir", "pipeline"}


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("BARS__GRACE_S", "7", "bars.grace_s"),
        ("BARS__LATE_POLICY", "revise", "bars.late_policy"),
        ("BARS__TIMEFRAMES", "5m,4h", "bars.timeframes"),
        ("BARS__SCHEDULE", "false", "bars.schedule"),
        ("TICKS__FOLD_CASE", "false", "ticks.fold_case"),
        ("TICKS__SIZE", "qty", "ticks.size"),
        ("TOPICS__BASE", "bar", "topics.base"),
        ("TOPICS__RETENTION_DAYS", "31", "topics.retention_days"),
        ("HEARTBEATS__FEED_DELAY_S", '{"FX": 900}', "heartbeats.feed_delay_s"),
        ("RECOVERY__STANDBY_REPLICAS", "1", "recovery.standby_replicas"),
    ],
)
def test_another_value_is_told_and_nothing_else(name: str, value: str, setting: str) -> None:
    before, now = of(), of(**{name: value})
    assert {each for each in now if now[each] != before[each]} == {setting}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEB_PORT", "6067"),
        ("WEB__TOKEN", "a-secret-of-sixteen"),
        ("DATA_DIR", "elsewhere"),
        ("KAFKA__GROUP_INSTANCE_ID", "w1"),
        ("BOOTSTRAP", "k2:9092"),
        ("TICKS__REGISTRY_URL", "http://user:secret@registry:8081"),
    ],
)
def test_what_is_a_workers_own_is_not_told(name: str, value: str) -> None:
    found = of(**{name: value})
    assert found == of()
    assert "secret" not in str(found)


def test_timeframes_in_another_order_are_the_same() -> None:
    assert of(BARS__TIMEFRAMES="5m,1h") == of(BARS__TIMEFRAMES="1h,5m")


def test_a_schema_is_told_by_what_it_says_and_a_long_value_by_a_digest(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one.avsc", "same.avsc", "other.avsc"))
    one.write_text('{"a": 1}')
    same.write_text('{"a": 1}')
    other.write_text('{"a": 2}')
    first, second, third = (of(TICKS__SCHEMA_FILE=str(path)) for path in (one, same, other))
    assert first == second != third
    delays = ", ".join(f'"broker{n}": {n}' for n in range(1, 50))
    long = of(HEARTBEATS__FEED_DELAY_S=f"{{{delays}}}")["heartbeats.feed_delay_s"]
    assert long.startswith("digest ")
    assert sum(map(len, (*of(), *of().values()))) < 2_500, "each worker is told those of all"
