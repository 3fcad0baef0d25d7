"""The topics of one pipeline by what they are for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import Final, Self

from barstream.config import Settings
from barstream.core.names import bar_topic, resolve
from barstream.errors import ConfigError

#: The base our model gives its bars, so that logical names do not depend on the settings.
MODEL_BASE: Final = "rate"
#: Field of `TopicNames` to the logical name users write in ``[topics.overrides]``.
LOGICAL: Final = {
    "ticks": "ticks",
    "ticks_rejected": "ticks_rejected",
    "market_schedule": "market_schedule",
    "series_seen": "series_seen",
    "heartbeats": "heartbeats",
    "final_1m": bar_topic(MODEL_BASE, 1, "m", "final"),
    "live_1m": bar_topic(MODEL_BASE, 1, "m", "live"),
    "series": "series",
}


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Names in force, each resolved once."""

    ticks: str
    ticks_rejected: str
    market_schedule: str
    series_seen: str
    heartbeats: str
    final_1m: str
    live_1m: str
    series: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The names that the settings say.

        Raises:
            ConfigError: an override is for no topic of ours, or two topics have one name.
        """
        topics = settings.topics
        unknown = sorted(set(topics.overrides) - set(LOGICAL.values()))
        if unknown:
            raise ConfigError(
                f"[topics.overrides] knows {', '.join(sorted(LOGICAL.values()))}; "
                f"found {', '.join(unknown)}"
            )
        # A setting of its own is configuration as much as an override, so it is taken as written.
        own = ("ticks", "ticks_rejected", "market_schedule", "series_seen", "heartbeats")
        configured = {name: getattr(topics, name) for name in own} | topics.overrides
        generated = {
            "final_1m": bar_topic(topics.base, 1, "m", "final"),
            "live_1m": bar_topic(topics.base, 1, "m", "live"),
            "series": f"{settings.app_id}-series",
        }
        names = cls(
            **{
                field: resolve(logical, configured=configured, model=generated.get(field))
                for field, logical in LOGICAL.items()
            }
        )
        names._refuse_twins()
        return names

    def by_logical(self) -> dict[str, str]:
        """Logical name to topic name, in the order they are declared."""
        return {LOGICAL[field.name]: getattr(self, field.name) for field in fields(self)}

    def _refuse_twins(self) -> None:
        named = self.by_logical()
        twins = [name for name, count in Counter(named.values()).items() if count > 1]
        for twin in twins:
            logical = [key for key, name in named.items() if name == twin]
            raise ConfigError(
                f"every topic needs a name of its own; {' and '.join(logical)} are both {twin!r}: "
                "change one in [topics]"
            )
