"""All surfaces."""

from __future__ import annotations

from tests.fuzz import changelogs, record_batches, ticks_surface, topic_rows
from tests.fuzz.surface import Surface


def all_surfaces() -> list[Surface]:
    """In the order of the report."""
    return [
        *ticks_surface.surfaces(),
        *topic_rows.surfaces(),
        *record_batches.surfaces(),
        *changelogs.surfaces(),
    ]
