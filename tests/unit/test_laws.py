"""The laws: each names code that there is, and is held by a test; the page says so."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.laws import LAWS, PAGE, ROOT, Law, held, page


@cache
def names(path: str) -> set[str]:
    """Functions and classes of a module, and methods as ``Class.method``."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{part.name}"
                for part in node.body
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


def test_numbers_go_on_and_none_is_left_out() -> None:
    assert [law.number for law in LAWS] == [f"L{at}" for at in range(1, len(LAWS) + 1)]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.number)
def test_a_law_stands_where_it_is_said_to(law: Law) -> None:
    for place in (*law.code, *law.reference, *law.verifier):
        path, name = place.split(":")
        assert name in names(path), place


def test_every_law_is_held_by_a_test_and_every_mark_is_of_a_law() -> None:
    assert {number for number, _, _ in held()} == {law.number for law in LAWS}


def test_the_page_is_the_one_that_is_made() -> None:
    assert PAGE.read_text() == page(), "make it again: python -m tests.laws > docs/laws.md"
