"""What users import: the names of `barstream`, and the modules they were in before."""

from __future__ import annotations

from importlib import import_module

import pytest

import barstream


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in barstream.__all__ if getattr(barstream, name, None) is None] == []


@pytest.mark.parametrize("module", ["query", "timebucket", "reads"])
def test_a_program_of_before_the_move_still_runs(module: str) -> None:
    before = import_module(f"barstream.{module}")
    for name in before.__all__:
        found = getattr(before, name)
        if name in barstream.__all__:
            assert found is getattr(barstream, name)
