"""What a partition did, counted between two flushes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from barstream.model.period import Period
from barstream.model.rejection import Reason
from barstream.rules.late_share import Arrivals


@dataclass(slots=True)
class Counts:
    """What happened since the counts were taken last."""

    accepted: int = 0
    watermark_finals: int = 0
    heartbeat_finals: int = 0
    synthetic: int = 0
    unpriced_minutes: int = 0
    early_heartbeats: int = 0
    #: Finals of minutes that late ticks changed or added.
    revised: int = 0
    #: Upper bars that became final or were revised.
    rollups: dict[Period, int] = field(default_factory=dict)
    rejected: dict[Reason, int] = field(default_factory=dict)
    arrivals: dict[str, Arrivals] = field(default_factory=dict)

    def reject(self, reason: Reason, count: int) -> None:
        """Ticks were rejected."""
        self.rejected[reason] = self.rejected.get(reason, 0) + count

    def take(self) -> Counts:
        """What happened since the last call; counting begins anew."""
        taken = replace(self)
        fresh = Counts()
        for each in fields(self):
            setattr(self, each.name, getattr(fresh, each.name))
        return taken
