"""The market schedule: a table that a reader of its own feeds on every worker."""

from __future__ import annotations

import tables.schedule
from barstream.config import Settings
from barstream.market.schedule import MarketScheduleProvider
from barstream.runtime.app import BarstreamApp
from barstream.runtime.schedule import ScheduleService


def declare(
    app: BarstreamApp, settings: Settings, provider: MarketScheduleProvider
) -> ScheduleService:
    """Register the reader: no agent, which would be given some partitions and not all of them."""
    service = ScheduleService(settings, tables.schedule.declare, provider)
    app.first_services = (*app.first_services, service)
    return service
