"""What the tests of files share: a text written, and read as the command line reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from barstream.core.time import us_from_iso
from barstream.feeds.containers import TickSource
from barstream.feeds.files import FileTicks, read_ticks
from barstream.feeds.options import FileOptions, layout_of

NOW_US = us_from_iso("2026-01-05T00:00:00Z")


def written(tmp_path: Path, content: str | bytes, name: str = "ticks.csv") -> TickSource:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return TickSource(name, path)


def read(source: TickSource, **said: Any) -> FileTicks:
    """``said``: fields of `FileOptions`, and of the layout."""
    own = {
        name: said.pop(name)
        for name in ("mapping", "preset", "header", "delimiter", "columns")
        if name in said
    }
    options = FileOptions(broker_default="X", symbol_by_name=True, settings=said, **own)
    return read_ticks(source, layout_of(source, options).layout, latest_us=NOW_US)


def times(*texts: str) -> list[int]:
    return [us_from_iso(text) for text in texts]
