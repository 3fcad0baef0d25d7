"""Names of all topics, and the check a worker makes before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from barstream.config import Settings
from barstream.core.names import bar_topic, shortened


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The topics of a pipeline by role."""

    ticks: str
    ticks_rejected: str
    market_schedule: str
    series_seen: str
    heartbeats: str
    final_1m: str
    live_1m: str
    series: str

    @classmethod
    def of(cls, settings: Settings) -> TopicNames:
        """The names in force: configuration wins over defaults."""
        topics = settings.topics
        chosen = topics.overrides
        series = f"{settings.app_id}-series"
        return cls(
            chosen.get("ticks", topics.ticks),
            chosen.get("ticks_rejected", topics.ticks_rejected),
            chosen.get("market_schedule", topics.market_schedule),
            chosen.get("series_seen", topics.series_seen),
            chosen.get("heartbeats", topics.heartbeats),
            bar_topic(topics.base, 1, "m", "final", configured=chosen),
            bar_topic(topics.base, 1, "m", "live", configured=chosen),
            shortened(chosen.get("series", series)),
        )


async def require(settings: Settings) -> None:
    """Refuse to start on topics that do not fit."""
