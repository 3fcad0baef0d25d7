"""A name that no series can have is refused by every command, in a sentence, before it starts."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from barstream.cli import cli
from barstream.model.key import MAX_NAME

COMMANDS = (
    "bars {} X", "bars X {}", "explain {} X 2024-01-01", "explain X {} 2024-01-01", "verify {}",
    "verify X {}", "replay --suffix s {}", "replay --suffix s X {}", "schedule show {} X",
    "schedule show X {}", "schedule load --calendar FX --broker {} --symbol X",
    "schedule load --calendar FX --broker X --symbol {}", "ticks simulate --broker {}",
    "ticks load /dev/null --map time=a --map price=b --broker {} --symbol X",
    "ticks load /dev/null --map time=a --map price=b --broker X --symbol {}",
)  # fmt: skip
WRONG = {
    "": "must have a character",
    "  ": "must have a character",
    "A" * (MAX_NAME + 1): "at most 200 characters",
    "A\0B": "must not contain NUL",
    "..": "must not be '..'",
    "A\udcff": "UTF-8",
}


@pytest.mark.parametrize("name", WRONG, ids=lambda name: ascii(name)[:12])
@pytest.mark.parametrize("line", COMMANDS)
def test_a_name_that_can_be_none_ends_the_command_with_two_and_the_reason(
    line: str, name: str
) -> None:
    arguments = [name if word == "{}" else word for word in shlex.split(line)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2, result.output
    assert WRONG[name] in result.stderr
    assert "Traceback" not in result.stderr
