"""The table of final 1-minute bars; its changelog is the output topic itself."""

from __future__ import annotations

from barstream.app import BarstreamApp, bytes_table


def declare(app: BarstreamApp, topic: str) -> None:
    """Register the table on ``topic``: one write is both state and result."""
    bytes_table(app, "rate_1m_final", topic, "Final 1-minute bars.")
