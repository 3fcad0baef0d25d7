"""The list of all settings, fit for printing."""

from __future__ import annotations

from typing import Any, NamedTuple

from barstream.config.mask import printable
from barstream.config.settings import Settings


class InventoryRow(NamedTuple):
    """One setting: its dotted name, a value safe to print, and where it comes from."""

    name: str
    value: Any
    source: str


def rows(settings: Settings) -> list[InventoryRow]:
    """Every setting in force, in the order they are declared."""
    sources = settings.sources
    return [
        InventoryRow(name, printable(value), sources[name])
        for name, value in settings.flat().items()
    ]
