"""The page of what is replaced in Faust and aiokafka has every private name of theirs in use."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "replaced.md").read_text()
PRODUCT: Final = ("barstream", "agents", "tables")
#: Of Python: private by their look alone.
PYTHON: Final = {"_replace", "_exit", "_processes", "_fields", "_asdict", "_make"}


@cache
def trees() -> tuple[ast.Module, ...]:
    return tuple(
        ast.parse(path.read_text()) for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")
    )


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def ours() -> set[str]:
    """Private names that the product defines."""
    found: set[str] = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


def foreign() -> set[str]:
    """Private attributes that are asked of something else than of what defines them."""
    known = ours()
    return {
        node.attr
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and node.attr not in known
        and node.attr not in PYTHON
    }


def overridden() -> set[str]:
    """Private methods that call the one they stand in for."""
    return {
        node.func.attr
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and is_private(node.func.attr)
        and isinstance(node.func.value, ast.Call)
        and ast.unparse(node.func.value) == "super()"
    }


def test_every_private_name_of_the_libraries_is_on_the_page() -> None:
    named = set(re.findall(r"`(_\w+)`", PAGE))
    assert (foreign() | overridden()) - named == set()
