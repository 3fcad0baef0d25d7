"""The pipeline as a declaration: what is read, by which schedule, into which bars."""

from __future__ import annotations

from barstream.model.period import Period
from barstream.pipeline.default import DEFAULT
from barstream.pipeline.model import Column, MarketSchedule, Model, Rate, Tick
from barstream.pipeline.query import Query, QueryError, ScheduleJoin

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
