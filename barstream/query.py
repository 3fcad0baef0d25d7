"""Where declarations were imported from up to 0.1; the names are those of `barstream` now."""

from __future__ import annotations

from barstream.pipeline import (
    DEFAULT,
    Column,
    MarketSchedule,
    Model,
    Period,
    Query,
    QueryError,
    Rate,
    ScheduleJoin,
    Tick,
)

__all__ = [
    "DEFAULT",
    "Column",
    "MarketSchedule",
    "Model",
    "Period",
    "Query",
    "QueryError",
    "Rate",
    "ScheduleJoin",
    "Tick",
]
