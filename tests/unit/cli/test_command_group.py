"""The command line answers at once, and one broken command does not take the others down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from barstream.cli import COMMANDS, SUMMARIES, cli, main
from barstream.cli.command_group import LazyGroup
from barstream.errors import BarstreamError

HEAVY = ("aiokafka", "faust", "numpy", "polars", "pyarrow", "pydantic", "rich")


def test_help_imports_nothing_heavy() -> None:
    """Completion and ``--help`` run on every keystroke of somebody who is looking for a command."""
    program = (
        "import sys; from barstream.cli import cli; "
        "cli(['--help'], standalone_mode=False); "
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]; "
        "sys.exit(', '.join(heavy) or None)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "config" in ran.stdout


def test_proofs_of_plain_ticks_import_no_more_than_they_use() -> None:
    """Half a second of pandas is as long as `explain` takes for what it reads.

    Arrow imports it by itself, where it is installed, as soon as an array becomes numpy's.
    """
    program = (
        "import sys; import numpy as np\n"
        "import barstream.cli.explain, barstream.cli.verify, barstream.planner\n"
        "import barstream.explain.run, barstream.verify.run\n"
        "from barstream.codecs.avro.body import encode\n"
        "from barstream.codecs.ticks.decoder import TickDecoder\n"
        "from barstream.config import Settings\n"
        "tick = dict(broker='FX', symbol='EURUSD', time=1, price=1.0, size=1.0)\n"
        "found = TickDecoder(Settings().ticks).decode([encode('tick', tick)], np.array([9]))\n"
        "assert found.time_us.tolist() == [1], found\n"
        "sys.exit(', '.join({'aiohttp', 'faust', 'pandas'} & sys.modules.keys()) or None)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )

    assert (ran.returncode, ran.stderr) == (0, "")


def test_every_command_has_a_summary() -> None:
    assert SUMMARIES.keys() == COMMANDS.keys()


def test_commands_that_are_listed_can_be_loaded() -> None:
    ctx = click.Context(cli)
    for name in cli.list_commands(ctx):
        command = cli.get_command(ctx, name)
        assert isinstance(command, click.Command)
        assert command.help, f"`{name}` has no help text"


@pytest.fixture
def two_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> click.Group:
    """A group with one command that fails on purpose, one absent, one with a missing library."""
    (tmp_path / "failing_command.py").write_text(
        "import click\nfrom barstream.errors import BarstreamError\n"
        "@click.command()\ndef command():\n    'Fails.'\n    raise BarstreamError('do this')\n"
    )
    (tmp_path / "hollow_command.py").write_text("import no_such_library_of_ours\n")
    (tmp_path / "cut_off_command.py").write_text(
        "import click\nfrom aiokafka.errors import KafkaConnectionError\n"
        "@click.command()\ndef command():\n    'Loses its broker.'\n"
        "    raise KafkaConnectionError('connection closed')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = ("failing", "hollow", "absent", "cut_off")
    return LazyGroup(
        "group",
        commands={name: f"{name}_command:command" for name in names},
        summaries={name: f"summary of {name}" for name in names},
    )


def test_an_absent_command_is_not_listed_and_says_so(two_commands: click.Group) -> None:
    listed = CliRunner().invoke(two_commands, ["--help"])
    called = CliRunner().invoke(two_commands, ["absent"])

    assert "failing" in listed.output
    assert "absent" not in listed.output
    assert called.exit_code == BarstreamError.exit_code
    assert "no `absent` command yet" in called.stderr


def test_a_missing_library_is_named(two_commands: click.Group) -> None:
    called = CliRunner().invoke(two_commands, ["hollow"])

    assert called.exit_code == BarstreamError.exit_code
    assert "no_such_library_of_ours" in called.stderr


def test_our_errors_are_a_message_on_stderr_and_an_exit_code(two_commands: click.Group) -> None:
    called = CliRunner().invoke(two_commands, ["failing"])

    assert (called.exit_code, called.stdout) == (2, "")
    assert called.stderr == "barstream: do this\n"


def test_a_broker_that_is_lost_is_no_answer_of_a_command(two_commands: click.Group) -> None:
    """1 says of `verify` and `replay` that something differs."""
    called = CliRunner().invoke(two_commands, ["cut_off"])

    assert called.exit_code == BarstreamError.exit_code
    assert "barstream: the brokers" in called.stderr
    assert "connection closed" in called.stderr


def test_a_defect_is_no_answer_of_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_options: object) -> None:
        raise RuntimeError("a process of the pool was killed")

    monkeypatch.setattr("barstream.cli.cli", broken)
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == BarstreamError.exit_code
    assert "RuntimeError: a process of the pool was killed" in capsys.readouterr().err


def test_config_prints_each_setting_with_its_source(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[bars]\ngrace_s = 2.5\n")

    printed = CliRunner().invoke(
        cli,
        ["--config", str(file), "config", "--json"],
        env={"BARSTREAM_WEB_PORT": "7000"},
    )

    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    by_name = {line["name"]: line for line in lines}
    assert by_name["bars.grace_s"] == {"name": "bars.grace_s", "value": 2.5, "source": str(file)}
    assert by_name["web.port"]["source"] == "environment BARSTREAM_WEB_PORT"


def test_config_for_people_names_value_and_source(tmp_path: Path) -> None:
    printed = CliRunner().invoke(
        cli, ["config", "--changed"], env={"BARSTREAM_APP_ID": "mine", "COLUMNS": "200"}
    )

    assert "'mine'" in printed.stdout
    assert "BARSTREAM_APP_ID" in printed.stdout
    assert "web.port" not in printed.stdout


def test_unusable_settings_end_the_command_with_the_reason() -> None:
    printed = CliRunner().invoke(cli, ["config"], env={"BARSTREAM_WEB_PORT": "x"})

    assert printed.exit_code == BarstreamError.exit_code
    assert "web.port" in printed.stderr
