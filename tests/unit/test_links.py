"""Links in the pages lead to files and headings that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md")
FENCED: Final = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK: Final = re.compile(r"\]\((?P<file>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """Of headings as GitHub makes them, and those that are written."""
    text = FENCED.sub("", page.read_text())
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"<[^>]*>|\]\([^)]*\)", "", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-"))
    return found


def links(page: Path) -> Iterator[tuple[Path, str | None]]:
    for link in LINK.finditer(FENCED.sub("", page.read_text())):
        if ":" not in link["file"]:
            target = page.parent / link["file"] if link["file"] else page
            yield target.resolve(), link["anchor"]


def test_every_link_leads_somewhere() -> None:
    lost = [
        f"{page.relative_to(ROOT)}: {target.name}#{anchor or ''}"
        for page in PAGES
        for target, anchor in links(page)
        if not target.exists()
        or (anchor and target.suffix == ".md" and anchor not in anchors(target))
    ]
    assert lost == []
