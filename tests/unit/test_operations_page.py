"""docs/operations.md names every error, every logged trouble and every metric, and no other.

Who adds one reads in the failure which line the page needs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from barstream.metrics import Metrics

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "operations.md").read_text()
LOGGED: Final = {"warning", "error", "exception", "critical"}
#: What is raised in these may end a worker, so their messages are on the page too.
WORKER: Final = tuple(f"barstream/{room}/" for room in ("runtime", "kafka", "store", "partition"))
#: ... but not what only a start or a command raises.
STARTS: Final = tuple(
    f"barstream/kafka/{name}"
    for name in ("connection.py", "consumer_group.py", "topic_follower.py", "topics/")
)
_VALUE: Final = "…"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in ("barstream", "tables", "agents"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


TREES: Final = dict(modules())


def error_classes() -> set[str]:
    """`BarstreamError` and everything that derives from it."""
    found: set[str] = {"BarstreamError"}
    while True:
        more = {
            node.name
            for tree in TREES.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and any(isinstance(base, ast.Name) and base.id in found for base in node.bases)
        }
        if more <= found:
            return found
        found |= more


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def logged() -> set[tuple[str, str]]:
    """Sentence and logger of every warning and error."""
    return {
        (sentence(call.args[0]), path.removesuffix(".py").replace("/", "."))
        for path, tree in TREES.items()
        for call in calls(tree)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in LOGGED
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in {"log", "logger", "logging"}
    }


def messages() -> set[tuple[str, str]]:
    """Class and message of every error raised where it ends a worker."""
    errors = error_classes()
    return {
        (call.func.id, text)
        for path, tree in TREES.items()
        if path.startswith(WORKER) and not path.startswith(STARTS)
        for call in calls(tree)
        if isinstance(call.func, ast.Name) and call.func.id in errors and call.args
        if (text := sentence(call.args[0])) != _VALUE
    }


def sentence(text: ast.expr) -> str:
    """A message with ``…`` where a value is put in; ``%``-fields likewise, ``%%`` is ``%``."""
    if isinstance(text, ast.Constant):
        return re.sub(r"%[-+.\d]*[sdrgfi]", _VALUE, str(text.value)).replace("%%", "%")
    if isinstance(text, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else _VALUE for part in text.values
        )
    return _VALUE


def code(text: str) -> str:
    """``text`` as Markdown shows it verbatim."""
    return f"``{text}``" if "`" in text else f"`{text}`"


def section(title: str, level: int = 2) -> str:
    """The text under a heading, up to the next of its level or above."""
    found = re.search(rf"^{'#' * level} {re.escape(title)}$", PAGE, re.MULTILINE)
    assert found, f"docs/operations.md has no heading {'#' * level} {title}"
    end = re.compile(rf"^#{{2,{level}}} ", re.MULTILINE).search(PAGE, found.end())
    return PAGE[found.end() : end.start() if end else None]


def rows_of_the_log() -> set[tuple[str, str]]:
    rows = re.findall(
        r"^\| `(.+?)` \| `([\w.]+)` \| .+ \| .+ \|$", section("What a worker logs"), re.MULTILINE
    )
    return {(text, logger) for text, logger in rows}


def test_every_warning_and_error_that_is_logged_has_a_row_and_no_row_is_of_another() -> None:
    """To add one: a row ``| `sentence with … for values` | `module` | it means | you |``."""
    said, shown = logged(), rows_of_the_log()
    rows = [f"| {code(text)} | `{logger}` | … | … |" for text, logger in sorted(said - shown)]
    assert not rows, "missing in docs/operations.md, What a worker logs:\n" + "\n".join(rows)
    assert not shown - said, "nothing logs these any more"


def test_every_error_has_a_heading_and_no_heading_is_of_another() -> None:
    """To add one: ``### ClassName`` under *Errors of commands and reads* (or *… end a worker*)."""
    sections = section("Errors that end a worker") + section("Errors of commands and reads")
    headings = re.findall(r"^### (\w+)$", sections, re.MULTILINE)
    assert len(headings) == len(set(headings))
    missing = [f"### {name}" for name in sorted(error_classes() - set(headings))]
    assert not missing, "missing in docs/operations.md:\n" + "\n".join(missing)
    assert not set(headings) - error_classes(), "there are no such errors any more"


def test_every_message_that_ends_a_worker_stands_under_its_error() -> None:
    """To add one: ``- `message with … for values``` under the heading of its class."""
    missing = [
        f"### {error}\n- {code(text)}"
        for error, text in sorted(messages())
        if f"- {code(text)}" not in section(error, 3)
    ]
    assert not missing, "missing in docs/operations.md:\n" + "\n".join(missing)


def test_no_message_is_shown_that_no_error_carries() -> None:
    shown = re.findall(r"^- (`.+`)", section("Errors that end a worker"), re.MULTILINE)
    assert set(shown) <= {code(text) for _, text in messages()}


def test_every_metric_has_an_anchor_and_no_anchor_is_of_another() -> None:
    """To add one: a row in *Metrics*, beside that in docs/metrics.md; alerts link to it."""
    names = set()
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.describe()
            names.add(family.name + ("_total" if isinstance(metric, Counter) else ""))
    anchors = re.findall(r'^\| <a id="(barstream_\w+)"></a>\[`(\w+)`\]', PAGE, re.MULTILINE)
    assert {anchor for anchor, _ in anchors} == names
    assert all(anchor == shown for anchor, shown in anchors)


def test_every_fault_of_the_fault_suite_has_a_run_book_and_no_other_is_named() -> None:
    """To add one: its name in *Tried by* of the run-book it belongs to."""
    faults = (ROOT / "tests" / "chaos" / "faults").glob("*.py")
    kinds = {
        name
        for path in faults
        for name in re.findall(r'^    name = "(\w+)"$', path.read_text(), re.MULTILINE)
    }
    assert kinds
    lines = re.findall(r"--faults ([\w ]+)`", section("Run-books"))
    named = {name for line in lines for name in line.split()}
    missing = sorted(kinds - named)
    assert not missing, f"missing in *Tried by* of a run-book: {missing}"
    assert not named - kinds, "there are no such faults any more"


def anchors_of(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in headings}
    return slugs | set(re.findall(r'<a id="([\w-]+)"></a>', text))


def test_every_alert_links_to_a_place_on_the_page() -> None:
    links = set(re.findall(r"operations\.md#([\w-]+)", (ROOT / "docs" / "alerts.yml").read_text()))
    assert links
    assert not links - anchors_of(PAGE)


def test_every_link_of_the_page_leads_somewhere() -> None:
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        name, _, anchor = target.partition("#")
        page = ROOT / "docs" / (name or "operations.md")
        if not page.exists() or (anchor and anchor not in anchors_of(page.read_text())):
            broken.append(target)
    assert not broken
