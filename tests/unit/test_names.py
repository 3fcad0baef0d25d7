"""Names: a module is a noun, a class name means one thing, a module one that its room completes."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PRODUCT: Final = ("barstream", "agents", "tables")
#: Nouns that end like a gerund or a participle: a mapping of fields, a feed, a seed.
NOUNS: Final = {"mapping", "feed", "seed"}
#: What several rooms have, each its own: ``verify/rejections.py`` are not those of ``explain``.
SHARED: Final = {
    *("bar", "bars", "encoder", "errors", "finals", "findings", "flush", "heartbeats", "load"),
    *("names", "plan", "progress", "published_bars", "rejections", "report"),
    "retention",  # declared in agents, done in runtime
    *("rollup_fold", "rollups", "rules", "run", "scan", "schedule", "series", "session"),
    *("tick_block", "tick_decoder", "topics", "trial", "worker"),
    *("query", "reads"),  # of before, see `tests/unit/test_public_names.py`
}


def modules(*folders: str) -> list[Path]:
    return [
        path.relative_to(ROOT)
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.stem.startswith("__")
    ]


def is_verb(stem: str) -> bool:
    last = stem.rpartition("_")[2]
    return last.endswith(("ing", "ed")) and last not in NOUNS


def test_a_module_is_named_by_a_noun() -> None:
    files = [path for path in modules(*PRODUCT, "tests", "bench") if "test_" not in path.name]
    assert [str(path) for path in files if is_verb(path.stem)] == []


def test_a_stem_stands_in_several_rooms_only_where_the_room_completes_it() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in modules(*PRODUCT):
        found[path.stem].append(str(path.parent))
    twice = {stem for stem, rooms in found.items() if len(rooms) > 1}
    assert twice == SHARED


def test_a_class_name_means_one_thing() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in modules(*PRODUCT):
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_no_private_name_is_imported_by_another_module() -> None:
    crossed = [
        f"{path}: {node.module}.{name.name}"
        for path in modules(*PRODUCT)
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PRODUCT
        for name in node.names
        if name.name.startswith("_")
    ]
    assert crossed == []


def test_a_class_is_made_of_six_things_at_most() -> None:
    """What takes more is two things, or some of them belong together and have a name."""
    found = {}
    for path in modules(*PRODUCT):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ClassDef):
                for each in node.body:
                    if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                        given = each.args
                        count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) - 1
                        found[f"{path}:{node.name}"] = count
    assert len(found) > 100
    assert {name: count for name, count in found.items() if count > 6} == {}
