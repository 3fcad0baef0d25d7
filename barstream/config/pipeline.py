"""The pipeline as a layer of the settings: it wins over defaults, and everything else over it."""

from __future__ import annotations

from typing import Any

from barstream.config.settings import DEFAULT, Settings
from barstream.model.period import MINUTE
from barstream.pipeline.query import Query


def declared(query: Query) -> dict[str, Any]:
    """What a declaration says, by the dotted names of the settings that say the same."""
    schedule = query.schedule
    said = {
        "bars.timeframes": tuple(str(period) for period in query.periods if period != MINUTE),
        "bars.grace_s": query.grace_s,
        # the default is to follow a schedule, so only the lack of one is said
        "bars.schedule": False if schedule is None else None,
        "topics.base": query.base,
        "topics.ticks": query.source.topic,
        "topics.market_schedule": None if schedule is None else schedule.model.topic,
    }
    return {name: value for name, value in said.items() if value is not None}


def completed(settings: Settings, query: Query, source: str = "pipeline") -> Settings:
    """``settings`` with what ``query`` says of everything that is not set.

    Args:
        settings: what the file, the environment and the command line say.
        query: the declaration.
        source: the place to name for what comes from it.

    Raises:
        pydantic.ValidationError: what it says is not usable.
    """
    values = settings.model_dump(exclude_unset=True)
    sources = {name: where for name, where in settings.sources.items() if where != DEFAULT}
    for name, value in declared(query).items():
        section, key = name.split(".")
        if key not in getattr(settings, section).model_fields_set:
            values.setdefault(section, {})[key] = value
            sources[name] = source
    return Settings.with_sources(values, sources)
