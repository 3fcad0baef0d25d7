"""``barstream worker --number``: workers of one machine that share their settings."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from barstream.cli import cli


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("BARSTREAM_WEB__ADVERTISE_URL", "http://bars.example", "web.advertise_url"),
        ("BARSTREAM_KAFKA__GROUP_INSTANCE_ID", "one", "kafka.group_instance_id"),
    ],
)
def test_what_must_be_another_for_each_worker_cannot_be_shared(
    variable: str, value: str, name: str
) -> None:
    """Two members of one static identity push each other out of the group for ever."""
    result = CliRunner().invoke(cli, ["worker", "--number", "2"], env={variable: value})

    assert result.exit_code == 2
    assert f"{name} must be another for each" in result.stderr
