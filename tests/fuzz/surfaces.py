"""All surfaces."""

from __future__ import annotations

from tests.fuzz import ticks_surface
from tests.fuzz.surface import Surface


def all_surfaces() -> list[Surface]:
    """In the order of the report."""
    return [*ticks_surface.surfaces()]
