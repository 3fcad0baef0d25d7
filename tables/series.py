"""The `series` table: what each partition remembers, and how far it has been applied."""

from __future__ import annotations

from barstream.runtime.app import BarstreamApp, bytes_table


def declare(app: BarstreamApp, topic: str) -> None:
    """Register the table on ``topic``, its changelog (compacted, for ever)."""
    bytes_table(app, "series", topic, "Series states and positions.")
