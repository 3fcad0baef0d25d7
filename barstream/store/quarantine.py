"""Names for files that are kept, but out of the way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def aside_of(path: Path, why: str) -> Path:
    """A name beside ``path`` that nothing has."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.{why}-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{why}-{stamp}-{number}")
    return aside
