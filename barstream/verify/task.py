"""What is to be verified, and what came of it, as values that travel between processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from barstream.config import Settings
from barstream.log.selection import Selection
from barstream.model.period import Period
from barstream.verify.findings import KINDS, Findings
from barstream.verify.scan import Accounts
from barstream.verify.session_reports import SessionReport

Progress = Callable[[int], None]
"""Told how many ticks more were read."""


@dataclass(frozen=True, slots=True)
class Task:
    """One partition of one pipeline.

    Attributes:
        settings: completed by the pipeline's declaration.
        partition: of the tick topic.
        wanted: series and time.
        periods: timeframes to check, minutes among them.
        graces_before_us: graces that were in force before the one in ``settings``.
    """

    settings: Settings
    partition: int
    wanted: Selection
    periods: tuple[Period, ...]
    graces_before_us: tuple[int, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What verifying came to, of a partition or of all.

    Attributes:
        bars: finals looked at, by timeframe.
        skipped: upper bars of which retention has taken a part, by timeframe.
        causes: what closed the minutes.
        accounts: where the ticks are.
    """

    findings: Findings = field(default_factory=Findings)
    sessions: list[SessionReport] = field(default_factory=list)
    accounts: Accounts = field(default_factory=Accounts)
    bars: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    series: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def take(self, other: Outcome) -> None:
        """Take that of another partition as well."""
        self.findings.take(other.findings)
        self.sessions += other.sessions
        for name in Accounts.__slots__:
            total = getattr(self.accounts, name) + getattr(other.accounts, name)
            setattr(self.accounts, name, total)
        for mine, theirs in (
            (self.bars, other.bars), (self.skipped, other.skipped), (self.causes, other.causes),
        ):  # fmt: skip
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        self.series += other.series
        self.notes += other.notes


def summary(outcome: Outcome) -> dict[str, Any]:
    """The last line of ``--json``."""
    findings = outcome.findings
    return {
        "type": "summary",
        "clean": not findings.number("difference"),
        "differences": findings.number("difference"),
        "schedule": findings.number("schedule"),
        "superseded": findings.number("superseded"),
        "unproven": findings.number("unproven"),
        "rules": {
            kind: {rule: count for (of, rule), count in findings.counts.items() if of == kind}
            for kind in KINDS
        },
        "series": outcome.series,
        "bars": outcome.bars,
        "skipped": outcome.skipped,
        "closed_by": outcome.causes,
        "ticks": asdict(outcome.accounts),
        "notes": outcome.notes,
        "seconds": round(outcome.seconds, 3),
    }
