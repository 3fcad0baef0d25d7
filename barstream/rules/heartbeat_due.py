"""When a minute is due for its heartbeat: the settings that planning depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from barstream.model.time import MINUTE_US, floor_minute

MAX_BACKFILL_MINUTES: Final = 2


class BarsPart(Protocol):
    """Section ``bars`` of the settings, as far as planning goes by it."""

    @property
    def grace_us(self) -> int: ...
    @property
    def inactive_after(self) -> int: ...


class HeartbeatsPart(Protocol):
    """Section ``heartbeats`` of the settings, as far as planning goes by it."""

    @property
    def feed_delay_us(self) -> Mapping[str, int]: ...
    @property
    def backfill_minutes(self) -> int: ...
    @property
    def max_catch_up(self) -> int: ...


class MinuteEnds(Protocol):
    """What a schedule says of the end of minutes, see `barstream.market.session`."""

    def minute_end(self, minute_us: int) -> int: ...
    def ended_until(self, ts_us: int) -> int: ...


class RuleSettings(Protocol):
    """Settings with both sections; the core does not import the configuration."""

    @property
    def bars(self) -> BarsPart: ...
    @property
    def heartbeats(self) -> HeartbeatsPart: ...


@dataclass(frozen=True, slots=True)
class HeartbeatRules:
    """The settings planning depends on; times in microseconds.

    Raises:
        ValueError: ``backfill_minutes`` outside 0 to 2, or ``max_catch_up`` below 1.
    """

    grace_us: int
    inactive_after: int
    feed_delay_us: Mapping[str, int] = field(default_factory=dict)
    backfill_minutes: int = 0
    max_catch_up: int = 50_000

    def __post_init__(self) -> None:
        if not 0 <= self.backfill_minutes <= MAX_BACKFILL_MINUTES:
            raise ValueError(
                f"backfill_minutes must be 0 to {MAX_BACKFILL_MINUTES}, "
                f"found {self.backfill_minutes}"
            )
        if self.max_catch_up < 1:
            raise ValueError(f"max_catch_up must be at least 1, found {self.max_catch_up}")

    @classmethod
    def of(cls, settings: RuleSettings) -> HeartbeatRules:
        """The rules that ``settings`` ask for."""
        bars, beats = settings.bars, settings.heartbeats
        return cls(
            bars.grace_us,
            bars.inactive_after,
            beats.feed_delay_us,
            beats.backfill_minutes,
            beats.max_catch_up,
        )

    def due_us(self, broker: str, minute_us: int, schedule: MinuteEnds | None = None) -> int:
        """The instant from which minute ``minute_us`` of a series of ``broker`` is due."""
        return minute_end_us(minute_us, schedule) + self.lateness_us(broker)

    def lateness_us(self, broker: str) -> int:
        """How long after its end a bucket of a series of ``broker`` is due."""
        return self.grace_us + self.feed_delay_us.get(broker, 0)

    def newest_due(self, broker: str, now_us: int, schedule: MinuteEnds | None = None) -> int:
        """Start of the newest minute that is due at ``now_us``, in session or not.

        Without a ``schedule`` that of a series without a close tolerance.
        """
        over_us = now_us - self.lateness_us(broker)
        until_us = floor_minute(over_us) if schedule is None else schedule.ended_until(over_us)
        return until_us - MINUTE_US

    def next_due_us(self, now_us: int) -> int:
        """The next instant, later than ``now_us``, at which minutes of any broker come due.

        A minute that waits for a close tolerance may come due before, see `Plan.held_until_us`.
        """
        return min(
            floor_minute(now_us - late_us) + MINUTE_US + late_us for late_us in self._latenesses()
        )

    def closes_at(self, minute_us: int, schedule: MinuteEnds | None = None) -> int:
        """A heartbeat for ``minute_us`` appended before this instant closes nothing."""
        return minute_end_us(minute_us, schedule) + self.grace_us

    def _latenesses(self) -> set[int]:
        return {self.grace_us + delay_us for delay_us in (0, *self.feed_delay_us.values())}


def minute_end_us(minute_us: int, schedule: MinuteEnds | None) -> int:
    """When a minute ends: that of a close tolerance, where one lasts longer."""
    return minute_us + MINUTE_US if schedule is None else schedule.minute_end(minute_us)
