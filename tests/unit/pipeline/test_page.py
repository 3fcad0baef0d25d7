"""What docs/pipeline.md shows can be copied: its declarations run, its table is the one printed."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from barstream.cli import cli
from barstream.config import load_settings
from barstream.planner import plan_of

PAGE = (Path(__file__).parents[3] / "docs" / "pipeline.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def _no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_the_table_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(cli, ["plan"], env={"BARSTREAM_CONFIG": ""}).stdout
    command, *shown = blocks("console")[0].splitlines()
    assert command == "$ barstream plan"
    assert shown == [line.rstrip() for line in printed.splitlines()]


@pytest.mark.parametrize("declaration", blocks("python"))
def test_the_declarations_run(
    declaration: str, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{unique}.py").write_text(declaration)
    try:
        plan = plan_of(load_settings(env={"BARSTREAM_PIPELINE": f"{unique}:PIPELINE"}))
    finally:
        sys.modules.pop(unique, None)
    assert plan.periods


@pytest.mark.parametrize("settings", blocks("toml"))
def test_the_settings_are_taken(settings: str, tmp_path: Path) -> None:
    values = tomllib.loads(settings)
    if values.pop("pipeline", None):
        return  # the module it names is written by the reader
    assert plan_of(load_settings(env={}, overrides=values)).periods
