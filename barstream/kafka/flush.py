"""What is written in one transaction, as bytes by topic and partition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

#: Shared, because the producer takes nothing but a list and most rows have no headers.
NO_HEADERS: Final[list[tuple[str, bytes]]] = []


class Row(NamedTuple):
    """One record to be written."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = NO_HEADERS


@dataclass(slots=True)
class Flush:
    """One transaction: rows by (topic, partition), in order."""

    rows: dict[tuple[str, int], list[Row]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    def add(self, topic: str, partition: int, rows: list[Row]) -> None:
        """Rows of one partition of one topic, in order."""
        if rows:
            self.rows.setdefault((topic, partition), []).extend(rows)

    def at_least(self, topic: str, partition: int, reached: int) -> int:
        """The offset that the last record of a partition has at least, once this is written.

        Args:
            topic: its name.
            partition: its number.
            reached: the last offset that was there before.
        """
        return reached + len(self.rows.get((topic, partition), ()))
