"""The pipeline as a declaration: what is read, by which schedule, into which bars."""

from __future__ import annotations

from barstream.core.period import Period
from barstream.query.declaration import Query, QueryError, ScheduleJoin
from barstream.query.default import DEFAULT
from barstream.query.model import Column, MarketSchedule, Model, Rate, Tick

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
