"""The topics of one pipeline by what they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from barstream.config import Settings
from barstream.config.periods import periods_in_force
from barstream.errors import ConfigError
from barstream.model.period import MINUTE, Period
from barstream.model.topic_name import Kind, bar_topic, resolve

#: The base our model gives its bars, so that logical names do not depend on the settings.
MODEL_BASE: Final = "rate"
#: Those that a setting of their own names, apart from ``[topics.overrides]``.
_OWN: Final = ("ticks", "ticks_rejected", "market_schedule", "series_seen", "heartbeats")


def logical_name(period: Period, kind: Kind) -> str:
    """``rate_5m_final``: what users call a topic of bars in ``[topics.overrides]``."""
    return bar_topic(MODEL_BASE, period.count, period.unit, kind)


#: Field of `TopicNames` to the logical name users write in ``[topics.overrides]``.
LOGICAL: Final = {
    **{name: name for name in _OWN},
    "final_1m": logical_name(MINUTE, "final"),
    "live_1m": logical_name(MINUTE, "live"),
    "series": "series",
}


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Names in force, each resolved once.

    Attributes:
        rollups: topic of final bars of each period beside 1m, finest first.
        live_rollups: topic of open bars of those periods that publish them.
    """

    ticks: str
    ticks_rejected: str
    market_schedule: str
    series_seen: str
    heartbeats: str
    final_1m: str
    live_1m: str
    series: str
    rollups: Mapping[Period, str] = field(default_factory=dict)
    live_rollups: Mapping[Period, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The names that the settings say.

        Raises:
            ConfigError: an override is for no topic of ours, two topics have one name, or the
                periods cannot be used.
        """
        topics, periods = settings.topics, periods_in_force(settings)
        bars: list[tuple[Period, Kind]] = [
            *((period, "final") for period in (MINUTE, *periods.upper)),
            *((period, "live") for period in (MINUTE, *periods.live)),
        ]
        known = {*LOGICAL.values(), *(logical_name(period, kind) for period, kind in bars)}
        _refuse_unknown(topics.overrides, known)
        # A setting of its own is configuration as much as an override, so it is taken as written.
        configured = {name: getattr(topics, name) for name in _OWN} | topics.overrides
        generated = {"series": f"{settings.app_id}-series"} | {
            logical_name(period, kind): bar_topic(topics.base, period.count, period.unit, kind)
            for period, kind in bars
        }

        def name(logical: str) -> str:
            return resolve(logical, configured=configured, model=generated.get(logical))

        names = cls(
            **{field_name: name(logical) for field_name, logical in LOGICAL.items()},
            rollups={period: name(logical_name(period, "final")) for period in periods.upper},
            live_rollups={period: name(logical_name(period, "live")) for period in periods.live},
        )
        names._refuse_twins()
        return names

    def by_logical(self) -> dict[str, str]:
        """Logical name to topic name, in the order they are declared."""
        return {
            **{logical: getattr(self, name) for name, logical in LOGICAL.items()},
            **{logical_name(period, "final"): name for period, name in self.rollups.items()},
            **{logical_name(period, "live"): name for period, name in self.live_rollups.items()},
        }

    def finals(self, period: Period) -> str:
        """Topic of the final bars of a period in force, 1m among them.

        Raises:
            KeyError: it is not in force.
        """
        return self.final_1m if period == MINUTE else self.rollups[period]

    @property
    def bars(self) -> tuple[str, ...]:
        """Topics of bars of all periods, the final ones first."""
        return (self.final_1m, *self.rollups.values(), self.live_1m, *self.live_rollups.values())

    def _refuse_twins(self) -> None:
        named = self.by_logical()
        twins = [name for name, count in Counter(named.values()).items() if count > 1]
        for twin in twins:
            logical = [key for key, name in named.items() if name == twin]
            raise ConfigError(
                f"every topic needs a name of its own; {' and '.join(logical)} are both {twin!r}: "
                "change one in [topics]"
            )


def _refuse_unknown(overrides: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ConfigError(
            f"[topics.overrides] knows {', '.join(sorted(known))}; found {', '.join(unknown)}"
        )
