"""What users import: the names of `barstream`, and the modules they were in before."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import barstream


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in barstream.__all__ if getattr(barstream, name, None) is None] == []


def test_the_page_has_every_one_of_them_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    cells = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    assert sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell)) == sorted(
        barstream.__all__
    )


@pytest.mark.parametrize("module", ["query", "timebucket", "reads"])
def test_a_program_of_before_the_move_still_runs(module: str) -> None:
    before = import_module(f"barstream.{module}")
    for name in before.__all__:
        found = getattr(before, name)
        if name in barstream.__all__:
            assert found is getattr(barstream, name)
