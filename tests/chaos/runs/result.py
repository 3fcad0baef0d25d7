"""What a run came to, as it is stored and reported."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Result:
    """What a run came to.

    Attributes:
        problems: everything that is wrong; none: the run is clean.
        skipped: what the machine lacks for it.
        recovery_s: from the end of the last fault until all was applied.
        ended: workers that ended by themselves, with their last words.
        counts: of `barstream verify`.
        reads: answers of ``/bars`` by status while it went on.
        fired: names of the alerts whose condition held.
        family: None: of none.
        peak_mib: the most memory that a worker had.
        descriptors: the most files that a worker had open.
        commit: of the tree it was played on, with a ``+`` where that was changed.
    """

    seed: int
    scenario: str
    short: str
    chosen: bool
    faults: list[str]
    problems: list[str] = field(default_factory=list)
    skipped: str | None = None
    did: list[str] = field(default_factory=list)
    ticks: int = 0
    bars: int = 0
    differences: int | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    recovery_s: float = 0.0
    seconds: float = 0.0
    ended: list[str] = field(default_factory=list)
    starts: int = 0
    reads: dict[str, int] = field(default_factory=dict)
    fired: list[str] = field(default_factory=list)
    family: str | None = None
    peak_mib: float = 0.0
    descriptors: int = 0
    commit: str = ""

    @property
    def name(self) -> str:
        """Of its file and in reports."""
        return str(self.seed) if self.family is None else f"{self.family}-{self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
