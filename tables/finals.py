"""The tables of final bars, one a period; the changelog of each is its output topic."""

from __future__ import annotations

from collections.abc import Mapping

from barstream.model.period import Period
from barstream.runtime.app import BarstreamApp, bytes_table


def declare(app: BarstreamApp, topics: Mapping[Period, str]) -> dict[str, str]:
    """Register a table on each topic: one write is both state and result.

    Returns:
        Name of the table by topic.
    """
    names = {topic: f"rate_{period.timeframe}_final" for period, topic in topics.items()}
    for period, topic in topics.items():
        bytes_table(app, names[topic], topic, f"Final bars of {period}.")
    return names
