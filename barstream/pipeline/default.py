"""The pipeline that comes with us.  Another timeframe is one line here, or in the settings."""

from __future__ import annotations

from typing import Final

from barstream.model.period import Period
from barstream.pipeline.model import MarketSchedule, Rate, Tick
from barstream.pipeline.query import Query

DEFAULT: Final = (
    Query(source=Tick, time="time")
    .based_on(
        MarketSchedule,
        join=("broker", "symbol"),
        opens="open",
        closes="close",
        day="trading_date",
    )
    .tumbling(
        Period.minutes(1),
        Period.minutes(5),
        Period.minutes(15),
        Period.hours(1),
        Period.days(1),
    )
    .into(Rate)
)
