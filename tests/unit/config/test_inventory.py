"""Settings can be printed anywhere: no secret is in what is shown."""

from __future__ import annotations

import json

from barstream.config import Settings, load_settings
from barstream.config.inventory import rows
from barstream.config.mask import MASK, shown

SECRET = "hunter2"


def with_secrets() -> Settings:
    return load_settings(
        env={
            "BARSTREAM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "BARSTREAM_KAFKA__SASL_MECHANISM": "PLAIN",
            "BARSTREAM_KAFKA__SASL_USERNAME": "me",
            "BARSTREAM_KAFKA__SASL_PASSWORD": SECRET,
            "BARSTREAM_TICKS__REGISTRY_URL": f"https://me:{SECRET}@registry:8081/",
        }
    )


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    settings = with_secrets()
    listed = {row.name: row.value for row in rows(settings)}

    assert listed["kafka.sasl_password"] == MASK
    assert listed["ticks.registry_url"] == f"https://me:{MASK}@registry:8081"
    assert SECRET not in json.dumps(listed)
    assert SECRET not in repr(settings.kafka)
    assert settings.kafka.sasl_password is not None
    assert settings.kafka.sasl_password.get_secret_value() == SECRET


def test_repr_of_the_settings_hides_the_password_inside_a_url() -> None:
    """Settings end up in tracebacks and logs."""
    assert SECRET not in repr(with_secrets())


def test_every_setting_is_listed_once_and_as_json() -> None:
    names = [row.name for row in rows(Settings())]

    assert len(set(names)) == len(names)
    assert {"app_id", "web.port", "bars.grace_s", "heartbeats.feed_delay_s"} <= set(names)
    json.dumps([row._asdict() for row in rows(Settings())])


def test_values_read_as_in_the_file() -> None:
    assert [shown(v) for v in (None, True, 5, "x")] == ["none", "true", "5", "'x'"]
