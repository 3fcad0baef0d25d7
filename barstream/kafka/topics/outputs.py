"""Names of the topics that a flush writes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from barstream.kafka.topics.batch_size import PLANNED_BYTES
from barstream.model.period import MINUTE, Period


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """Names of the topics a flush writes to; ``finals`` and ``live`` are those of minutes.

    Attributes:
        rollups: topic of the finals of each longer period.
        live_rollups: topic of the open bars, of those periods that publish them.
        largest_rejected: the most bytes the topic of rejected ticks takes in a batch.
    """

    ticks: str
    finals: str
    live: str
    rejected: str
    series: str
    series_seen: str
    rollups: Mapping[Period, str] = field(default_factory=dict)
    live_rollups: Mapping[Period, str] = field(default_factory=dict)
    largest_rejected: int = PLANNED_BYTES

    @property
    def names(self) -> set[str]:
        """Of all topics that are written to."""
        return {
            self.finals, self.live, self.rejected, self.series, self.series_seen,
            *self.rollups.values(), *self.live_rollups.values(),
        }  # fmt: skip

    @property
    def finals_by_period(self) -> dict[Period, str]:
        """Topic of the finals of each period, minutes first."""
        return {MINUTE: self.finals, **self.rollups}
