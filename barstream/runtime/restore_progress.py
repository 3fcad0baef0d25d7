"""How far a restore has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from barstream.kafka.clients import TopicPartition

#: A rate over less than this is no rate.
_RATE_AFTER_S: Final = 1.0


@dataclass(slots=True)
class TableProgress:
    """Offsets of one changelog partition: read from ``start``, up to ``position`` of ``end``."""

    start: int
    end: int
    position: int
    rows: int = 0

    @property
    def remaining(self) -> int:
        """Offsets still to be read; rows that were compacted away count until they are passed."""
        return max(0, self.end - self.position)


class RestoreProgress:
    """Of all changelog partitions of one assignment.

    Args:
        clock: seconds, never going back.

    Attributes:
        fenced: whether who held the partitions before can write to them no more.
        tables: by changelog partition, known once the ends are.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.fenced = False
        self.tables: dict[TopicPartition, TableProgress] = {}
        self._clock = clock
        self._began_s = clock()

    @property
    def awaited(self) -> str:
        """What it waits for."""
        if not self.fenced:
            return "the transaction coordinator of Kafka is awaited"
        return "tables are being restored from their changelogs"

    @property
    def rows(self) -> int:
        """Rows read."""
        return sum(table.rows for table in self.tables.values())

    @property
    def remaining(self) -> int:
        """Offsets still to be read."""
        return sum(table.remaining for table in self.tables.values())

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return self._clock() - self._began_s

    @property
    def percent(self) -> float | None:
        """Of the offsets; None while the ends are not known."""
        if not self.tables:
            return None
        whole = sum(table.end - table.start for table in self.tables.values())
        return 100.0 if whole <= 0 else 100.0 * (whole - self.remaining) / whole

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None while there is none."""
        seconds = self.seconds
        read = sum(table.position - table.start for table in self.tables.values())
        if seconds < _RATE_AFTER_S or read <= 0:
            return None
        return self.remaining * seconds / read

    def shown(self) -> dict[str, Any]:
        """As ``/health/ready`` has it."""
        percent, left = self.percent, self.seconds_left
        return {
            "rows_read": self.rows,
            "rows_remaining": self.remaining,
            "percent": None if percent is None else round(percent, 1),
            "seconds": round(self.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
            "tables": [
                {
                    "topic": tp.topic,
                    "partition": tp.partition,
                    "rows_read": table.rows,
                    "rows_remaining": table.remaining,
                }
                for tp, table in sorted(self.tables.items())
                if table.remaining
            ],
        }
